"""The contenders: each is given the same rows and says how probable the outcome is of each test row."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd

from benchmarks.questions import Question
from features.console import Watch
from training.contract import Floats
from training.selection import select
from training.split import FOLDS, Mask, Split, folds

ROUNDS = 100
# torch: AutoGluon calibrates with it, and silently does not where it is missing
PACKAGES = ("flaml[automl]==2.7.0", "autogluon.tabular[lightgbm]==1.6.3", "torch==2.13.0", "pyarrow")
PEERS = {"flaml": "FLAML", "autogluon": "AutoGluon", "autogluon-best": "AutoGluon, best quality"}


@dataclass(frozen=True)
class Said:
    """What a contender said of each test row, and how long it took to be able to; None where that was not measured alone."""

    probability: Floats
    seconds: float | None


@dataclass(frozen=True)
class Foresell:
    """Foresell's choice, as `foresell train` makes it, and what each of its candidates would have said.

    Attributes:
        name: of the candidate that was taken.
        sentences: why, what has drifted, and whether the base rate is corrected for.
        chosen: backtest, choice, a look at drift, fit and calibration.
        candidates: each calibrated; their seconds are counted with the choice.
    """

    name: str
    sentences: tuple[str, ...]
    chosen: Said
    candidates: dict[str, Said]


@dataclass(frozen=True)
class Task:
    """Rows to fit on, with a column `label`, and the features of rows to speak about: those where `tested`."""

    train: pd.DataFrame
    test: pd.DataFrame
    tested: Mask


def foresell(question: Question, folder: Path, watch: Watch) -> tuple[Foresell, Split]:
    """What `foresell train` does between the dataset and the report, and how it divided the rows.

    Args:
        question: with its dataset.
        folder: for what the selection keeps.
        watch: opens a progress bar.
    """
    began = time.perf_counter()
    selection = select(question.data, question.propensity, folder, watch)
    seconds = time.perf_counter() - began
    moved = selection.drift.sentence if selection.drift else ""
    corrected = selection.shift.sentence if selection.shift else ""
    sentences = tuple(sentence for sentence in (*selection.choice.sentences, moved, corrected) if sentence)
    candidates = {name: Said(probability, None) for name, probability in selection.backtest.newest.probability.items()}
    return Foresell(selection.choice.name, sentences, Said(selection.fitted.probability, seconds), candidates), selection.split


def tasks(question: Question, divided: Split, with_calibration: bool = False) -> list[Task]:
    """What everybody but Foresell is given: the rows it fitted on, and the test rows without their labels.

    Args:
        question: with its dataset.
        divided: as Foresell divides it; by entity, five tasks that leave out one fold each.
        with_calibration: give them the rows that Foresell calibrated on, too.
    """
    frame, names = question.data.frame, list(question.data.dtypes)
    if divided.by == "entity":
        fold = folds(frame["entity_id"])
        pairs = [(fold != number, fold == number) for number in range(FOLDS)]
    else:
        pairs = [(divided.fit | divided.calibration if with_calibration else divided.fit, divided.test)]
    return [Task(frame.loc[given, [*names, "label"]], frame.loc[tested, names], tested) for given, tested in pairs]


def run(given: Sequence[Task], predict: Callable[[Task], Floats]) -> Said:
    """One contender of this process on every task."""
    began = time.perf_counter()
    said = [predict(task) for task in given]
    return Said(_joined(given, said), time.perf_counter() - began)


def plain_lightgbm(task: Task) -> Floats:
    """`lightgbm.train` with the library's defaults."""
    train, test = _categories(task)
    data = lightgbm.Dataset(train.drop(columns="label"), train["label"], categorical_feature=_texts(task))
    booster = lightgbm.train({"objective": "binary", "verbosity": -1}, data, ROUNDS)
    return np.asarray(booster.predict(test), dtype=np.float64)


def plain_logistic(task: Task) -> Floats:
    """scikit-learn's logistic regression with its defaults: categories one-hot, numbers imputed with the median, standardised."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    texts = _texts(task)
    numbers = [name for name in task.test if name not in texts]
    prepared = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), texts),
    )
    model = make_pipeline(prepared, LogisticRegression(max_iter=2_000))
    model.fit(task.train.drop(columns="label"), task.train["label"])
    return np.asarray(model.predict_proba(task.test)[:, 1], dtype=np.float64)


class Peers:
    """FLAML and AutoGluon in an environment of their own."""

    def __init__(self, folder: Path, budget: float, asked: Sequence[str] = tuple(PEERS)) -> None:
        """Make the environment, unless it is there.

        Args:
            folder: of the environment.
            budget: seconds of each fit.
            asked: which peers; all.

        Raises:
            CalledProcessError: something cannot be installed; its standard error says what.
        """
        self.budget = budget
        self.asked = {peer: PEERS[peer] for peer in asked}
        self.python = folder / "bin" / "python"
        ready = folder / ".ready"
        if not ready.exists():
            uv = str(Path(sys.executable).with_name("uv"))
            _call([uv, "venv", "--quiet", "--allow-existing", str(folder)])
            _call([uv, "pip", "install", "--quiet", "--system-certs", "--python", str(self.python), *PACKAGES])
            ready.touch()

    def run(self, peer: str, given: Sequence[Task]) -> Said:
        """One peer on every task, each with the whole budget.

        Raises:
            CalledProcessError: the peer failed; its standard error says how.
        """
        with tempfile.TemporaryDirectory(prefix="foresell-peer-") as name:
            folder = Path(name)
            for number, task in enumerate(given):
                task.train.to_parquet(folder / f"train_{number}.parquet", index=False)
                task.test.to_parquet(folder / f"test_{number}.parquet", index=False)
            script = Path(__file__).with_name("quality_peers.py")
            _call([str(self.python), "-P", str(script), peer, name, str(self.budget)])
            said = [
                pd.read_parquet(folder / f"said_{number}.parquet")["probability"].to_numpy(np.float64)
                for number in range(len(given))
            ]
            return Said(_joined(given, said), float(json.loads((folder / "seconds.json").read_text())))


def _call(command: list[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)


def _joined(given: Sequence[Task], said: Sequence[Floats]) -> Floats:
    """What was said of each tested row, in the order of the dataset."""
    every = np.full(len(given[0].tested), np.nan)
    for task, probability in zip(given, said, strict=True):
        every[task.tested] = probability
    return every[np.any([task.tested for task in given], axis=0)]


def _texts(task: Task) -> list[str]:
    return [name for name in task.test if not pd.api.types.is_numeric_dtype(task.test[name])]


def _categories(task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts as categories: those of the training rows; another value is missing."""
    train, test = task.train.copy(), task.test.copy()
    for name in _texts(task):
        train[name] = train[name].astype("category")
        test[name] = pd.Categorical(test[name], categories=train[name].cat.categories)
    return train, test
