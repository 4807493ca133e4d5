"""`foresell monitor`: what was served held against what happened."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from features.console import Instant, emit, fail, json_option, progress, results, step, work_option
from features.settings import Workspace
from serving.commands.alerts import test_alert

if TYPE_CHECKING:
    from serving.monitor.monitor import Monitored


@click.command()
@work_option
@click.argument("names", metavar="[PROPENSITY]...", nargs=-1)
@click.option("--as-of", type=Instant(), help="The day that is looked at.  [default: the newest midnight of the data]")
@click.option(
    "--fail-on", type=click.Choice(["alarm"]), help="End with exit code 1 while an alarm is open, too; for a cron job that pages."
)
@click.option("--test-alert", "is_test", is_flag=True, help="Look at nothing; send every owner a test, and say where it went.")
@json_option
@click.pass_context
def monitor(
    ctx: click.Context,
    workspace: Workspace,
    names: Sequence[str],
    as_of: datetime | None,
    fail_on: str | None,
    is_test: bool,
    as_json: bool,
) -> None:
    """Hold what was served against what happened, look for what has moved, and tell the owners of what is new.

    A score counts once its horizon has ended, with the outcome that the tables tell. Writes WORKSPACE/monitor/index.html, a page
    and a JSON document for each propensity. Running it again tells nobody the same thing twice. Exit code 0: looked at; 1:
    something could not be computed or sent; alarms do not count, unless --fail-on alarm.

    \b
    Example:
      foresell monitor --workspace W
      foresell monitor --workspace W churn --as-of 2018-05-15 --json
      foresell monitor --workspace W --fail-on alarm
      foresell monitor --workspace W --test-alert
    """
    if is_test:
        test_alert(workspace, datetime.now(UTC), as_json)
        return
    from features.catalog import Catalog
    from serving.monitor import page
    from serving.monitor.document import document
    from serving.monitor.monitor import monitor as look

    found = look(workspace, as_of or Catalog.load(workspace).midnight, progress, names)
    index = page.write(workspace, found)
    for error in found.failures.values():
        fail(error)
    shown = sorted({*found.watched, *found.failures} & set(found.health))
    if as_json:
        emit({"as_of": found.as_of.isoformat(), "propensities": {name: document(workspace, found, name) for name in shown},
              "tables": [one.model_dump(mode="json") for one in found.untouched],
              "failed": {name: error.as_dict() for name, error in found.failures.items()}})  # fmt: skip
    else:
        _print(found, shown)
    step(f"the same with plots: {index}")
    ctx.exit(1 if found.failures or (fail_on == "alarm" and found.alarms.open) else 0)


def _print(found: Monitored, names: Sequence[str]) -> None:
    from serving.monitor.document import status
    from serving.monitor.page import WORDS, waiting

    for name in names:
        health, watched = found.health[name], found.watched.get(name)
        results().print(f"{name}, version {health.version}: {WORDS[status(found, name)]}", style="bold", highlight=False)
        told = [waiting(watched.performance)] if watched else []
        for sentence in [*(f"{one.severity}: {one.sentence}" for one in health.findings), *told]:
            results().print(f"  {sentence}", highlight=False, soft_wrap=True, markup=False)
