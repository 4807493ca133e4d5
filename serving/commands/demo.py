"""`foresell demo`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click


@click.command()
@click.option(
    "--workspace",
    "root",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="A new folder, or the workspace of an earlier demo.",
)
@click.option("--customers", type=click.IntRange(1_000), help="Size of the sample CRM; default: 6,000, enough to learn from.")
@click.pass_context
def demo(ctx: click.Context, root: Path, customers: int | None) -> None:
    """Make a sample CRM and take it all the way: check, train, promote, score, serve, ask.

    Every step is a command you can type yourself; each is printed before it runs. Takes a few minutes; may be run again.

    \b
    Example:
      foresell demo --workspace demo
    """
    from features.sample import CUSTOMERS
    from serving.demo import Demo

    Demo(ctx.find_root().command, root).run(datetime.now(UTC), customers or CUSTOMERS)
