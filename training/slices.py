"""How good a model is in parts of its test: one slice per value of an attribute, and whether the model collapses in one.

Inside a slice the AUC is naturally lower than in the whole, where the attribute itself helps to rank, and where there is little
to know the probabilities say so. Hence a slice counts as collapsed when it is worse than the whole beyond chance, with an
allowance for how many slices are looked at, and when hardly anything is left of what its own probabilities promise: less than a
quarter of the promised AUC's distance from chance, or a mean prediction far from what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from training.evaluation import Figure, Ranking, bootstrap, interval

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
LEAST_ROWS, LEAST_OF_EACH = 100, 20  # with fewer, nothing can be told
MOST_VALUES = 12  # of one attribute; the rest are one slice
MOST_DISTINCT = 10  # numbers with more different values are cut into quarters
REPLICATES = 200
STEPS = 5_000  # of more rows, the probabilities are those of so many equally full steps: a tenth of the cost, the same figures
LEFT = 0.25  # of the promised AUC's distance from chance
FACTOR, GAP = 1.5, 0.02  # between mean prediction and what happened; both must be exceeded ...
OF_BASE = 0.5  # ... or, of a rare outcome, this part of how often it happens at all, where that is less than GAP
OTHER, MISSING = "other", "missing"
MOST = (1.0, np.inf, 1.0)  # that an AUC, a lift and a share can reach; the other figures of a part are its gap and its shortfall


@dataclass(frozen=True)
class Slice:
    """The rows of one value of an attribute.

    Attributes:
        attribute, value: which rows.
        rows, positives: counted.
        auc: within the slice.
        lift_at_10pct: positives in the slice's own best tenth against a tenth drawn at random.
        predicted: the mean probability.
        happened: the share of positives.
        why: how the model collapses here, in a sentence; empty where it does not.
    """

    attribute: str
    value: str
    rows: int
    positives: int
    auc: Figure
    lift_at_10pct: Figure
    predicted: float
    happened: Figure
    why: str = ""


@threadpool_limits.wrap(limits=1, user_api="blas")
def slices(probability: Floats, labels: Labels, entities: pd.Series, attributes: pd.DataFrame, seed: int) -> tuple[Slice, ...]:
    """Every value of every attribute with LEAST_ROWS rows and LEAST_OF_EACH of either class; other rows of it count as "other".

    Args:
        probability: calibrated, one per row.
        labels: 0 or 1.
        entities: the unit that the bootstrap draws.
        attributes: a column each; numbers of many values are cut into quarters.
        seed: of the bootstrap.
    """
    masks = _masks(labels, attributes)
    if not masks:
        return ()
    every, stepped = np.ones(len(labels), dtype=bool), _stepped(probability)
    parts = [_Part(stepped, labels, mask) for mask in (every, *masks.values())]
    points, drawn = _drawn(parts, entities, seed)
    strict = NormalDist().inv_cdf(1 - 0.025 / len(masks))
    made = []
    for (attribute, value), part, point, replicates in zip(masks, parts[1:], points[1:], drawn[1:], strict=True):
        auc, lift, happened = (_figure(point[i], replicates[:, i], most) for i, most in enumerate(MOST))
        why = _collapse(points[0], point, drawn[0], replicates, strict)
        rows, positives = len(part.rows), int(part.ranking.labels.sum())
        made.append(Slice(attribute, value, rows, positives, auc, lift, float(point[2] - point[3]), happened, why))
    return tuple(made)


def collapsed(found: Sequence[Slice]) -> tuple[Slice, ...]:
    """The slices in which the model collapses."""
    return tuple(part for part in found if part.why)


def groups(column: pd.Series, labels: Labels) -> pd.Series:
    """A name for the group of each row: a value, a quarter of the numbers, `missing`, or `other` for values too rare to judge."""
    names = named(column)
    counts = names.value_counts()
    judged = [value for value in counts.index[:MOST_VALUES] if enough(labels[(names == value).to_numpy()])]
    return names.where(names.isin(judged), OTHER)


def enough(labels: Labels) -> bool:
    """Whether so many rows can be judged."""
    positives = int(labels.sum())
    return len(labels) >= LEAST_ROWS and min(positives, len(labels) - positives) >= LEAST_OF_EACH


def _masks(labels: Labels, attributes: pd.DataFrame) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """The rows of each slice that can be judged."""
    grouped = {str(name): groups(attributes[name], labels) for name in attributes}
    masks = {
        (name, value): (group == value).to_numpy() for name, group in grouped.items() for value in values(group, attributes[name])
    }
    return {key: mask for key, mask in masks.items() if enough(labels[mask])}


def named(column: pd.Series, parts: int = 4) -> pd.Series:
    """The name of each row's value: a category, a number of few different ones, a part of the numbers, or `missing`."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        distinct = sorted(column.dropna().unique())
        few = len(distinct) <= MOST_DISTINCT
        names = column.map(dict(zip(distinct, _told(distinct), strict=True))) if few else _cut(column, parts)
    else:
        names = column.astype(object)
    return names.where(column.notna(), MISSING).astype(str)


