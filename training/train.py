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
from training import dataset, evaluation, leakage, registry, report
from training.evaluation import Evaluation
from training.fitting import Fitted, fit, models
from training.gates import Rival, Verdict, judge
from training.learner import SEED
from training.model import Model
from training.split import split


@dataclass(frozen=True)
class Trained:
    """A registered version: its figures on the test rows, which are later rows or, by entity, other entities; its verdict."""

    propensity: str
    version: str
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
        LeakageError: a feature knows the outcome.
    """
    quality.require(workspace)
    data = dataset.prepare(workspace, propensity, watch)
    leakage.require_none(leakage.findings(data.frame, data.labels, list(data.dtypes), data.attributes), propensity.name)
    divided = split(data.frame, data.labels, propensity.horizon)
    with watch(f"{propensity.name}: learning", models(divided)) as tick:
        fitted = fit(data, propensity, divided, tick)
    with watch(f"{propensity.name}: judging", 3) as tick:
        rows, labels = data.frame[fitted.split.test], data.labels[fitted.split.test]
        test = evaluation.evaluate(fitted.probability, labels, rows["entity_id"], SEED)
        tick(1)
        verdict = judge(propensity.gates, test, _rival(workspace, propensity, fitted, rows, labels))
        tick(1)
        version = registry.register(workspace, fitted.model, report.record(data, fitted, test, verdict, at))
        tick(1)
    return Trained(propensity.name, version, divided.by, test, verdict)


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
