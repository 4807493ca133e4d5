"""`foresell score`: the nightly batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from features.console import Instant, emit, engine_option, fail, json_option, progress, results, step, work_option
from features.engine import Name
from features.settings import Workspace

if TYPE_CHECKING:
    from serving.batch import Night
    from serving.ledger import Forgotten
    from serving.partition import Receipt


@click.command()
@work_option
@click.argument("names", metavar="[PROPENSITY]...", nargs=-1)
@click.option("--as-of", type=Instant(), help="Score what was known before this instant.  [default: the data's own now]")
@engine_option
@json_option
@click.pass_context
def score(
    ctx: click.Context, workspace: Workspace, names: Sequence[str], as_of: datetime | None, engine: Name, as_json: bool
) -> None:
    """Score every eligible lead and customer, for every propensity that has a champion or for those named.

    Writes WORKSPACE/scores/propensity=NAME/as_of=DATE/part-0.parquet, the scores with their reasons, and a receipt beside it.
    The newest scores of each propensity are also in WORKSPACE/latest/propensity=NAME/part-0.parquet.
    Running it again gives the same bytes. One propensity that fails does not stop the others, and a ledger that cannot store the
    last scores costs no file. With --engine spark a large partition has several files, part-0, part-1 and so on, and
    the ledger is left alone. Afterwards the ledger forgets what is older than `keep_days` in [serving].

    \b
    Example:
      foresell score --workspace W --as-of 2018-05-15
      foresell score --workspace W churn upsell --json
    """
    from features.catalog import Catalog
    from serving import batch

    night = batch.run(workspace, as_of or Catalog.load(workspace).now, names, progress, engine)
    forgotten = forgotten_of(workspace, datetime.now(UTC))
    for error in night.failures.values():
        fail(error)
    if as_json:
        emit(_document(workspace, night, forgotten))
    else:
        show_partitions(workspace, night.as_of, night.receipts)
    ctx.exit(1 if night.failures or forgotten is None else 0)


def forgotten_of(workspace: Workspace, now: datetime) -> Forgotten | None:
    """What the ledger removed for its age; None, and told, if it does not answer."""
    from contextlib import closing

    from features.errors import ForesellError
    from serving.ledger import Ledger

    try:
        with closing(Ledger.open(workspace)) as ledger:
            forgotten = ledger.forget(now - workspace.settings.serving.keep)
    except ForesellError as error:
        fail(error)
        return None
    if any(forgotten):
        told = (
            f"{forgotten.served:,} answers, {forgotten.shadow:,} comparisons, {forgotten.actions:,} actions and "
            f"{forgotten.given_up:,} scores that no CRM took"
        )
        step(f"removed from the ledger, older than {workspace.settings.serving.keep_days:,} days: {told}")
    return forgotten


def _document(workspace: Workspace, night: Night, forgotten: Forgotten | None) -> dict[str, object]:
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
        "forgotten": forgotten and forgotten._asdict(),
    }


def show_partitions(workspace: Workspace, as_of: datetime, receipts: Sequence[Receipt]) -> None:
    """Print what each propensity's partition holds, and where it lies."""
    from rich.table import Table

    from serving.partition import PART, folder

    title = "withheld: by policy; mean: of the probabilities; A to D: grades"
    table = Table("propensity", "version", "known", "scored", "withheld", "mean", *"ABCD", title=title)
    table.columns[0].no_wrap = True
    for receipt in receipts:
        mean = "" if receipt.mean_probability is None else f"{receipt.mean_probability:.3f}"
        grades = [f"{receipt.grades[grade]:,}" for grade in "ABCD"]
        withheld = sum(receipt.withheld.values())
        counts = [f"{number:,}" for number in (receipt.known, receipt.rows - withheld, withheld)]
        table.add_row(receipt.propensity, receipt.model_version, *counts, mean, *grades)
    if receipts:
        results().print(table)
    for receipt in receipts:
        results().print(str(folder(workspace, receipt.propensity, as_of) / PART), highlight=False, soft_wrap=True)
