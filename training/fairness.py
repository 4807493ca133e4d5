"""How a model treats the groups of a protected attribute: who is selected, who is found, whether the probabilities are right.

No figure here is a verdict. Groups whose outcome happens at different rates cannot be selected, found and predicted alike all at
once (Kleinberg, Mullainathan and Raghavan 2016); which of the three matters is for people to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.evaluation import Figure, bootstrap, interval
from training.slices import LEAST_OF_EACH, LEAST_ROWS, groups, values

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
SELECTED = 0.1  # the best tenth of all rows
REPLICATES = 200
BINS = 10  # of a numeric feature, when it is held against a protected attribute
LEAST_PROXY = 0.1
MOST_PROXIES = 5


@dataclass(frozen=True)
class Group:
    """The rows of one value of a protected attribute.

    Attributes:
        attribute, value: which rows.
        rows, positives: counted.
        selected: the share that is in the best tenth of all rows.
        found: the share of the group's positives that is in it; None where they are too few to tell.
        predicted: the mean probability.
        happened: the share of positives.
    """

    attribute: str
    value: str
    rows: int
    positives: int
    selected: Figure
    found: Figure | None
    predicted: float
    happened: Figure


@dataclass(frozen=True)
class Proxy:
    """A feature that tells a protected attribute, by Cramér's V: 0 tells nothing, 1 tells it for certain."""

    attribute: str
    feature: str
    strength: float


def fairness(probability: Floats, labels: Labels, entities: pd.Series, protected: pd.DataFrame, seed: int) -> tuple[Group, ...]:
    """Every group that is large enough to judge; the rest of an attribute's values are one group, `other`, if they are enough.

    Rows of one probability are selected in equal shares, for no order among them is the model's.

    Args:
        probability: calibrated, one per row.
        labels: 0 or 1.
        entities: the unit that the bootstrap draws.
        protected: a column for each protected attribute.
        seed: of the bootstrap.
    """
    rank = pd.Series(-probability).rank(method="first").to_numpy()
    best = pd.Series(rank <= SELECTED * len(rank)).groupby(probability).transform("mean").to_numpy(np.float64)
    made = []
    for name in protected:
        grouped = groups(protected[name], labels)
        for value in values(grouped, protected[name]):
            mine = (grouped == value).to_numpy()
            if mine.sum() >= LEAST_ROWS:
                made.append(_group(str(name), value, mine, probability, labels, best, entities, seed))
    return tuple(made)


def proxies(frame: pd.DataFrame, features: Sequence[str], protected: pd.DataFrame, labels: Labels) -> tuple[Proxy, ...]:
    """For each protected attribute the features that tell most about it, strongest first, if they tell anything worth saying."""
    found = []
    binned = {feature: _binned(frame[feature]) for feature in features} if len(protected.columns) else {}
    for name in protected:
        target = pd.Series(pd.factorize(groups(protected[name], labels))[0])
        told = [Proxy(str(name), feature, cramers_v(bins, target)) for feature, bins in binned.items() if feature != name]
        strong = [proxy for proxy in told if proxy.strength >= LEAST_PROXY]
        found += sorted(strong, key=lambda proxy: -proxy.strength)[:MOST_PROXIES]
    return tuple(found)


def cramers_v(one: pd.Series, other: pd.Series) -> float:
    """The association of two categories, 0 to 1, corrected for what chance alone shows (Bergsma 2013)."""
    (first, left), (second, right) = pd.factorize(one), pd.factorize(other)
    rows, columns = len(left), len(right)
    table = np.bincount(first * columns + second, minlength=rows * columns).reshape(rows, columns).astype(np.float64)
    n = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    chance = (rows - 1) * (columns - 1) / (n - 1)
    phi = max(float(((table - expected) ** 2 / expected).sum()) / n - chance, 0.0)
    least = min(rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)) - 1
    return float(min(np.sqrt(phi / least), 1.0)) if least > 0 else 0.0


def _group(
    name: str,
    value: str,
    mine: NDArray[np.bool_],
    probability: Floats,
    labels: Labels,
    best: Floats,
    entities: pd.Series,
    seed: int,
) -> Group:
    happened, selected = labels[mine].astype(np.float64), best[mine]

    def shares(weights: Floats) -> dict[str, float]:
        found = float((weights * happened) @ selected)
        return {
            "selected": _share(float(weights @ selected), float(weights.sum())),
            "found": _share(found, float(weights @ happened)),
            "happened": _share(float(weights @ happened), float(weights.sum())),
        }

    codes, names = pd.factorize(entities[mine])
    point = shares(np.ones(len(happened)))
    drawn = bootstrap(codes, len(names), shares, seed, REPLICATES)
    rows, positives, predicted = len(happened), int(happened.sum()), float(probability[mine].mean())
    selected_share, happened_share = (_figure(point[key], drawn[key]) for key in ("selected", "happened"))
    found = _figure(point["found"], drawn["found"]) if positives >= LEAST_OF_EACH else None
    return Group(name, value, rows, positives, selected_share, found, predicted, happened_share)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")


def _figure(value: float, replicates: Floats) -> Figure:
    low, high = interval(value, replicates)
    return Figure(value, max(low, 0.0), min(high, 1.0))


def _binned(column: pd.Series) -> pd.Series:
    """Categories as they are, numbers in tenths, missing a bin of its own."""
    if not pd.api.types.is_numeric_dtype(column.dtype):
        return column.astype(object).where(column.notna(), "missing")
    if column.nunique() <= BINS:
        return column.fillna(np.inf)
    return pd.qcut(column, BINS, labels=False, duplicates="drop").fillna(-1)
