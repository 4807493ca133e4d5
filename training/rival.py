"""The rival: the champion on the rows that a new model was tested on."""

from __future__ import annotations

import pandas as pd

from features.engine import Name
from features.errors import ContractError, FeatureError
from features.propensity import Propensity
from features.settings import Workspace
from training import registry
from training.boosting import SEED
from training.contract import Floats
from training.dataset import historical
from training.evaluation import auc_difference
from training.examples import Labels
from training.fitting import Fitted
from training.gates import Rival
from training.model import Model


def rival(
    workspace: Workspace,
    propensity: Propensity,
    fitted: Fitted,
    rows: pd.DataFrame,
    labels: Labels,
    engine: Name = "duckdb",
) -> Rival | None:
    """The champion against a new model on the same test rows, unless it has learned from them or cannot read them.

    Where it has learned from the older of them, the newer ones are compared.

    Args:
        workspace: whose champion.
        propensity: the question.
        fitted: the new model.
        rows: `entity_id` and `as_of` of the test rows.
        labels: of these.
        engine: what joins them with the champion's features.
    """
    version = registry.champion_version(workspace, propensity.name)
    if version is None:
        return None
    try:
        model = registry.load(workspace, propensity.name, version).model
        fresh = (rows["as_of"] >= learned_until(model)).to_numpy() & (fitted.split.by == "time")
        if len(set(labels[fresh].tolist())) < 2:
            return Rival(version, None, "it has learned from these rows")
        probability = said(workspace, propensity.entity, model, rows[fresh], engine)
    except FeatureError as gone:
        return Rival(version, None, f"it was trained on {gone.where}, which is no longer there")
    except ContractError:
        return Rival(version, None, "its contract does not fit this version of Foresell, or these columns")
    return Rival(version, auc_difference(fitted.probability[fresh], probability, labels[fresh], rows["entity_id"][fresh], SEED))


def said(workspace: Workspace, entity: str, model: Model, rows: pd.DataFrame, engine: Name = "duckdb") -> Floats:
    """What a model says of rows, by its own features: choosing fewer must not spare a model the comparison.

    Args:
        workspace: with the snapshots of these rows, of which Feast knows.
        entity: whose they are.
        model: reads its features, whatever another one's are.
        rows: `entity_id` and `as_of`.
        engine: what joins them.

    Raises:
        FeatureError: a feature that it was trained on is no longer there.
        ContractError: one is of another type.
    """
    theirs = historical(workspace, entity, rows[["entity_id", "as_of"]], model.columns, engine)
    return model.probability(model.matrix(theirs))


def learned_until(model: Model) -> pd.Timestamp:
    """When the last label that the model learned from had matured; what it says of as_ofs from here on is no recollection."""
    return pd.Timestamp(model.contract.windows["calibration"].last) + model.propensity.horizon
