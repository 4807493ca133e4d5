"""What a training costs beyond its model: `foresell train`, its dataset given, against `lightgbm.train` on the same matrix.

The rows are made up: monthly as_ofs of the same customers, a base rate that drifts around a tenth, a few categories, interactions
that trees see and a line does not. `training.train.train` runs as it is, with three things handed to it: the dataset, tables that
need no check, and of the leakage guard what looks at features (the rest of it looks at tables, which are not there). The bare fit
has the rows, parameters and number of rounds of the LightGBM that was registered, and bins the matrix itself. Ratios are of
seconds and of processor seconds, which other work on the machine disturbs less.

    .venv/bin/python -m benchmarks.training_cost                    1,000,000 rows of 60 features
    .venv/bin/python -m benchmarks.training_cost --rows 20000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import lightgbm
import numpy as np
import pandas as pd

from features.console import messages, progress, silence_telemetry
from features.propensity import Choice, Outcome, Propensity
from features.settings import Settings, Workspace
from training import audit, backtest, dataset, evaluation, registry, report, selection, train
from training.dataset import Dataset, fingerprint
from training.leakage.columns import feature_findings
from training.leakage.origin import Attribute
from training.split import split

AS_OFS = pd.date_range("2024-01-01", periods=12, freq="MS", tz="UTC").as_unit("us")
CATEGORIES = 5
SEED = 7
QUESTION = Propensity(
    name="synthetic", question="Does it happen within 28 days?", entity="customer", horizon=timedelta(days=28),
    outcome=Outcome(table="orders"), choice=Choice(not_separable="best"),
)  # fmt: skip
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("leakage guard, on features", train, "guard"),
    ("backtest", backtest, "run"),
    ("choice", selection, "choose"),
    ("choice", selection, "standings"),
    ("drift", selection, "drift"),
    ("final fit and calibration", selection, "fit"),
    ("figures", evaluation, "evaluate"),
    ("audit", audit, "audit"),
    ("report and plots", report, "record"),
    ("MLflow", registry, "register"),
)


@dataclass(frozen=True)
class Seconds:
    """By the clock, and of the processors."""

    clock: float = 0.0
    cpu: float = 0.0

    @classmethod
    def now(cls) -> Seconds:
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.clock + other.clock, self.cpu + other.cpu)

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(self.clock - other.clock, self.cpu - other.cpu)


@dataclass(frozen=True)
class Cost:
    """What a training and the bare fit took, and what the model is.

    Attributes:
        total: from the dataset to the registered version.
        stages: each part; one inside another is counted with that.
        bare: of `lightgbm.train`, binning included.
        rows: that were fitted on.
        rounds: of boosting.
    """

    total: Seconds
    stages: Mapping[str, Seconds]
    bare: Seconds
    rows: int
    rounds: int


def made_up(rows: int, features: int) -> Dataset:
    """Customers at twelve monthly as_ofs: lasting traits, monthly noise, a few categories, and a rate that drifts."""
    random = np.random.default_rng(SEED)
    customers, numbers = rows // len(AS_OFS), features - CATEGORIES
    traits = random.normal(size=(customers, numbers)).astype(np.float32)
    kinds = random.integers(0, 12, size=(customers, CATEGORIES))
    effect = random.normal(scale=0.4, size=12)
    frames = []
    for month, as_of in enumerate(AS_OFS):
        values = traits + random.normal(scale=0.7, size=traits.shape).astype(np.float32)
        signal = 0.8 * values[:, 0] * values[:, 1] + 0.6 * np.abs(values[:, 2]) + 0.7 * (values[:, 3] > 0.5) * values[:, 4]
        chance = 1 / (1 + np.exp(3.6 - 0.05 * month - signal - 0.3 * values[:, 5] - effect[kinds[:, 0]]))
        keys = {"entity_id": [f"C{number}" for number in range(customers)], "as_of": as_of}
        label = (random.random(customers) < chance).astype(np.int8)
        columns = {f"number_{place}": values[:, place].astype(np.float64) for place in range(numbers)}
        frames.append(pd.DataFrame({**keys, "label": label, **columns, **_texts(kinds)}))
    frame = pd.concat(frames, ignore_index=True)
    dtypes = {name: "category" if name.startswith("kind") else "number" for name in frame.columns[3:]}
    views = {f"view_{start}": tuple(list(dtypes)[start : start + 15]) for start in range(0, features, 15)}
    attributes = {name: Attribute(f"customers.{name}", "made up") for name in dtypes if name.startswith("kind")}
    return Dataset(frame, dtypes, (), attributes, fingerprint(frame), views=views)


def _texts(kinds: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    names = np.array([f"kind {number}" for number in range(kinds.max() + 1)], dtype=object)
    return {f"kind_{place}": names[kinds[:, place]] for place in range(kinds.shape[1])}


def cost(data: Dataset, folder: Path) -> Cost:
    """Train as `foresell train` does, then fit LightGBM alone on the same matrix.

    Args:
        data: the dataset.
        folder: for the workspace.

    Raises:
        SystemExit: the choice is not LightGBM, so that there is nothing to compare with.
    """
    workspace = Workspace(folder, Settings())
    stages: defaultdict[str, Seconds] = defaultdict(Seconds)
    with _given(data), _timed(stages):
        began = Seconds.now()
        trained = train.train(workspace, QUESTION, datetime.now(UTC), progress)
        total = Seconds.now() - began
    if trained.candidate != "lightgbm":
        raise SystemExit(f"{trained.candidate} was chosen: the bare fit of LightGBM says nothing about it")
    parameters = dict(registry.load(workspace, QUESTION.name, trained.version).model.contract.parameters)
    fitted = data.examples(split(data.frame, data.labels, QUESTION.horizon).fit)
    rounds = int(parameters.pop("rounds"))
    began = Seconds.now()
    lightgbm.train(parameters, lightgbm.Dataset(fitted.matrix, fitted.labels, categorical_feature=_places(data)), rounds)
    return Cost(total, stages, Seconds.now() - began, fitted.rows, rounds)


def _places(data: Dataset) -> list[int]:
    return [place for place, dtype in enumerate(data.dtypes.values()) if dtype == "category"]


@contextmanager
def _given(data: Dataset) -> Iterator[None]:
    """Let a training begin with this dataset, and have no tables."""

    def on_features(workspace: Workspace, propensity: Propensity, given: Dataset) -> tuple[Any, ...]:
        return tuple(feature_findings(given.frame, given.labels, list(given.dtypes), given.attributes))

    with ExitStack() as stack:
        stack.enter_context(patch.object(dataset, "prepare", lambda *_, **__: data))
        stack.enter_context(patch.object(train.quality, "require", lambda *_: None))
        stack.enter_context(patch.object(train, "guard", on_features))
        yield


@contextmanager
def _timed(seconds: defaultdict[str, Seconds]) -> Iterator[None]:
    """Add up what every stage takes; one that runs inside another is counted with that."""
    running: list[str] = []

    def watched(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **more: Any) -> Any:
            running.append(stage)
            began = Seconds.now()
            try:
                return work(*args, **more)
            finally:
                running.pop()
                seconds[stage] += Seconds() if running else Seconds.now() - began

        return run

    with ExitStack() as stack:
        for stage, owner, name in STAGES:
            stack.enter_context(patch.object(owner, name, watched(stage, getattr(owner, name))))
        yield


def table(found: Cost, rows: int, features: int) -> str:
    """The stages, the rest, and the ratio, as Markdown."""
    rest = found.total - sum(found.stages.values(), Seconds())
    parts = {**found.stages, "everything else": rest, "**foresell train, its dataset given**": found.total}
    return "\n".join(
        [
            f"{rows:,} rows x {features} features; {found.rows:,} rows fitted, {found.rounds} rounds",
            "",
            "| stage | seconds | bare fits | processor seconds | bare fits |",
            "| --- | --- | --- | --- | --- |",
            *(_line(name, spent, found.bare) for name, spent in parts.items()),
            _line("lightgbm.train, the same parameters and rounds", found.bare, found.bare),
        ]
    )


def _line(name: str, spent: Seconds, bare: Seconds) -> str:
    clock, cpu = spent.clock / bare.clock, spent.cpu / bare.cpu
    return f"| {name} | {spent.clock:.1f} | {clock:.2f} | {spent.cpu:.1f} | {cpu:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=60)
    asked = parser.parse_args()
    silence_telemetry()
    with messages().status("making rows up"):
        data = made_up(asked.rows, asked.features)
    messages().print(f"{len(data.frame):,} rows, {data.labels.mean():.1%} positive")
    with tempfile.TemporaryDirectory(prefix="foresell-training-") as folder:
        print(table(cost(data, Path(folder)), len(data.frame), asked.features))


if __name__ == "__main__":
    main()
