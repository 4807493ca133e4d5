"""The commands of this room; heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from features.console import emit, fail, json_option, progress, results, step, workspace_option
from features.errors import CallError, ForesellError
from features.settings import Workspace

if TYPE_CHECKING:
    from training.train import Trained

version_option = click.option("--version", default=None, help="This version; without it, the newest.")


@click.command()
@click.argument("propensity", required=False)
@click.option("--all", "every", is_flag=True, help="Every propensity whose tables are there.")
@workspace_option
@json_option
@click.pass_context
def train(ctx: click.Context, propensity: str | None, every: bool, workspace: Workspace, as_json: bool) -> None:
    """Learn a model, judge it out of time and register it as a new version.

    Snapshots that are missing are built. The version does not serve until it is promoted.

    \b
    Example:
      foresell train churn --workspace W
      foresell train --all --workspace W
    """
    if every == (propensity is not None):
        raise CallError(
            "foresell train",
            expected="the name of one propensity, or --all",
            received="both" if every else "neither",
            repair="`foresell train churn`, or `foresell train --all`",
        )
    if propensity is not None:
        trained = _train_one(workspace, propensity)
        if as_json:
            emit(_summary(trained))
        return
    outcome = _train_all(workspace)
    if as_json:
        emit(outcome)
    ctx.exit(1 if outcome["failed"] else 0)


@click.command()
@click.argument("propensity")
@version_option
@workspace_option
@json_option
def promote(propensity: str, version: str | None, workspace: Workspace, as_json: bool) -> None:
    """Let a version serve, if it passed every gate; without --version the newest.

    A service that is running keeps its version until it is started again.

    \b
    Example:
      foresell promote churn --workspace W
      foresell promote churn --version 3 --workspace W
    """
    from features.propensity import file_of
    from training import registry

    file_of(workspace, propensity)
    before = registry.champion_version(workspace, propensity)
    promoted = registry.promote(workspace, propensity, version)
    replaced = f", in place of version {before}" if before not in (None, promoted) else ""
    step(f"{propensity}: version {promoted} serves{replaced}; a running `foresell serve` takes it up when it is started again")
    if as_json:
        emit({"propensity": propensity, "champion": promoted, "before": before})


@click.command()
@click.argument("propensity")
@version_option
@click.option("--open/--no-open", "opened", default=None, help="Open the page in the browser; default: in a terminal.")
@workspace_option
@json_option
def report(propensity: str, version: str | None, opened: bool | None, workspace: Workspace, as_json: bool) -> None:
    """Show how good a version is, and write and open its page with the plots.

    The page is reports/PROPENSITY.html, or reports/PROPENSITY-VERSION.html when a version is asked for.

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
    path = workspace.reports / (f"{propensity}-{version}.html" if version else f"{propensity}.html")
    write_atomically(path, page.encode())
    if as_json:
        emit(document)
    else:
        _print_report(document)
    step(f"the whole report with its plots: {path}")
    if opened or (opened is None and not as_json and sys.stdout.isatty()):
        click.launch(path.as_uri())


def _train_one(workspace: Workspace, name: str) -> Trained:
    from features.propensity import load
    from training.train import train as train_propensity

    propensity = load(workspace, name)
    trained = train_propensity(workspace, propensity, datetime.now(UTC), progress)
    auc = trained.test["auc"]
    tested = "out of time" if trained.by == "time" else f"on other {propensity.entity}s, for there is a single date"
    verdict = "it may be promoted" if trained.verdict.passed else "it may not be promoted"
    step(f"{name}: version {trained.version}, AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) {tested}; {verdict}")
    for gate in trained.verdict.gates:
        if not gate.passed:
            step(f"  {gate.sentence}")
    return trained


def _train_all(workspace: Workspace) -> dict[str, Any]:
    """Train what can be trained; one failure does not stop the others."""
    from features.catalog import Catalog
    from features.propensity import load_all
    from training.label import missing

    catalog = Catalog.load(workspace)
    trained: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    failed: dict[str, dict[str, str]] = {}
    for propensity in load_all(workspace):
        lacking = missing(catalog, propensity)
        if lacking:
            skipped[propensity.name] = f"{lacking} is not there"
            step(f"{propensity.name}: skipped, {skipped[propensity.name]}")
            continue
        try:
            trained.append(_summary(_train_one(workspace, propensity.name)))
        except ForesellError as error:
            failed[propensity.name] = error.as_dict()
            fail(error)
    return {"trained": trained, "skipped": skipped, "failed": failed}


def _summary(trained: Trained) -> dict[str, Any]:
    return {
        "propensity": trained.propensity,
        "version": trained.version,
        "verdict": trained.verdict.word,
        "gates": [{"gate": gate.gate, "passed": gate.passed, "sentence": gate.sentence} for gate in trained.verdict.gates],
        "test": {name: figure.value for name, figure in trained.test.figures.items()}
        | {"rows": trained.test.rows, "positives": trained.test.positives},
    }


def _print_report(document: Mapping[str, Any]) -> None:
    from rich.table import Table

    from training.report import FIGURE_WORDS

    test = document["test"]
    console = results()
    console.print(f"[bold]{document['question']}[/]", highlight=False)
    serves = "the champion" if document["champion"] == document["version"] else f"champion: {document['champion'] or 'none'}"
    console.print(f"{document['propensity']} version {document['version']} ({serves})", highlight=False)
    for sentence in document["split"]["sentences"]:
        console.print(sentence, highlight=False, soft_wrap=True)
    table = Table("figure", "value", "95 % interval", title=None)
    for name, (title, _) in FIGURE_WORDS.items():
        table.add_row(title, f"{test[name]:.3f}", f"{test[f'{name}_low']:.3f} to {test[f'{name}_high']:.3f}")
    console.print(table)
    console.print(f"{test['rows']:,} rows with {test['positives']:,} positives, {test['from']} to {test['to']}", highlight=False)
    for gate in document["gates"]:
        mark = "[green]passed[/]" if gate["passed"] else "[red]failed[/]"
        console.print(f"{mark}  {gate['sentence']}", highlight=False, soft_wrap=True)


COMMANDS: tuple[click.Command, ...] = (train, promote, report)
