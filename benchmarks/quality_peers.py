"""Runs one peer inside the peers' own environment: reads tables, fits, writes probabilities. Started by benchmarks.quality.

    DIR/bin/python -P benchmarks/quality_peers.py flaml TASKS 60

The last argument is the seconds that a fit may take. TASKS is a folder with `train_0.parquet` and `test_0.parquet`, and so on,
with a column `label` in the training rows; beside them it writes `said_0.parquet`, with a column `probability`, and
`seconds.json`.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

SEED = 20180515
LIGHTGBM = {"GBM": {}}
Peer = Callable[[pd.DataFrame, pd.DataFrame, float], Any]


def flaml(train: pd.DataFrame, test: pd.DataFrame, budget: float) -> Any:
    """FLAML's search over LightGBM alone."""
    from flaml import AutoML

    searched = AutoML()
    searched.fit(
        train.drop(columns="label"), train["label"], task="classification", metric="log_loss", estimator_list=["lgbm"],
        time_budget=budget, seed=SEED, verbose=0,
    )  # fmt: skip
    return searched.predict_proba(test)[:, 1]


def autogluon(train: pd.DataFrame, test: pd.DataFrame, budget: float) -> Any:
    """AutoGluon's default: one LightGBM, its rounds by a slice held out."""
    return _autogluon(train, test, budget, {})


def autogluon_best(train: pd.DataFrame, test: pd.DataFrame, budget: float) -> Any:
    """AutoGluon at its best: LightGBM bagged over folds, stacked and calibrated, for as long as the budget lasts.

    Without its trial run for stacking, which leaves the budget of a small task too short to fit anything.
    """
    return _autogluon(train, test, budget, {"presets": "best_quality", "dynamic_stacking": False})


def _autogluon(train: pd.DataFrame, test: pd.DataFrame, budget: float, more: dict[str, Any]) -> Any:
    from autogluon.tabular import TabularPredictor

    with tempfile.TemporaryDirectory() as folder:
        predictor = TabularPredictor("label", problem_type="binary", eval_metric="log_loss", path=folder, verbosity=0)
        predictor.fit(train, hyperparameters=LIGHTGBM, time_limit=budget, **more)
        return predictor.predict_proba(test)[1].to_numpy()


PEERS: dict[str, tuple[str, Peer]] = {
    "flaml": ("flaml", flaml),
    "autogluon": ("autogluon.tabular", autogluon),
    "autogluon-best": ("autogluon.tabular", autogluon_best),
}


def main() -> None:
    (library, peer), folder, budget = PEERS[sys.argv[1]], Path(sys.argv[2]), float(sys.argv[3])
    importlib.import_module(library)  # not counted
    trains = sorted(folder.glob("train_*.parquet"))
    seconds = 0.0
    for path in trains:
        train, test = pd.read_parquet(path), pd.read_parquet(path.with_name(path.name.replace("train", "test")))
        began = time.perf_counter()
        probability = peer(train, test, budget)
        seconds += time.perf_counter() - began
        said = path.with_name(path.name.replace("train", "said"))
        pd.DataFrame({"probability": probability}).to_parquet(said)
    (folder / "seconds.json").write_text(json.dumps(seconds))


if __name__ == "__main__":
    main()
