"""`foresell write-back`: takes scores to the CRM."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from features.console import Instant, emit, fail, json_option, note, progress, results, step, work_option
from features.settings import Workspace

if TYPE_CHECKING:
    from features.errors import ForesellError
    from serving.connectors.reconciliation import Comparison
    from serving.connectors.write_back import Outcome

SHOWN_DIFFERENCES = 20
Done = TypeVar("Done")


class Told(Protocol):
    """What has something to tell in `--json`."""

    def as_dict(self) -> Mapping[str, object]:
        """It."""
        ...


Shown = TypeVar("Shown", bound=Told)


@click.command("write-back")
@work_option
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("--as-of", type=Instant(), help="The newest night of this instant or before.  [default: the newest]")
@click.option("--dry-run", is_flag=True, help="Show the first calls, without secrets, and send nothing.")
@click.option(
    "--reconcile", "sample", type=click.IntRange(1), metavar="N", help="Write nothing; read N records back and compare."
)
@click.option("--replay", is_flag=True, help="Also send again what data/write_back/NAME/rejected.jsonl names.")
@click.option("--give-up", "let_go", is_flag=True, help="Write nothing; let go of what NAME's rejected.jsonl names.")
@json_option
@click.pass_context
def write_back(
    ctx: click.Context,
    workspace: Workspace,
    names: Sequence[str],
    as_of: datetime | None,
    dry_run: bool,
    sample: int | None,
    replay: bool,
    let_go: bool,
    as_json: bool,
) -> None:
    """Write the scores that have changed to the targets named, or to every [write_back.NAME] of foresell.toml.

    A score that differs by less than the target's `threshold` from the one last sent is not sent again. The ledger knows of every
    record what was sent, rejected, or still waits; a run that was killed goes on where it stopped. What the target rejects is in
    WORKSPACE/data/write_back/NAME/rejected.jsonl until it is taken or given up, what a run did in receipt.json beside it. One
    target that fails stops no other.

    It ends with 0 if everything was written, 1 if something is rejected, by an earlier run too, or waits or differs, or another
    run writes to a target, 2 if call or settings are wrong.

    \b
    Example:
      foresell write-back --workspace W --dry-run
      foresell write-back crm --workspace W --as-of 2018-05-15
      foresell write-back crm --workspace W --reconcile 100 --json
      foresell write-back crm --workspace W --give-up
    """
    from serving.connectors import reconciliation
    from serving.connectors import write_back as core

    if (sample is not None or let_go) and (dry_run or replay or as_of or (let_go and sample)):
        raise click.UsageError("--reconcile and --give-up write nothing, so they go with no other option but --json")
    chosen = list(dict.fromkeys(names)) or core.every_target(workspace)
    for name in chosen:
        core.target_of(workspace, name)
    if sample is not None:
        compared, failures = _each(chosen, lambda name: reconciliation.reconcile(workspace, name, sample))
        _tell(compared, failures, "compared", as_json, _print_comparison)
        ctx.exit(_exit_code(failures, all(not one.differences for one in compared.values())))
    now = datetime.now(UTC)
    if let_go:
        given_up, failures = _each(chosen, lambda name: core.give_up(workspace, name, now))
        for name, count in given_up.items():
            step(f"{name}: {count:,} records given up")
        if as_json:
            emit({"given_up": given_up, "failed": _documents(failures)})
        ctx.exit(_exit_code(failures, True))
    written, failures = _each(
        chosen, lambda name: core.write_back(workspace, name, as_of, now, dry_run, progress, replay=replay)
    )  # fmt: skip
    for outcome in written.values():
        for error in outcome.failures.values():
            fail(error)
    _tell(written, failures, "written", as_json, _print_outcomes)
    ctx.exit(_exit_code(failures, all(one.is_complete or (dry_run and not one.failures) for one in written.values())))


def _each(
    names: Sequence[str], work: Callable[[str], Done]
) -> tuple[dict[str, Done], dict[str, ForesellError]]:  # fmt: skip
    from features.errors import ForesellError

    done: dict[str, Done] = {}
    failures: dict[str, ForesellError] = {}
    for name in names:
        try:
            done[name] = work(name)
        except ForesellError as error:
            fail(error)
            failures[name] = error
    return done, failures


def _exit_code(failures: dict[str, ForesellError], is_complete: bool) -> int:
    return max((error.exit_code for error in failures.values()), default=0 if is_complete else 1)


def _tell(
    done: dict[str, Shown],
    failures: dict[str, ForesellError],
    what: str,
    as_json: bool,
    show: Callable[[Sequence[Shown]], None],
) -> None:
    if as_json:
        emit({what: _documents(done), "failed": _documents(failures)})
    elif done:
        show(list(done.values()))


def _documents(told: Mapping[str, Told]) -> dict[str, object]:
    return {name: one.as_dict() for name, one in told.items()}


def _print_outcomes(outcomes: Sequence[Outcome]) -> None:
    import json

    from rich.markup import escape
    from rich.table import Table

    table = Table("target", "nights", "looked at", "changed", "sent", "rejected", "waiting")
    for one in outcomes:
        nights = ", ".join(sorted({f"{as_of:%Y-%m-%d}" for as_of in one.as_of.values()}))
        counts = (one.looked_at, one.changed, one.sent, one.rejected, one.waiting)
        table.add_row(escape(one.target), nights, *(f"{count:,}" for count in counts))
    results().print(table)
    for one in outcomes:
        for call in one.calls:
            body = json.dumps(call.body, ensure_ascii=False, default=str)
            results().print(f"{call.method} {call.address}\n  {body}", markup=False, highlight=False, soft_wrap=True)
        for propensity, entity_id, error in one.rejections:
            note(f"{one.target} rejected {entity_id} of {propensity}: {error}")
        if one.dead_letters > one.rejected:
            note(f"{one.target} has rejected {one.dead_letters:,} records until now: see --replay and --give-up")
        if one.stopped:
            note(f"{one.target} stopped: {one.stopped}; run it again, nothing is lost")


def _print_comparison(comparisons: Sequence[Comparison]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("target", "propensity", "entity", "field", "sent", "found")
    for one in comparisons:
        for found in one.differences[:SHOWN_DIFFERENCES]:
            cells = (one.target, found.propensity, found.entity_id, found.field or "the whole record", found.sent, found.found)
            table.add_row(*(escape(str(cell)) for cell in cells))
    if table.row_count:
        results().print(table)
    for one in comparisons:
        step(f"{one.target}: {one.compared:,} compared, {len(one.differences):,} differ, {one.incomparable:,} cannot be compared")
