"""LightGBM with defaults by size, and its number of rounds by cross-validation that keeps an entity's rows together.

Nothing here is tuned to a data set. Small data get shallow trees, slow learning and strong regularisation; large data get more
leaves. Classes are never weighted and rows never resampled: probabilities are wanted. Equal rows give an equal model, on any
number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any

import lightgbm
import numpy as np

from training.contract import Floats
from training.examples import Examples, Learned
from training.split import Mask
from training.trees import Trees

SEED = 20180515
MOST_ROUNDS = 1_500
PATIENCE = 40
ONE_THREAD_BELOW = 20_000_000  # values in the matrix; on less, threads wait for each other more than they work
ONE_FOLD_FROM = 60_000  # rows; from here on one fold in five tells the number of rounds as well as five do
NO_REFIT_FROM = 200_000  # rows; from here on four folds in five teach as much as all of them


def learn(examples: Examples, cross_fit: bool, settled: Mapping[str, Any] = MappingProxyType({})) -> Learned:
    """Fit one model.

    Args:
        examples: the rows.
        cross_fit: whether out-of-fold scores of every row are wanted; they cost five models.
        settled: parameters that go over the defaults, such as tuned ones; with `rounds` among them, their number is not searched.
    """
    parameters = {**defaults(examples.rows, len(examples.features), examples.rarer), **settled}
    rounds = int(parameters.pop("rounds", 0))
    data = dataset(examples, parameters)
    parts = examples.parts if cross_fit or examples.rows < ONE_FOLD_FROM else examples.parts[:1]
    boosters = cross_validate(data, parameters, parts) if cross_fit or not rounds else []
    rounds = rounds or max(1, round(float(np.mean([booster.best_iteration for booster in boosters]))))
    out_of_fold = np.full(examples.rows, np.nan)
    for part, booster in zip(parts, boosters, strict=bool(boosters)):
        out_of_fold[part] = booster.predict(examples.matrix[part], raw_score=True, num_iteration=rounds)
    booster = boosters[0] if examples.rows >= NO_REFIT_FROM and len(boosters) == 1 else lightgbm.train(parameters, data, rounds)
    return Learned(Trees(booster.model_to_string()), examples.features, {**parameters, "rounds": rounds}, out_of_fold)


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


def cross_validate(data: lightgbm.Dataset, parameters: Mapping[str, Any], parts: Sequence[Mask]) -> list[lightgbm.Booster]:
    """One booster for each part, fitted on the rows outside of it and stopped where its log loss inside is least.

    Several are fitted side by side, one thread each: threads inside one model wait for each other more than they work.
    """
    alone = dict(parameters) if len(parts) == 1 else {**parameters, "num_threads": 1}
    halves = [(data.subset(np.flatnonzero(~part).tolist()), data.subset(np.flatnonzero(part).tolist())) for part in parts]
    for half in (half for pair in halves for half in pair):
        half.construct()

    def fit(pair: tuple[lightgbm.Dataset, lightgbm.Dataset]) -> lightgbm.Booster:
        stop = lightgbm.early_stopping(PATIENCE, verbose=False)
        return lightgbm.train(alone, pair[0], MOST_ROUNDS, valid_sets=[pair[1]], callbacks=[stop], keep_training_booster=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(fit, halves))


def dataset(examples: Examples, parameters: Mapping[str, Any]) -> lightgbm.Dataset:
    """The rows as LightGBM wants them, binned."""
    categorical = [column.name for column in examples.features if column.dtype == "category"]
    names = [column.name for column in examples.features]
    matrix: Floats = examples.matrix
    data = lightgbm.Dataset(
        matrix, examples.labels, feature_name=names, categorical_feature=categorical, params=dict(parameters), free_raw_data=False
    )
    return data.construct()
