"""`foresell train`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from features.console import emit, engine_option, fail, json_option, progress, step, work_option
from features.engine import Name
from features.errors import CallError, ForesellError
from features.settings import Workspace

if TYPE_CHECKING:
    from training.train import Trained


@click.command()
@click.argument("propensity", required=False)
@click.option("--all", "every", is_flag=True, help="Every propensity whose tables are there.")
@click.option(
    "--trials", type=click.IntRange(min=1), help="Tune LightGBM in so many trials, those of an interrupted search counted."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), help="Tune LightGBM for so long; the best so far competes."
)
@work_option
@engine_option
@json_option
@click.pass_context
def train(
    ctx: click.Context,
    propensity: str | None,
    every: bool,
    trials: int | None,
    minutes: float | None,
    workspace: Workspace,
    engine: Name,
    as_json: bool,
) -> None:
    """Backtest every candidate, take one, judge it out of time and register it as a new version.

    Snapshots that are missing are built. The version does not serve until it is promoted. Without --trials or --minutes the
    propensity's `[tuning]` decides; by default nothing is tuned. With --engine spark the cluster joins the rows, and this machine
    learns from them, or from about `[train] max_rows` of them.

    \b
    Example:
      foresell train churn --workspace W
      foresell train --all --workspace W
      foresell train churn --trials 40 --minutes 10 --workspace W
    """
    if every == (propensity is not None):
        raise CallError(
            "foresell train",
            expected="the name of one propensity, or --all",
            received="both" if every else "neither",
            repair="`foresell train churn`, or `foresell train --all`",
        )
    if propensity is not None:
        trained = _train_one(workspace, propensity, trials, minutes, engine)
        if as_json:
            emit(_summary(trained))
        return
    outcome = _train_all(workspace, trials, minutes, engine)
    if as_json:
        emit(outcome)
    ctx.exit(1 if outcome["failed"] else 0)


def _train_one(workspace: Workspace, name: str, trials: int | None, minutes: float | None, engine: Name) -> Trained:
    from features.propensity import Tuning, load
    from training.commands.turn import turn
    from training.train import train as train_propensity

    propensity = load(workspace, name)
    if trials or minutes:
        propensity = propensity.model_copy(update={"tuning": Tuning(trials=trials or 0, minutes=minutes or 0)})
    with turn(workspace, name):
        trained = train_propensity(workspace, propensity, datetime.now(UTC), progress, engine)
    auc = trained.test["auc"]
    tested = "out of time" if trained.by == "time" else f"on other {propensity.entity}s, for there is a single date"
    verdict = "it may be promoted" if trained.verdict.passed else "it may not be promoted"
    figure = f"AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) {tested}"
    step(f"{name}: version {trained.version}, {trained.candidate}, {figure}; {verdict}")
    for gate in trained.verdict.gates:
        if not gate.passed:
            step(f"  {gate.sentence}")
    if trained.warnings:
        step(f"  warnings of the leakage guard: {trained.warnings}; `foresell check --propensity {name}` shows them")
    return trained


def _train_all(workspace: Workspace, trials: int | None, minutes: float | None, engine: Name) -> dict[str, Any]:
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
            trained.append(_summary(_train_one(workspace, propensity.name, trials, minutes, engine)))
        except ForesellError as error:
            failed[propensity.name] = error.as_dict()
            fail(error)
    return {"trained": trained, "skipped": skipped, "failed": failed}


def _summary(trained: Trained) -> dict[str, Any]:
    return {
        "propensity": trained.propensity,
        "version": trained.version,
        "candidate": trained.candidate,
        "verdict": trained.verdict.word,
        "gates": [{"gate": gate.gate, "passed": gate.passed, "sentence": gate.sentence} for gate in trained.verdict.gates],
        "test": {name: figure.value for name, figure in trained.test.figures.items()}
        | {"rows": trained.test.rows, "positives": trained.test.positives},
    }
