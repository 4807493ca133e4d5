"""The recipe: from a workspace's tables to a registered version with its report and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pandas as pd

from features import quality, store
from features.console import Watch
from features.errors import ContractError, FeatureError
from features.propensity import Propensity
from features.settings import Workspace
from training import backtest, dataset, evaluation, registry, report
from training.boosting import SEED
from training.choice import against_rule, choose, standings
from training.evaluation import Evaluation
from training.fitting import Fitted, fit
from training.gates import Rival, Verdict, judge
from training.leakage.guard import guard, require_clean
from training.model import Model
from training.result import Result
from training.split import origins, split


@dataclass(frozen=True)
class Trained:
    """A registered version: its figures on the test rows, which are later rows or, by entity, other entities; its verdict."""

    propensity: str
    version: str
    candidate: str
    by: Literal["time", "entity"]
    test: Evaluation
    verdict: Verdict


def train(workspace: Workspace, propensity: Propensity, at: datetime, watch: Watch) -> Trained:
    """Check, build, learn, judge and register one propensity.

    Args:
        workspace: with ingested tables; missing snapshots are built.
        propensity: the question.
        at: when this is done; it goes into the report.
        watch: opens a progress bar for a step of so many units.

    Raises:
        QualityError: the tables hold errors.
        PropensityError: the tables lack what the propensity asks about.
        DataFloorError: too little matured data; says what is missing.
        LeakageError: something knows the outcome, and no waiver lets it pass.
    """
    quality.require(workspace)
    data = dataset.prepare(workspace, propensity, watch)
    leaks = guard(workspace, propensity, data)
    require_clean(leaks, propensity)
    divided = split(data.frame, data.labels, propensity.horizon)
    earlier = origins(data.frame, data.labels, propensity.horizon)
    with watch(f"{propensity.name}: backtest", backtest.size(divided, earlier) + 1) as tick:
        tested = backtest.run(data, divided, earlier, tick=tick)
        choice = choose(tested, propensity.choice.not_separable, SEED)
        fitted = fit(data, propensity, divided, tested, choice.name)
        tick(1)
    with watch(f"{propensity.name}: judging", 3) as tick:
        rows, labels = data.frame[divided.test], data.labels[divided.test]
        test = evaluation.evaluate(fitted.probability, labels, rows["entity_id"], SEED)
        newest = standings(tested, [tested.newest], SEED)
        tick(1)
        rival = _rival(workspace, propensity, fitted, rows, labels)
        verdict = judge(propensity.gates, test, rival, against_rule(tested.newest, choice.name, SEED))
        tick(1)
        result = Result(data, tested, choice, newest, fitted, test, verdict, leaks)
        version = registry.register(workspace, fitted.model, report.record(result, at))
        tick(1)
    return Trained(propensity.name, version, choice.name, divided.by, test, verdict)


def _rival(workspace: Workspace, propensity: Propensity, fitted: Fitted, rows: pd.DataFrame, labels: Any) -> Rival | None:
    """The champion on the same test rows, unless it has learned from them or cannot read them."""
    version = registry.champion_version(workspace, propensity.name)
    if version is None:
        return None
    try:
        model = registry.load(workspace, propensity.name, version).model
        if fitted.split.by == "entity" or _learned_until(model) > rows["as_of"].min():
            return Rival(version, None, "it has learned from these rows")
        # its own features, whatever the new model's are: choosing fewer must not spare a model the comparison
        theirs = store.historical(workspace, propensity.entity, rows[["entity_id", "as_of"]], model.columns)
        probability = model.probability(model.matrix(theirs))
    except FeatureError as gone:
        return Rival(version, None, f"it was trained on {gone.where}, which is no longer there")
    except ContractError:
        return Rival(version, None, "its contract does not fit this version of Foresell, or these columns")
    return Rival(version, evaluation.auc_difference(fitted.probability, probability, labels, rows["entity_id"], SEED))


def _learned_until(model: Model) -> pd.Timestamp:
    """When the last label that the model learned from had matured."""
    return pd.Timestamp(model.contract.windows["calibration"].last) + model.propensity.horizon
