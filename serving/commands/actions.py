"""`foresell actions`: what was done because of scores, and from a file what a CRM did that cannot tell it over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from features.console import Instant, emit, json_option, messages, note, results, step, workspace_option
from features.settings import Workspace

if TYPE_CHECKING:
    from serving.action_file import Imported
    from serving.ledger import Action

SHOWN = 20  # wrong rows; --json names every one


@click.command()
@workspace_option
@click.option("--import", "file", type=click.Path(path_type=Path), help="Keep the actions in this CSV or Parquet file.")
@click.option("--since", type=Instant(), help="Only what was done at this instant or later.")
@click.option("--until", type=Instant(), help="Only what was done before this instant.")
@click.option("--entity-id", metavar="ID", help="Only about this lead or customer.")
@click.option("--propensity", metavar="NAME", help="Only because of this propensity.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many actions, the newest.")
@json_option
@click.pass_context
def actions(
    ctx: click.Context,
    workspace: Workspace,
    file: Path | None,
    since: datetime | None,
    until: datetime | None,
    entity_id: str | None,
    propensity: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Tell what was done because of scores, the newest last, and how much of it; or keep what a file tells.

    The columns of a file are `propensity`, `entity_id`, `kind`, and `id` or `at` or both, and `outcome`. A row that is wrong is
    named by its line and does not lose the others; then the exit code is 1. Importing a file again keeps its actions once.

    \b
    Example:
      foresell actions --workspace W --propensity churn --since 2026-11-01
      foresell actions --workspace W --import calls.csv
    """
    from contextlib import closing
    from uuid import uuid4

    from serving.action_file import import_actions
    from serving.ledger import Ledger

    with closing(Ledger.open(workspace)) as ledger:
        if file is not None:
            imported = import_actions(workspace, ledger, file, datetime.now(UTC), uuid4().hex)
            _tell_imported(imported, as_json)
            ctx.exit(1 if imported.flaws else 0)
        counts = ledger.count_actions(since, until, propensity, entity_id)
        found = ledger.actions(since, until, propensity, entity_id, limit)
    if as_json:
        emit({"actions": [one._asdict() for one in found], "counts": _counts(counts)})
    elif found:
        _print(found, counts)
    else:
        messages().print("nothing of the kind was told")


def _counts(counts: Mapping[tuple[str, str, bool], int]) -> list[dict[str, object]]:
    return [
        {"propensity": propensity, "kind": kind, "held_out": held_out, "actions": number}
        for (propensity, kind, held_out), number in counts.items()
    ]


def _print(found: Sequence[Action], counts: Mapping[tuple[str, str, bool], int]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("at (UTC)", "propensity", "entity", "kind", "outcome", "held out", "key", "id")
    for one in found:
        cells = (one.propensity, one.entity_id, one.kind, one.outcome or "", "yes" if one.held_out else "", one.caller or "file")
        table.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", *map(escape, cells), escape(one.id))
    results().print(table)
    breaches = sum(number for (*_, held_out), number in counts.items() if held_out)
    step(f"{sum(counts.values()):,} actions in all, {breaches:,} of them about entities that are held out")


def _tell_imported(imported: Imported, as_json: bool) -> None:
    if as_json:
        told = {name: getattr(imported, name) for name in ("kept", "known", "held_out")}
        emit({**told, "flaws": [flaw.model_dump() for flaw in imported.flaws]})
        return
    for flaw in imported.flaws[:SHOWN]:
        note(f"{flaw.where}: expected {flaw.expected}, received {flaw.received}; {flaw.repair}")
    if len(imported.flaws) > SHOWN:
        note(f"and {len(imported.flaws) - SHOWN:,} more; --json names every one")
    step(
        f"{imported.kept:,} actions kept, {imported.known:,} were known, {len(imported.flaws):,} rows are wrong; "
        f"{imported.held_out:,} are about entities that are held out"
    )
