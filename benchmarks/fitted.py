"""A LightGBM model that is fitted without a training: a whole contract, calibrated on its own rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightgbm
import numpy as np
import pandas as pd

from training import calibration, registry
from training.contract import Column, Contract, Typical, Window
from training.model import Model
from training.registry import Record
from training.trees import Trees

PARAMETERS = {"objective": "binary", "verbose": -1, "num_threads": 1, "seed": 1}
PASSED = Record({}, {}, {"verdict": "pass"}, {"gates": []}, {"report/report.html": "<html>"})


def column(values: pd.Series) -> Column:
    """What a contract says of a feature with these values."""
    missing = float(values.isna().mean())
    if values.dtype == object:
        known = tuple(sorted(values.dropna().unique()))
        return Column(name=str(values.name), dtype="category", categories=known, typical=Typical(missing=missing))
    p25, median, p75 = values.quantile([0.25, 0.5, 0.75]).tolist()
    return Column(name=str(values.name), dtype="number", typical=Typical(missing=missing, p25=p25, median=median, p75=p75))


def fitted(
    question: dict[str, Any],
    columns: Sequence[Column],
    matrix: np.ndarray,
    labels: np.ndarray,
    trees: int,
    parameters: Mapping[str, object],
) -> Model:
    """A model.

    Args:
        question: the propensity.
        columns: the features.
        matrix: the rows, as `training.contract.encode` makes them.
        labels: their outcomes.
        trees: how many.
        parameters: LightGBM's, beyond `PARAMETERS`.
    """
    categories = [i for i, one in enumerate(columns) if one.dtype == "category"]
    data = lightgbm.Dataset(matrix, labels, feature_name=[one.name for one in columns], categorical_feature=categories)
    booster = lightgbm.train({**PARAMETERS, **parameters}, data, trees)
    raw = np.asarray(booster.predict(matrix, raw_score=True))
    line = calibration.fit(raw, labels)
    window = Window(first="2018-01-01", last="2018-01-01", rows=len(matrix), positives=int(labels.sum()))
    contract = Contract(
        propensity=question,
        candidate="lightgbm",
        members=("model.txt",),
        features=tuple(columns),
        calibration=line,
        reference=tuple(np.quantile(line.probability(raw), np.linspace(0, 1, 1001)).tolist()),
        fingerprint="fitted",
        windows={"train": window, "calibration": window, "test": window},
        versions=dict.fromkeys(registry.REQUIREMENTS, "0"),
    )
    return Model(contract, Trees(booster.model_to_string()))
