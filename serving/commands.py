"""The commands of this room; heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from features.console import Instant, emit, fail, json_option, progress, results, step, workspace_option
from features.settings import Workspace

if TYPE_CHECKING:
    from serving.batch import Night


@click.command()
@workspace_option
@click.argument("names", metavar="[PROPENSITY]...", nargs=-1)
@click.option("--as-of", type=Instant(), help="Score what was known before this instant.  [default: the data's own now]")
@json_option
@click.pass_context
def score(ctx: click.Context, workspace: Workspace, names: Sequence[str], as_of: datetime | None, as_json: bool) -> None:
    """Score every eligible lead and customer, for every propensity that has a champion or for those named.

    Writes WORKSPACE/scores/propensity=NAME/as_of=DATE/part-0.parquet, the scores with their reasons, and a receipt beside it.
    Running it again gives the same bytes. One propensity that fails does not stop the others.

    \b
    Example:
      foresell score --workspace W --as-of 2018-05-15
      foresell score --workspace W churn upsell --json
    """
    from features.catalog import Catalog
    from serving import batch

    night = batch.run(workspace, as_of or Catalog.load(workspace).now, names, progress)
    for error in night.failures.values():
        fail(error)
    if as_json:
        emit(_document(workspace, night))
    else:
        _print_night(workspace, night)
    ctx.exit(1 if night.failures else 0)


@click.command()
@workspace_option
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", default=3000, show_default=True, type=click.IntRange(1, 65535), help="The port to listen at.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes that answer side by side.")
def serve(workspace: Workspace, host: str, port: int, workers: int) -> None:
    """Answer the CRM over HTTP: POST /v1/PROPENSITY, one route for each propensity file, until Ctrl-C.

    \b
    Example:
      foresell serve --workspace W --port 3000
      curl -s localhost:3000/v1/churn -H 'Content-Type: application/json' -d '{"ids": ["C0001"]}'
    """
    from serving.address import require_free, url
    from serving.batch import with_champion

    names = with_champion(workspace)
    require_free(host, port)
    step(f"starting to serve {', '.join(names)}; the API page will be {url(host, port)}/docs; Ctrl-C stops it")
    from serving.service import run

    run(workspace, host, port, workers)


@click.command()
@click.option(
    "--workspace",
    "root",
    type=click.Path(path_type=Path),
    default=".",
    show_default=True,
    help="A new folder, or the workspace of an earlier demo.",
)
@click.option("--customers", type=click.IntRange(1_000), help="Size of the sample CRM; default: 8,000, enough to learn from.")
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


def _document(workspace: Workspace, night: Night) -> dict[str, object]:
    from dataclasses import asdict

    from serving.partition import PART, folder

    scored = {
        receipt.propensity: {**asdict(receipt), "file": str(folder(workspace, receipt.propensity, night.as_of) / PART)}
        for receipt in night.receipts
    }
    return {
        "as_of": night.as_of.isoformat(),
        "scored": scored,
        "failed": {name: error.as_dict() for name, error in night.failures.items()},
    }


def _print_night(workspace: Workspace, night: Night) -> None:
    from rich.table import Table

    from serving.partition import PART, folder

    table = Table("propensity", "version", "known", "scored", "mean", *"ABCD", title="mean: of the probabilities; A to D: grades")
    table.columns[0].no_wrap = True
    for receipt in night.receipts:
        mean = "" if receipt.mean_probability is None else f"{receipt.mean_probability:.3f}"
        grades = [f"{receipt.grades[grade]:,}" for grade in "ABCD"]
        table.add_row(receipt.propensity, receipt.model_version, f"{receipt.known:,}", f"{receipt.rows:,}", mean, *grades)
    if night.receipts:
        results().print(table)
    for receipt in night.receipts:
        results().print(str(folder(workspace, receipt.propensity, night.as_of) / PART), highlight=False, soft_wrap=True)


COMMANDS: tuple[click.Command, ...] = (score, serve, demo)
