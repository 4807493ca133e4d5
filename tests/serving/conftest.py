"""A small real LightGBM model with numbers, a category and missing values, for the tests of this room."""

from __future__ import annotations

from collections.abc import Callable

import lightgbm
import numpy as np
import pandas as pd
import pytest

from features.customer import VIEWS
from features.feature import Feature
from features.propensity import Propensity
from training.calibration import fit
from training.model import Column, Contract, Model, Typical, Window, encode

COLUMNS = (
    Column(name="logins_change_90d", dtype="number", typical=Typical(missing=0.1, p25=0.0, median=0.0, p75=0.0)),
    Column(name="orders_count_90d", dtype="number", typical=Typical(missing=0.0, p25=1.0, median=2.0, p75=3.0)),
    Column(name="subscriptions_tier_latest", dtype="category", categories=("basic", "plus"), typical=Typical(missing=0.0)),
    Column(name="logins_days_since_last", dtype="number", typical=Typical(missing=0.2, p25=4.5, median=9.0, p75=13.5)),
    Column(name="nps_latest", dtype="number", typical=Typical(missing=0.5, p25=3.5, median=7.0, p75=10.5)),
    Column(name="subscriptions_mrr_now", dtype="number", typical=Typical(missing=0.0, p25=15.0, median=30.0, p75=45.0)),
)
QUESTION = {
    "name": "churn", "question": "Will this customer cancel?", "entity": "customer", "horizon": "90d",
    "eligible": ["subscriptions_active_count >= 1"], "outcome": {"table": "subscriptions", "at": "ended_at"},
    "value": {"column": "subscriptions_mrr_now", "times": 12},
    "reasons": {"logins_change_90d": {"low": "Logins have fallen over the last 90 days"}},
}  # fmt: skip


def world(rows: int, seed: int = 7) -> pd.DataFrame:
    """Random customers with every kind of value: whole and broken numbers, missing ones, categories seen and unseen."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "logins_change_90d": np.where(random.random(rows) < 0.1, np.nan, random.uniform(-1, 1, rows)),
            "orders_count_90d": random.poisson(2, rows).astype(float),
            "subscriptions_tier_latest": random.choice(np.array(["basic", "plus", "gold", None], dtype=object), rows),
            "logins_days_since_last": np.where(random.random(rows) < 0.2, np.nan, random.exponential(12, rows)),
            "nps_latest": np.where(random.random(rows) < 0.5, np.nan, random.integers(0, 11, rows)),
            "subscriptions_mrr_now": random.choice([10.0, 30.0, 49.9], rows),
            "subscriptions_active_count": np.where(random.random(rows) < 0.1, 0.0, 1.0),
        }
    )
    return frame


Rows = list[dict[str, float | str | None]]


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., Rows]:
    """Random customers as rows."""
    return lambda rows, seed=7: world(rows, seed).to_dict("records")  # type: ignore[return-value]


@pytest.fixture(scope="session")
def model() -> Model:
    frame = world(4000)
    drive = -2 * frame["logins_change_90d"].fillna(0) + 0.05 * frame["logins_days_since_last"].fillna(40) - 1.5
    drive += np.where(frame["subscriptions_tier_latest"] == "plus", -1.0, 0.4)
    labels = (np.random.default_rng(1).random(len(frame)) < 1 / (1 + np.exp(-drive))).astype(np.int8)
    matrix = encode(frame, COLUMNS)
    data = lightgbm.Dataset(matrix, labels, feature_name=[c.name for c in COLUMNS], categorical_feature=[2])
    booster = lightgbm.train({"objective": "binary", "num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": 1}, data, 60)
    calibration = fit(np.asarray(booster.predict(matrix, raw_score=True)), labels)
    chances = calibration.probability(np.asarray(booster.predict(matrix, raw_score=True)))
    window = Window(first="2018-01-01", last="2018-01-01", rows=len(frame), positives=int(labels.sum()))
    contract = Contract(
        propensity=Propensity.model_validate(QUESTION).model_dump(mode="json"),
        features=COLUMNS,
        calibration=calibration,
        reference=tuple(np.quantile(chances, np.linspace(0, 1, 1001)).tolist()),
        fingerprint="test",
        windows={"train": window},
    )
    return Model(contract, booster.model_to_string())


@pytest.fixture(scope="session")
def declarations() -> dict[str, Feature]:
    return {feature.name: feature for view in VIEWS for feature in view.columns}
