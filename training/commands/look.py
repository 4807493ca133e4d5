"""`foresell report`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

from features.console import emit, json_option, results, step, workspace_option
from features.settings import Workspace
from training.commands.champion import version_option


@click.command()
@click.argument("propensity")
@version_option
@click.option("--open/--no-open", "opened", default=None, help="Open the page in the browser; default: in a terminal.")
@workspace_option
@json_option
def report(propensity: str, version: str | None, opened: bool | None, workspace: Workspace, as_json: bool) -> None:
    """Show how good a version is, and write and open its model card: a page with plots, and the same in Markdown without.

    The page is reports/PROPENSITY.html, or reports/PROPENSITY-VERSION.html when a version is asked for; the Markdown lies beside.

    \b
    Example:
      foresell report churn --workspace W
      foresell report churn --version 3 --no-open --workspace W
      foresell report churn --workspace W --json
    """
    from features.catalog import write_atomically
    from features.propensity import file_of
    from training import registry

    file_of(workspace, propensity)
    document, page = registry.report(workspace, propensity, version)
    card = registry.card(workspace, propensity, document["version"])
    _require_complete(document)
    path = workspace.reports / (f"{propensity}-{version}.html" if version else f"{propensity}.html")
    write_atomically(path, page.encode())
    write_atomically(path.with_suffix(".md"), card.encode())
    if as_json:
        emit(document)
    else:
        _print_report(document)
    step(f"the whole report with its plots: {path}; as Markdown: {path.with_suffix('.md')}")
    compared = workspace.reports / propensity / "shadow.html"
    if compared.is_file():
        step(f"what a challenger said in its shadow, as `foresell shadow {propensity}` wrote it: {compared}")
    if opened or (opened is None and not as_json and sys.stdout.isatty()):
        click.launch(path.as_uri())


def _require_complete(document: Mapping[str, Any]) -> None:
    """Refuse a report that lacks what is printed of it."""
    from training import registry
    from training.report import FIGURE_WORDS

    lacking = [name for name in ("question", "split", "test", "backtest", "gates") if name not in document]
    lacking += [f"test.{name}" for name in FIGURE_WORDS if name not in document.get("test", {})]
    if lacking:
        raise registry.incomplete(document["propensity"], document["version"], f"`{lacking[0]}` in the report")


def _print_report(document: Mapping[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from training.report import FIGURE_WORDS

    test = document["test"]
    console = results()
    console.print(document["question"], style="bold", highlight=False, markup=False)
    serves = "the champion" if document["champion"] == document["version"] else f"champion: {document['champion'] or 'none'}"
    console.print(f"{document['propensity']} version {document['version']} ({serves})", highlight=False)
    _print_sentences(document["split"]["sentences"])
    _print_candidates(document["backtest"])
    table = Table("figure", "value", "95 % interval", title=None)
    for name, (title, _) in FIGURE_WORDS.items():
        table.add_row(title, f"{test[name]:.3f}", f"{test[f'{name}_low']:.3f} to {test[f'{name}_high']:.3f}")
    console.print(table)
    console.print(f"{test['rows']:,} rows with {test['positives']:,} positives, {test['from']} to {test['to']}", highlight=False)
    for gate in document["gates"]:
        mark = ("passed", "green") if gate["passed"] else ("failed", "red")
        console.print(Text.assemble(mark, f"  {gate['sentence']}"), soft_wrap=True)


def _print_sentences(sentences: Iterable[str]) -> None:
    """As they are; what stands in brackets is no markup."""
    for sentence in sentences:
        results().print(sentence, highlight=False, soft_wrap=True, markup=False)


def _print_candidates(backtest: Mapping[str, Any]) -> None:
    from rich.table import Table

    table = Table("candidate", "AUC, earlier", "behind the best", "AUC, newest", "")
    for one, newest in zip(backtest["candidates"], backtest["newest"], strict=True):
        taken = "taken" if one["name"] == backtest["chosen"] else "worse" if one["separable"] else "not separable"
        behind = "best" if one["name"] == backtest["best"] else _interval(one["auc_behind"], "+")
        table.add_row(one["name"], _interval(one["auc"]), behind, _interval(newest["auc"]), taken)
    _print_sentences(backtest["sentences"])
    results().print(table)


def _interval(figure: Mapping[str, float], sign: str = "") -> str:
    return f"{figure['value']:{sign}.3f} ({figure['low']:{sign}.3f} to {figure['high']:{sign}.3f})"
