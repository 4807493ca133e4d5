"""`foresell check`: the tables, and with a propensity what knows its outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from features.console import emit, fail, json_option, messages, progress, results, step, workspace_option
from features.errors import DataFloorError, ForesellError, SnapshotError
from features.settings import Workspace

if TYPE_CHECKING:
    from features.propensity import Propensity
    from training.leakage.finding import Finding, Severity

STYLES: dict[Severity, str] = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command()
@workspace_option
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
    leaks, obstacle = _leaks(workspace, propensity) if propensity and usability.usable else ((), None)
    if as_json:
        guarded = (
            {"propensity": name, "leakage": [asdict(finding) for finding in leaks]} if propensity and usability.usable else {}
        )
        emit(usability.as_dict() | guarded | ({"error": obstacle.as_dict()} if obstacle else {}))
    elif propensity and usability.usable:
        _show(propensity, leaks)
        if obstacle:
            fail(obstacle)
    ctx.exit(0 if usability.usable and obstacle is None and not any(finding.stops for finding in leaks) else 1)


def _leaks(workspace: Workspace, propensity: Propensity) -> tuple[tuple[Finding, ...], ForesellError | None]:
    """What the guard finds; where no dataset can be made, what the tables alone show, and why there is none."""
    from training.dataset import prepare
    from training.leakage.guard import guard, guard_tables

    try:
        return guard(workspace, propensity, prepare(workspace, propensity, progress)), None
    except (DataFloorError, SnapshotError) as obstacle:
        return guard_tables(workspace, propensity), obstacle


def _show(propensity: Propensity, leaks: Sequence[Finding]) -> None:
    """Print every finding for a person: how bad and where, the evidence, and what would mend it."""
    from rich.markup import escape
    from rich.table import Table

    console = results()
    table = Table(
        "finding", "evidence", title=f"What may know the outcome of {propensity.name}", title_justify="left", show_lines=True
    )
    for finding in leaks:
        severity = f"[bold {STYLES[finding.severity]}]{finding.severity}[/]{', waived' if finding.waived else ''}"
        evidence = escape(finding.sentence)
        evidence += (
            f"\n[bold]may pass[/] {escape(finding.waived)}" if finding.waived else f"\n[bold]to mend[/] {escape(finding.repair)}"
        )
        table.add_row(f"{severity}\n{escape(finding.key)}", evidence)
    if leaks:
        console.print(table)
    console.print(_verdict(leaks), highlight=False, soft_wrap=True)


def _verdict(leaks: Sequence[Finding]) -> str:
    stopping = sum(finding.stops for finding in leaks)
    if stopping:
        errors = f"{stopping} error{'s' if stopping > 1 else ''}"
        return f"[red]✗[/] {errors}; train refuses until they are mended, or waived in the propensity file: \\[waivers]"
    return f"[green]✓[/] nothing stops the training; {len(leaks)} finding{'s' if len(leaks) != 1 else ''} in all"
