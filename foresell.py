"""Foresell: foresees who will buy, who will leave and who will grow, and tells the CRM."""

from __future__ import annotations

import click

import features.commands
import serving.commands
import training.commands
from features.console import Group, silence_telemetry


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="foresell")
def main() -> None:
    """Foresee which leads will buy, which customers will leave and which will grow.

    \b
    From a CRM export to scores:
      foresell init --adapter olist --from EXPORT --workspace W
      foresell ingest --workspace W      foresell check --workspace W
      foresell snapshot --workspace W    foresell train --all --workspace W
      foresell promote churn --workspace W
      foresell score --workspace W       foresell serve --workspace W
    """
    silence_telemetry()


for room in (features.commands, training.commands, serving.commands):
    for command in room.COMMANDS:
        main.add_command(command)

if __name__ == "__main__":
    main()
