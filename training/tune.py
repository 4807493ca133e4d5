"""Tuning: a search over LightGBM's parameters by folds inside the rows that the first origin of the backtest is fitted on.

No test period of the backtest is looked at, so the tuned candidate competes on equal terms; where there is no earlier origin, it
has seen the rows of the choice, and the report says so. The first trial is the defaults. A study is kept in a file of the
workspace under the digest of its rows: one that was stopped or killed goes on where it was, with the trials it would have made
anyway, and one that is done costs nothing.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.console import Tick
from features.propensity import Tuning
from training.boosting import SEED, cross_validate, dataset, defaults
from training.examples import Examples

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

SPACE = 1  # the version of the search space; another one begins another study
ALL_FOLDS_BELOW = 60_000  # rows; from here on one fold in five judges a trial as well as five do
MOST_TRIALS = 10_000  # where only minutes are given


@dataclass(frozen=True)
class Attempt:
    """One trial: its number, parameters, log loss out of fold (None where it was pruned) and when it was made."""

    number: int
    parameters: dict[str, Any]
    loss: float | None
    started: datetime
    ended: datetime


@dataclass(frozen=True)
class Tuned:
    """The best parameters, and every attempt."""

    parameters: dict[str, Any]
    attempts: tuple[Attempt, ...]


def tune(folder: Path, name: str, examples: Examples, budget: Tuning, tick: Tick = lambda _: None) -> Tuned:
    """Search until so many trials are there, or the minutes are over.

    Args:
        folder: where studies are kept.
        name: of the propensity.
        examples: the rows; what they are tested on must not be among them.
        budget: trials in all, earlier ones of the same study counted, and minutes of this call; 0 is no bound.
        tick: called with 1 for every trial.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's remarks on what is experimental are not for our users
        study = _study(folder, name, examples)
        until = time.monotonic() + 60 * budget.minutes if budget.minutes else float("inf")
        wanted = budget.trials or MOST_TRIALS
        tick(min(_made(study), wanted))
        while _made(study) < wanted and (time.monotonic() < until or not _made(study)):
            _attempt(study, examples)
            tick(1)
    return Tuned(dict(study.best_trial.params), tuple(_told(number, trial) for number, trial in enumerate(_judged(study))))


def _study(folder: Path, name: str, examples: Examples) -> Study:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(examples.matrix.tobytes() + examples.labels.tobytes() + examples.fold.tobytes()).hexdigest()[:16]
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / f"{name}.journal")))
    pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)
    return optuna.create_study(study_name=f"{name} {digest} {SPACE}", storage=storage, pruner=pruner, load_if_exists=True)


def _made(study: Study) -> int:
    return len(_judged(study))


def _judged(study: Study) -> list[FrozenTrial]:
    """The trials that came to an end; one that was interrupted or killed is made again."""
    return [trial for trial in study.trials if trial.state.name in ("COMPLETE", "PRUNED")]


def _attempt(study: Study, examples: Examples) -> None:
    """One trial. Its sampler is seeded by its number, so that an interrupted study makes the trials it would have made."""
    import optuna

    number = _made(study)
    study.sampler = optuna.samplers.TPESampler(seed=SEED + number, n_startup_trials=10)
    for waiting in study.get_trials(states=(optuna.trial.TrialState.WAITING, optuna.trial.TrialState.RUNNING)):
        study.tell(waiting.number, state=optuna.trial.TrialState.FAIL)  # of a search that was killed
    if number == 0:
        base = {"extra_trees": False, **_base(examples)}
        study.enqueue_trial({name: base[name] for name in _NAMES})
    study.optimize(lambda trial: _loss(trial, examples), n_trials=1)


def _loss(trial: Trial, examples: Examples) -> float:
    """The mean log loss over folds, each stopped at its best round; given up after a fold that is worse than most trials'."""
    import optuna

    parameters = {**_base(examples), **_suggested(trial, examples), "num_threads": 0}
    data = dataset(examples, parameters)
    parts = examples.parts if examples.rows < ALL_FOLDS_BELOW else examples.parts[:1]
    losses: list[float] = []
    for step, part in enumerate(parts):
        [booster] = cross_validate(data, parameters, [part])
        losses.append(float(booster.best_score["valid_0"]["binary_logloss"]))
        trial.report(float(np.mean(losses)), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return float(np.mean(losses))


def _base(examples: Examples) -> dict[str, Any]:
    return defaults(examples.rows, len(examples.features), examples.rarer)


_NAMES = ("learning_rate", "num_leaves", "max_depth", "min_data_in_leaf", "lambda_l2", "feature_fraction", "bagging_fraction",
          "extra_trees", "cat_smooth")  # fmt: skip


def _suggested(trial: Trial, examples: Examples) -> dict[str, Any]:
    """The search space: more leaves the more entities of the rarer class there are, from 1,000 rows to 10,000,000."""
    most_leaves = int(np.clip(examples.rarer // 20, 15, 511))
    most_in_leaf = int(np.clip(examples.rows // 20, 50, 5_000))
    large = examples.rows >= 1_000_000
    return {
        "learning_rate": trial.suggest_float("learning_rate", 0.03 if large else 0.01, 0.3 if large else 0.15, log=True),
        "num_leaves": trial.suggest_int("num_leaves", 2, most_leaves, log=True),
        "max_depth": trial.suggest_int("max_depth", 2, 12),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, most_in_leaf, log=True),
        "lambda_l2": trial.suggest_float("lambda_l2", 0.1, 300.0, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.2, 1.0),
        "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
        "extra_trees": trial.suggest_categorical("extra_trees", [False, True]),
        "cat_smooth": trial.suggest_float("cat_smooth", 1.0, 200.0, log=True),
    }


def _told(number: int, trial: FrozenTrial) -> Attempt:
    begun, done = trial.datetime_start, trial.datetime_complete
    assert begun is not None and done is not None
    loss = trial.value if trial.state.name == "COMPLETE" else None
    return Attempt(number, dict(trial.params), loss, begun, done)
