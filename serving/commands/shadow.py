"""`foresell shadow`: the challenger beside the champion."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from features.console import Instant, emit, json_option, results, step, workspace_option
from features.settings import Workspace

if TYPE_CHECKING:
    from serving.comparison import Comparison
    from serving.ledger import Compared


@click.command()
@click.argument("propensity")
@click.option("--since", type=Instant(), help="Only what was answered at or after this instant.  [default: everything kept]")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the page goes.  [default: reports/PROPENSITY/shadow.html]",
)
@click.option("--open/--no-open", "opened", default=None, help="Open the page in the browser; default: in a terminal.")
@workspace_option
@json_option
def shadow(
    propensity: str, since: datetime | None, html: Path | None, opened: bool | None, workspace: Workspace, as_json: bool
) -> None:
    """Compare what the challenger would have said with what the champion answered, and write a page about it.

    A propensity that `[serving] shadow` names has its challenger asked about the same entities, after each answer.

    \b
    Example:
      foresell shadow churn --workspace W
      foresell shadow churn --since 2026-11-01 --no-open --workspace W
      foresell shadow churn --json --workspace W
    """
    from dataclasses import asdict

    from features.catalog import write_atomically
    from features.propensity import file_of
    from serving import shadow_page
    from serving.comparison import compare, newest
    from training import registry

    file_of(workspace, propensity)
    rows = _kept(workspace, propensity, since)
    last = newest(rows)[-1]
    champion, challenger = (registry.load(workspace, propensity, version).model for version in (last.champion, last.challenger))
    found = compare(rows, champion, challenger)
    path = (html or shadow_page.path(workspace, propensity)).resolve()
    write_atomically(path, shadow_page.page(found, rows, champion.propensity.question).encode())
    if as_json:
        emit(asdict(found))
    else:
        _print_comparison(found)
    step(f"the same with a plot and a table of grades: {path}")
    if opened or (opened is None and not as_json and sys.stdout.isatty()):
        click.launch(path.as_uri())


def _kept(workspace: Workspace, propensity: str, since: datetime | None) -> list[Compared]:
    """What the ledger has.

    Raises:
        WorkspaceError: it has nothing.
    """
    from features.errors import WorkspaceError
    from serving.ledger import Ledger

    with closing(Ledger.open(workspace)) as ledger:
        rows = ledger.compared(propensity, since)
    if rows:
        return rows
    is_wanted = propensity in workspace.settings.serving.shadow
    raise WorkspaceError(
        f"the ledger of {workspace.root}",
        expected=f"answers for {propensity} that a challenger was compared with" + (f", since {since:%Y-%m-%d}" if since else ""),
        received="none",
        repair="they are kept when the service answers while there is a challenger; `foresell train` makes one"
        if is_wanted
        else f'name it in foresell.toml, `[serving] shadow = ["{propensity}"]`, and start the service again',
    )


def _print_comparison(found: Comparison) -> None:
    from rich.table import Table

    from serving.shadow_page import figures

    title = f"{found.propensity}: challenger version {found.challenger} beside champion version {found.champion}"
    results().print(title, style="bold", highlight=False, soft_wrap=True)
    table = Table("figure", "value", "")
    for figure in figures(found):
        table.add_row(figure["name"], figure["value"], figure["note"])
    results().print(table)
    for sentence in found.sentences:
        results().print(sentence, highlight=False, soft_wrap=True, markup=False)
