"""`foresell nightly`: the whole night, from the export to the CRM."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from features.console import Instant, emit, fail, json_option, note, progress, step, work_option
from features.settings import Workspace
from serving.commands.night import forgotten_of, show_partitions

if TYPE_CHECKING:
    from serving.ledger import Forgotten
    from serving.nightly.job import Ended, Night


LATE = "scored with late data"


@click.command()
@work_option
@click.option(
    "--as-of", type=Instant(), help="Score what was known before this instant.  [default: the newest midnight of the data]"
)
@json_option
@click.pass_context
def nightly(ctx: click.Context, workspace: Workspace, as_of: datetime | None, as_json: bool) -> None:
    """Run the night: ingest, check, look for late data, snapshot, fill the online store, score every propensity,
    write back.

    May be killed at any moment and run again: what is done and unchanged is skipped, and the end is the same to the byte. One
    propensity that fails does not stop the others. One night at a time runs in a workspace; a second one says who holds it.

    Writes WORKSPACE/scores as `foresell score` does, the newest scores to WORKSPACE/latest, and a receipt of each step to
    WORKSPACE/data/nightly/DATE. Exit code 0: all is done; 1: something failed; 2: the call or the settings are wrong.

    \b
    Example:
      foresell nightly --workspace W
      foresell nightly --workspace W --as-of 2018-05-15 --json
    """
    from features.errors import CallError
    from features.lock import holder
    from serving.nightly.job import run
    from serving.nightly.lock import held
    from serving.nightly.tables import newest_as_of

    now = datetime.now(UTC)
    if as_of is not None and as_of > now:
        raise CallError(
            "--as-of", expected="an instant that has passed", received=f"{as_of:%Y-%m-%d %H:%M}", repair="leave it out"
        )
    with held(workspace, holder(shlex.join(["foresell", *sys.argv[1:]]), f"{now:%Y-%m-%d %H:%M:%S} UTC")):
        night = run(workspace, as_of or newest_as_of(workspace, now), now, progress, _tell)
        forgotten = forgotten_of(workspace, now)
    for error in night.failures.values():
        fail(error)
    if as_json:
        emit(_document(workspace, night, forgotten))
    else:
        _print(workspace, night)
    ctx.exit(night.exit_code or int(forgotten is None))


def _tell(ended: Ended) -> None:
    if ended.status == "failed":
        note(f"{ended.step}: failed")
    elif ended.status == "skipped":
        step(f"{ended.step}: skipped, unchanged")
    else:
        seconds = f", {ended.receipt.seconds:.1f} s" if ended.receipt else ""
        step(f"{ended.step}: {ended.told}{seconds}")


def _document(workspace: Workspace, night: Night, forgotten: Forgotten | None) -> dict[str, object]:
    from serving.partition import PART, folder

    return {
        "as_of": night.as_of.isoformat(),
        "summary": _sentences(night),
        "steps": {ended.step: _step(ended) for ended in night.steps},
        "scored": {
            name: {**receipt, "file": str(folder(workspace, name, night.as_of) / PART)}
            for name, receipt in night.partitions.items()
        },
        "late": night.late,
        "failed": {name: error.as_dict() for name, error in night.failures.items()},
        "stopped": night.stopped is not None,
        "forgotten": forgotten and forgotten._asdict(),
        "seconds": round(night.seconds, 3),
    }


def _step(ended: Ended) -> dict[str, object]:
    receipt = ended.receipt
    measured = {"rows": receipt.rows, "seconds": receipt.seconds} if receipt else {}
    return {"status": ended.status, "told": ended.told, **measured}


def _print(workspace: Workspace, night: Night) -> None:
    from serving.partition import Receipt

    show_partitions(workspace, night.as_of, [Receipt(**receipt) for receipt in night.partitions.values()])
    for sentence in _sentences(night):
        (note if sentence.startswith(LATE) else step)(sentence)


def _sentences(night: Night) -> list[str]:
    """The morning report in words."""
    from serving.nightly.job import duration

    counts = {status: [one.step for one in night.steps if one.status == status] for status in ("done", "skipped", "failed")}
    told = ", ".join(f"{len(steps)} {status}" for status, steps in counts.items())
    ended = f"; it stopped at {night.steps[-1].step}" if night.stopped else ""
    failed = f" ({', '.join(counts['failed'])})" if counts["failed"] else ""
    first = f"night of {night.as_of:%Y-%m-%d %H:%M} UTC, {duration(night.seconds)}: steps {told}{failed}{ended}"
    receipts = list(night.partitions.values())
    scored = sum(receipt["rows"] - sum(receipt["withheld"].values()) for receipt in receipts)
    withheld = sum(sum(receipt["withheld"].values()) for receipt in receipts)
    grades = ", ".join(f"{grade} {sum(receipt['grades'][grade] for receipt in receipts):,}" for grade in "ABCD")
    second = f"{scored:,} scores of {len(receipts)} propensities: {grades}; {withheld:,} withheld by policy"
    return [first, second, *(f"{LATE}: {sentence}" for sentence in night.late)]