def _cut(column: pd.Series, parts: int) -> pd.Series:
    """Of four parts `up to 12`, `12 to 29`, `29 to 55`, `over 55`; fewer where their edges coincide."""
    edges = sorted(set(column.quantile(np.linspace(0, 1, parts + 1)[1:-1])))
    told = _told(edges)
    names = [f"up to {told[0]}", *(f"{low} to {high}" for low, high in pairwise(told)), f"over {told[-1]}"]
    return pd.Series(np.array(names, dtype=object)[np.searchsorted(edges, column.to_numpy(), side="left")], index=column.index)


def _told(numbers: Sequence[float]) -> list[str]:
    """Different numbers in plain digits: four or more of each, as many as tell them apart."""
    for digits in range(4, 17):
        told = [_rounded(float(number), digits) for number in numbers]
        if len(set(told)) == len(numbers):
            break
    return told


def _rounded(number: float, digits: int) -> str:
    """To so many digits, but every digit before the point."""
    before = int(np.floor(np.log10(abs(number)))) + 1 if number and np.isfinite(number) else 1
    text = f"{number:.{max(digits - before, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def values(group: pd.Series, column: pd.Series) -> list[str]:
    """The groups' names: numbers from low to high, categories from the most rows to the fewest; `missing` and `other` last."""
    numbers = pd.api.types.is_numeric_dtype(column.dtype)
    key = column.groupby(group).median() if numbers else -group.value_counts()
    return sorted(map(str, key.index), key=lambda name: (name == OTHER, name == MISSING, key[name], name))


def _stepped(probability: Floats) -> Floats:
    """The mean of each row's step, where there are more rows than STEPS."""
    if len(probability) <= STEPS:
        return probability
    order, step = np.argsort(probability, kind="stable"), np.arange(len(probability)) * STEPS // len(probability)
    means = np.empty(len(probability))
    means[order] = (np.bincount(step, probability[order]) / np.bincount(step))[step]
    return means


class _Part:
    """Some rows, sorted once; its figures under the weights of all rows."""

    def __init__(self, probability: Floats, labels: Labels, mask: NDArray[np.bool_]) -> None:
        self.ranking = Ranking(probability[mask], labels[mask])
        self.rows = np.flatnonzero(mask)[self.ranking.order]

    def figures(self, weights: Floats) -> Floats:
        """AUC, lift, what happened, that less what was predicted, the promised AUC less the AUC; NaN where no row was drawn."""
        weight = weights[self.rows]
        whole = weight.sum()
        if not whole:
            return np.full(len(MOST) + 2, np.nan)
        happened, predicted = weight @ self.ranking.labels / whole, weight @ self.ranking.probability / whole
        auc, lift, promised = self.ranking.order_figures(weight)
        return np.array([auc, lift, happened, happened - predicted, promised - auc])


def _drawn(parts: Sequence[_Part], entities: pd.Series, seed: int) -> tuple[list[Floats], list[Floats]]:
    """The figures of each part, and those of each draw of entities, the same draws for every part."""
    codes, names = pd.factorize(entities)

    def figures(weights: Floats) -> dict[str, Floats]:
        return {str(number): part.figures(weights) for number, part in enumerate(parts)}

    drawn = bootstrap(codes, len(names), figures, seed, REPLICATES)
    return list(figures(np.ones(len(codes))).values()), list(drawn.values())


def _figure(value: float, replicates: Floats, most: float) -> Figure:
    low, high = interval(float(value), replicates)
    return Figure(float(value), max(low, 0.0), min(high, most))


def _collapse(whole: Floats, part: Floats, whole_drawn: Floats, part_drawn: Floats, strict: float) -> str:
    """In a sentence, or nothing."""
    auc, _, happened, gap, short = part
    worse = np.abs(part - whole) > strict * np.nanstd(part_drawn - whole_drawn, axis=0)
    if worse[4] and short > whole[4] and auc - 0.5 < LEFT * (auc + short - 0.5):
        return f"it hardly ranks here: AUC {auc:.3f}, where its probabilities promise {auc + short:.3f}"
    predicted = happened - gap
    least = max(min(GAP, OF_BASE * whole[2]), abs(whole[3]))
    far = max(predicted, happened) > FACTOR * min(predicted, happened) and abs(gap) > least
    if worse[3] and far:
        return f"it predicts {100 * predicted:.1f} % here, and {100 * happened:.1f} % happened"
    return ""
