"""What exact reasons cost: Foresell's tables against LightGBM's `pred_contrib`, and Woodelf where it is installed.

The rows are made up: 60 features, of them five categories, a tenth of the values missing; 500 trees of 31 leaves, six deep. All
run in one process, one after the other and several times; the best time counts, so that other work disturbs little.
`pred_contrib` is given fewer rows in the batch, for a row costs it the same among any number. Differences are in log-odds.

    .venv/bin/python -m benchmarks.treeshap
    .venv/bin/python -m benchmarks.treeshap --numbers    codes are split as numbers are: Woodelf refuses categories
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any
from unittest.mock import patch

import lightgbm
import numpy as np
import pandas as pd

from features.console import messages
from training import treeshap
from training.contract import Floats
from training.kernels import kernels
from training.treeshap import TreeShap

FEATURES, CATEGORIES, CODES = 60, 5, 12
SEED = 7
FITTED_ROWS = 30_000
SLOW_ROWS = 300  # for `pred_contrib`; a row costs it the same among many
TIMES, TIMES_OF_ONE = 3, 300
PARAMETERS = {
    "objective": "binary", "num_leaves": 31, "max_depth": 6, "learning_rate": 0.05, "seed": SEED, "num_threads": 1,
    "verbosity": -1,
}  # fmt: skip


def made_up(rows: int, seed: int) -> Floats:
    """Normal numbers, five columns of codes, a tenth of everything missing."""
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(rows, FEATURES))
    matrix[:, -CATEGORIES:] = random.integers(0, CODES, (rows, CATEGORIES))
    matrix[random.random(matrix.shape) < 0.1] = np.nan
    return matrix


def fitted(rows: int, rounds: int, numbers: bool) -> lightgbm.Booster:
    """A model of interactions, lines and categories, or of numbers alone."""
    matrix, random = made_up(rows, SEED), np.random.default_rng(SEED)
    x = np.nan_to_num(matrix)
    log_odds = 0.8 * x[:, 0] * x[:, 1] + 0.6 * np.abs(x[:, 2]) + x[:, 5:30] @ random.normal(scale=0.2, size=25) + x[:, -1] % 3 - 2
    labels = (random.logistic(size=rows) < log_odds).astype(int)
    codes = [] if numbers else list(range(FEATURES - CATEGORIES, FEATURES))
    return lightgbm.train(PARAMETERS, lightgbm.Dataset(matrix, labels, categorical_feature=codes), rounds)


def best(work: Callable[[], Any], times: int) -> float:
    """The least of several times, in seconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return min(taken)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    with patch.object(treeshap, "processors", lambda: number):
        yield


def table(booster: lightgbm.Booster, rows: int) -> str:
    """Rows a second and milliseconds a row, as Markdown."""
    text, matrix = booster.model_to_string(), made_up(rows, SEED + 1)
    compiled = best(kernels, 1)
    ours = treeshap.treeshap(text)
    if ours is None:
        raise SystemExit("there are no tables, for the reason above: nothing to compare")
    loading = best(lambda: treeshap.treeshap(text), TIMES)
    few = matrix[:SLOW_ROWS]
    expected = booster.predict(few, pred_contrib=True)
    lines = [*_of_lightgbm(booster, few), *_of_tables(ours, matrix), *_of_woodelf(booster, matrix)]
    difference = np.abs(ours(few).contributions - expected).max()
    per_row = {name: seconds for name, seconds, _ in lines}
    return "\n".join(
        [
            f"{rows:,} rows x {FEATURES} features, {booster.num_trees()} trees; tables made in {loading:.2f} s; numba "
            f"imported and loops ready in {compiled:.2f} s; largest difference {difference:.0e}",
            "",
            "| | rows a second | ms a row | times `pred_contrib` |",
            "| --- | --- | --- | --- |",
            *(f"| {name} | {1 / s:,.0f} | {s * 1_000:.3f} | {per_row[base] / s:.1f} |" for name, s, base in lines),
        ]
    )


Line = tuple[str, float, str]  # name, seconds a row, what it is compared with


def _count(threads: int) -> str:
    return "one thread" if threads == 1 else f"{threads} threads"


def _of_lightgbm(booster: lightgbm.Booster, few: Floats) -> Iterator[Line]:
    for threads in (1, 2):
        name = f"`pred_contrib`, batch, {_count(threads)}"
        work = lambda threads=threads: booster.predict(few, pred_contrib=True, num_threads=threads)  # noqa: E731
        yield name, best(work, TIMES) / len(few), name
    name = "`pred_contrib`, one row"
    yield name, best(lambda: booster.predict(few[:1], pred_contrib=True, num_threads=1), TIMES_OF_ONE), name


def _of_tables(ours: TreeShap, matrix: Floats) -> Iterator[Line]:
    for threads in (1, 2):
        with _threads(threads):
            seconds = best(lambda: ours(matrix), TIMES) / len(matrix)
        yield f"tables, batch, {_count(threads)}", seconds, f"`pred_contrib`, batch, {_count(threads)}"
    singles = iter(np.resize(np.arange(len(matrix)), TIMES_OF_ONE).tolist())

    def one() -> None:
        place = next(singles)
        ours(matrix[place : place + 1])

    yield "tables, one row, another each time", best(one, TIMES_OF_ONE), "`pred_contrib`, one row"


def _of_woodelf(booster: lightgbm.Booster, matrix: Floats) -> Iterator[Line]:
    """Nothing where it is not installed, or refuses the model because of its categories."""
    if find_spec("woodelf") is None:
        return
    from woodelf import WoodelfExplainer

    frame = pd.DataFrame(matrix, columns=booster.feature_name())
    with suppress(ValueError):
        explainer = WoodelfExplainer(booster)
        yield "Woodelf, batch", best(lambda: explainer.shap_values(frame), 1) / len(frame), f"`pred_contrib`, batch, {_count(1)}"
        yield "Woodelf, one row", best(lambda: explainer.shap_values(frame[:1]), TIMES), "`pred_contrib`, one row"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.treeshap", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--numbers", action="store_true", help="no categories")
    asked = parser.parse_args()
    with messages().status("fitting"):
        booster = fitted(FITTED_ROWS, asked.rounds, asked.numbers)
    print(table(booster, asked.rows))


if __name__ == "__main__":
    main()
