"""`foresell audit`: who asked for what."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from features.console import Instant, emit, json_option, messages, results, workspace_option
from features.settings import Workspace

if TYPE_CHECKING:
    from serving.ledger import Served


@click.command()
@workspace_option
@click.option("--since", type=Instant(), help="Only what was answered at this instant or later.")
@click.option("--until", type=Instant(), help="Only what was answered before this instant.")
@click.option("--key", "caller", metavar="ID", help="Only what this API key asked for; `foresell key list` shows the ids.")
@click.option("--entity-id", metavar="ID", help="Only about this lead or customer.")
@click.option("--propensity", metavar="NAME", help="Only answers for this propensity.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1), help="At most so many answers, the newest.")
@json_option
def audit(
    workspace: Workspace,
    since: datetime | None,
    until: datetime | None,
    caller: str | None,
    entity_id: str | None,
    propensity: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """Tell who asked for what: every answer about a lead or customer, the newest last.

    \b
    Example:
      foresell audit --workspace W --key 3f9ac1d2 --since 2026-11-01
      foresell audit --workspace W --entity-id C0001 --json
    """
    from contextlib import closing

    from serving.ledger import Ledger

    with closing(Ledger.open(workspace)) as ledger:
        found = ledger.audit(since, until, caller, entity_id, propensity, limit)
    if as_json:
        emit({"answers": [served._asdict() for served in found]})
    elif found:
        _print(found)
    else:
        messages().print("nobody asked for anything of the kind")


def _print(found: Sequence[Served]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("at (UTC)", "key", "road", "propensity", "entity", "version", "answer", "request")
    for served in found:
        cells = (served.caller, served.road, served.propensity, served.entity_id, served.model_version)
        texts = [escape(str(cell or "")) for cell in cells]
        table.add_row(f"{served.at:%Y-%m-%d %H:%M:%S}", *texts, escape(_answer(served)), escape(served.request_id))
    results().print(table)


def _answer(served: Served) -> str:
    """In a few words: the score, or why there was none."""
    if served.score is None:
        return served.policy or served.why or "no score"
    return f"{served.score}, stored earlier" if served.degraded else str(served.score)
