"""LightGBM with defaults by size, and its number of rounds by cross-validation that keeps an entity's rows together.

Nothing here is tuned to a data set. Small data get shallow trees, slow learning and strong regularisation; large data get more
leaves. Classes are never weighted and rows never resampled: probabilities are wanted. Equal rows give an equal model, on any
number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.console import Tick
from training.model import Column, Floats, Typical, encode
from training.split import FOLDS, Mask, folds

SEED = 20180515
MOST_ROUNDS = 1_500
PATIENCE = 40
MOST_CATEGORIES = 200
LEAST_ROWS_PER_CATEGORY = 10
ONE_THREAD_BELOW = 20_000_000  # values in the matrix; on less, threads wait for each other more than they work
ONE_FOLD_FROM = 60_000  # rows; from here on one fold in five tells the number of rounds as well as five do
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class Learned:
    """A fitted booster as text, what it was fitted with, and what each row scored out of sample.

    Attributes:
        text: LightGBM's own format.
        features: the contract of the matrix.
        parameters: LightGBM's, with `rounds`.
        out_of_fold: the raw score of each row by a model that did not see its entity; NaN where no such score was wanted.
    """

    text: str
    features: tuple[Column, ...]
    parameters: dict[str, Any]
    out_of_fold: Floats

    def raw(self, frame: pd.DataFrame) -> Floats:
        """The raw score of each row of a frame.

        Raises:
            ContractError: a feature is missing or of another type.
        """
        booster = lightgbm.Booster(model_str=self.text)
        return np.asarray(booster.predict(encode(frame, self.features), raw_score=True), dtype=np.float64)


def models(rows: int, cross_fit: bool) -> int:
    """How many models `learn` fits."""
    return 1 + (FOLDS if cross_fit or rows < ONE_FOLD_FROM else 1)


def learn(
    frame: pd.DataFrame, labels: Labels, dtypes: dict[str, str], *, cross_fit: bool, tick: Tick = lambda _: None
) -> Learned:
    """Fit one model.

    Args:
        frame: `entity_id` and the features, one row per label.
        labels: 0 or 1, both present.
        dtypes: `number` or `category` of each feature, in the order of the matrix.
        cross_fit: whether out-of-fold scores of every row are wanted; they cost five models.
        tick: called with 1 for every model that is fitted.
    """
    features = tuple(describe(frame[name], dtype) for name, dtype in dtypes.items())
    matrix = encode(frame, features)
    fold = folds(frame["entity_id"])
    parameters = defaults(len(matrix), len(features), _rarer(frame["entity_id"], labels))
    data = _dataset(matrix, labels, features, parameters)
    parts = [fold == number for number in range(models(len(frame), cross_fit) - 1)]
    rounds, out_of_fold = _cross_validate(data, matrix, parameters, [part for part in parts if part.any()], tick)
    booster = lightgbm.train(parameters, data, rounds)
    tick(1)
    return Learned(booster.model_to_string(), features, {**parameters, "rounds": rounds}, out_of_fold)


def defaults(rows: int, features: int, rarer: int) -> dict[str, Any]:
    """LightGBM's parameters for so many rows and features, when the rarer class has so many entities.

    Chosen once and for all data: the best in the mean over subsamples, of 100 to 3,000 positives, of eight data sets.
    """
    leaves = 3 if rarer < 500 else 6 if rarer < 2_000 else 10 if rarer < 10_000 else 24 if rarer < 100_000 else 63
    small = {"extra_trees": True, "lambda_l2": 3.0, "max_cat_to_onehot": 100} if rarer < 500 else {}
    return {
        "objective": "binary",
        "learning_rate": 0.05 if rows < 1_000_000 else 0.1,
        "num_leaves": leaves,
        "max_depth": 6,
        "min_data_in_leaf": int(np.clip(rows // 200, 20, 200)),
        "lambda_l2": 10.0,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "cat_smooth": 20.0,
        "cat_l2": 20.0,
        "max_cat_threshold": 16,
        "max_bin": 127,
        "seed": SEED,
        "deterministic": True,
        "force_col_wise": True,
        "num_threads": 1 if rows * features < ONE_THREAD_BELOW else 0,
        "verbosity": -1,
        **small,
    }


def _rarer(entities: pd.Series, labels: Labels) -> int:
    """How many entities the rarer class has: the rows of one entity at neighbouring dates say nearly the same."""
    return int(min(entities[labels == value].nunique() for value in (0, 1)))


def describe(series: pd.Series, dtype: str) -> Column:
    """The contract of one feature, from the values the model is fitted on."""
    missing = float(series.isna().mean())
    if dtype == "category":
        counts = series.dropna().astype(str).value_counts()
        kept = sorted(counts[counts >= LEAST_ROWS_PER_CATEGORY].items(), key=lambda pair: (-pair[1], pair[0]))
        categories = tuple(str(value) for value, _ in kept[:MOST_CATEGORIES])
        return Column(
            name=str(series.name),
            dtype="category",
            categories=categories,
            typical=Typical(missing=missing, commonest=categories[0] if categories else None),
        )
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    values = values[~np.isnan(values)]
    if not len(values):
        return Column(name=str(series.name), dtype="number", typical=Typical(missing=missing))
    p10, p25, median, p75, p90 = (float(value) for value in np.quantile(values, [0.10, 0.25, 0.50, 0.75, 0.90]))
    typical = Typical(missing=missing, p10=p10, p25=p25, median=median, p75=p75, p90=p90)
    return Column(name=str(series.name), dtype="number", typical=typical)


def _cross_validate(
    data: lightgbm.Dataset, matrix: Floats, parameters: dict[str, Any], parts: Sequence[Mask], tick: Tick
) -> tuple[int, Floats]:
    """The number of rounds with the least log loss, and each row's raw score at that number by the model that did not see it.

    Several folds are fitted side by side, one thread each: threads inside one model wait for each other more than they work.
    """
    alone = parameters if len(parts) == 1 else {**parameters, "num_threads": 1}
    halves = [(data.subset(np.flatnonzero(~part).tolist()), data.subset(np.flatnonzero(part).tolist())) for part in parts]
    for half in (half for pair in halves for half in pair):
        half.construct()

    def fit(pair: tuple[lightgbm.Dataset, lightgbm.Dataset]) -> lightgbm.Booster:
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        booster = lightgbm.train(alone, pair[0], MOST_ROUNDS, valid_sets=[pair[1]], callbacks=[stop], keep_training_booster=True)
        tick(1)
        return booster

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        boosters = list(pool.map(fit, halves))
    rounds = max(1, round(float(np.mean([booster.best_iteration for booster in boosters]))))
    out_of_fold = np.full(len(matrix), np.nan)
    for part, booster in zip(parts, boosters, strict=True):
        out_of_fold[part] = booster.predict(matrix[part], raw_score=True, num_iteration=rounds)
    return rounds, out_of_fold


def _dataset(matrix: Floats, labels: Labels, features: Sequence[Column], parameters: dict[str, Any]) -> lightgbm.Dataset:
    categorical = [column.name for column in features if column.dtype == "category"]
    names = [column.name for column in features]
    data = lightgbm.Dataset(
        matrix, labels, feature_name=names, categorical_feature=categorical, params=parameters, free_raw_data=False
    )
    return data.construct()
