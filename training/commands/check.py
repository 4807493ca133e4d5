"""`foresell check`: the tables, and with a propensity what knows its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from features.console import emit, fail, json_option, messages, progress, results, step, work_option
from features.errors import DataFloorError, ForesellError, SnapshotError
from features.settings import Workspace

if TYPE_CHECKING:
    from rich.table import Table

    from features.propensity import Propensity
    from training.leakage.finding import Finding, Severity

STYLES: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@work_option
@click.option("--propensity", "name", default=None, help="Look also for what knows the outcome of this propensity.")
@click.option("--accept-fewer-rows", is_flag=True, help="Fewer rows than before are right: compare with today's from now on.")
@json_option
@click.pass_context
def check(ctx: click.Context, workspace: Workspace, name: str | None, accept_fewer_rows: bool, as_json: bool) -> None:
    """Check the ingested tables: what is wrong, what it costs, how to mend it.

    Prints a usability report and writes data docs. Exit code 1 if there are errors: train and score refuse such tables.
    Warnings cost only the rows or the attributes they name.

    With --propensity the leakage guard looks at its dataset, too, as train does; snapshots that are missing are built.
    Exit code 1 if something knows the outcome and no waiver in the propensity file lets it pass.

    \b
    Example:
      foresell check --workspace W
      foresell check --propensity churn --workspace W
      foresell check --workspace W --json
    """
    from features import publication, quality
    from features.catalog import Catalog
    from features.propensity import load
    from features.usability import show

    propensity = load(workspace, name) if name else None
    catalog = publication.accept_rows(workspace) if accept_fewer_rows else Catalog.load(workspace)
    with messages().status(f"checking {len(catalog.tables)} tables"):
        usability = quality.check(workspace, catalog.now)
    if not as_json:
        show(usability, results())
        step(f"data docs: open {usability.docs} in a browser")
    guarded = _guard(workspace, propensity) if propensity and usability.usable else None
    if as_json:
        emit(usability.as_dict() | (guarded.as_dict() if guarded else {}))
    elif guarded:
        _show(guarded)
    ctx.exit(0 if usability.usable and (guarded is None or guarded.passes) else 1)


@dataclass(frozen=True)
class Guarded:
    """What the guard found of a propensity; `obstacle` says why there is no dataset, if there is none."""

    propensity: str
    leaks: tuple[Finding, ...]
    obstacle: ForesellError | None = None

    @property
    def passes(self) -> bool:
        return self.obstacle is None and not any(finding.stops for finding in self.leaks)

    def as_dict(self) -> dict[str, Any]:
        document = {"propensity": self.propensity, "leakage": [asdict(finding) for finding in self.leaks]}
        return document | ({"error": self.obstacle.as_dict()} if self.obstacle else {})


def _guard(workspace: Workspace, propensity: Propensity) -> Guarded:
    """What the guard finds; where no dataset can be made, what the tables alone show."""
    from training.dataset import prepare
    from training.leakage.guard import guard, guard_tables

    try:
        return Guarded(propensity.name, guard(workspace, propensity, prepare(workspace, propensity, progress)))
    except (DataFloorError, SnapshotError) as obstacle:
        return Guarded(propensity.name, guard_tables(workspace, propensity), obstacle)


def _show(guarded: Guarded) -> None:
    """Print for a person: how many findings of each kind, then each with its evidence and what would mend it."""
    console = results()
    if guarded.leaks:
        console.print(_counts(guarded))
    for finding in guarded.leaks:
        console.print(_paragraph(finding), highlight=False, soft_wrap=True)
    if guarded.obstacle:
        fail(guarded.obstacle)
    else:
        console.print(_verdict(guarded.leaks), highlight=False, soft_wrap=True)


def _counts(guarded: Guarded) -> Table:
    from rich.table import Table

    from training.leakage.finding import CHECKS, SEVERITIES

    table = Table("check", "what it says", title=f"What may know the outcome of {guarded.propensity}", title_justify="left")
    for severity in SEVERITIES:
        table.add_column(f"{severity}s", justify="right")
    for check, words in CHECKS.items():
        found = [finding.severity for finding in guarded.leaks if finding.check == check]
        if found:
            table.add_row(check, words, *(str(found.count(severity) or "") for severity in SEVERITIES))
    return table


def _paragraph(finding: Finding) -> str:
    from rich.markup import escape

    waived = ", waived" if finding.waived else ""
    lines = [
        f"[bold {STYLES[finding.severity]}]{finding.severity}[/] [bold]{escape(finding.key)}[/]{waived}",
        f"  shows    {escape(finding.sentence)}",
        f"  to mend  {escape(finding.repair)}",
    ]
    if finding.waived:
        lines.append(f"  may pass {escape(finding.waived)}")
    return "\n".join(lines)


def _verdict(leaks: Sequence[Finding]) -> str:
    stopping = sum(finding.stops for finding in leaks)
    if stopping:
        errors = f"{stopping} error{'s' if stopping > 1 else ''}"
        return f"[red]✗[/] {errors}; train refuses until they are mended, or waived in the propensity file: \\[waivers]"
    return f"[green]✓[/] nothing stops the training; {len(leaks)} finding{'s' if len(leaks) != 1 else ''} in all"
