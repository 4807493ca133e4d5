"""What a feature is measured by beside the outcome: how often it is filled for either, and how well it ranks alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.leakage.rows import Labels
from training.split import FOLDS

BINS = 20  # a number with no more values than this may be a code, whose order says nothing; one with more is cut into so many
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Shares:
    """How often something holds.

    Attributes:
        positives, negatives: the share of the rows with the outcome for which it holds, and of the others.
        count: for how many rows it holds.
        precision: the share of the entities for which it holds that have the outcome there; NaN where it holds for none.
        z: the difference of the shares in its standard errors if there were none (two proportions, pooled).
    """

    positives: float
    negatives: float
    count: int
    precision: float
    z: float

    @property
    def gap(self) -> float:
        return abs(self.positives - self.negatives)

    @property
    def ratio(self) -> float:
        """How many times as often it holds for one outcome as for the other."""
        lower, higher = sorted((self.positives, self.negatives))
        return higher / lower if lower else float("inf")


@dataclass(frozen=True)
class Alone:
    """How well one feature ranks by itself on the rows that have it; `z` is the distance from chance in standard errors."""

    auc: float
    rows: int
    positives: int
    z: float


def shares(flags: NDArray[np.bool_], labels: Labels, entities: Integers) -> Shares:
    """Count where the flags hold.

    Args:
        flags: whether it holds, by row.
        labels: 0 or 1; there must be a row of either.
        entities: the number of each row's; rows of one resemble each other, so that no more than there are of them count for `z`.
    """
    positives, negatives = flags[labels == 1], flags[labels == 0]
    pooled = float(flags.mean())
    error = float(np.sqrt(pooled * (1 - pooled) * (1 / len(positives) + 1 / len(negatives))))
    gap = float(positives.mean() - negatives.mean())
    z = abs(gap) / error * np.sqrt(_distinct(entities) / len(flags)) if error else 0.0
    holders = _distinct(entities[flags])
    precision = _distinct(entities[flags & (labels == 1)]) / holders if holders else float("nan")
    return Shares(float(positives.mean()), float(negatives.mean()), int(flags.sum()), precision, float(z))


def alone(column: pd.Series, labels: Labels, fold: Integers, entities: Integers) -> Alone | None:
    """The AUC of one feature on the rows that have it; None where those all have one outcome.

    A number is taken as it is, in its better direction. Categories, codes, and the bins of a number are ordered by their rates
    among the entities of the other folds: those tell nothing of a category that only one entity has, so that many categories
    condemn nobody.

    Args:
        column: numbers with NaN, or text with None.
        labels: 0 or 1.
        fold: the fold of each row's entity.
        entities: the number of each row's; no more than there are of them count for `z`.
    """
    filled = column.notna().to_numpy()
    known, own = labels[filled], fold[filled]
    positives = int(known.sum())
    pairs = positives * (len(known) - positives)
    if not pairs:
        return None
    auc = _best(column[filled], known, own)
    error = np.sqrt((len(known) + 1) / (12 * pairs))  # Mann and Whitney's variance under chance
    return Alone(auc, len(known), positives, float((auc - 0.5) / error * np.sqrt(_distinct(entities) / len(column))))


def _distinct(numbers: Integers) -> int:
    return int(np.count_nonzero(np.bincount(numbers)))


def _best(values: pd.Series, labels: Labels, fold: Integers) -> float:
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return _auc_of_groups(pd.factorize(values)[0], labels, fold)
    distinct, codes, counts = np.unique(values.to_numpy(np.float64), return_inverse=True, return_counts=True)
    if len(distinct) <= BINS:
        return _auc_of_groups(codes, labels, fold)
    ordered = _auc(codes, labels)
    bins = (np.cumsum(counts) - 1) * BINS // len(values)
    return max(ordered, 1 - ordered, _auc_of_groups(bins[codes], labels, fold))


def _auc_of_groups(codes: Integers, labels: Labels, fold: Integers) -> float:
    """The AUC of groups ordered by their rates in the other folds; a group that those do not have gets the overall rate."""
    groups = int(codes.max()) + 1
    cell = fold * groups + codes
    rows = np.bincount(cell, minlength=FOLDS * groups).reshape(FOLDS, groups)
    positives = np.bincount(cell, weights=labels, minlength=FOLDS * groups).reshape(FOLDS, groups)
    others = rows.sum(axis=0) - rows
    rates = np.full(others.shape, labels.mean())
    np.divide(positives.sum(axis=0) - positives, others, out=rates, where=others > 0)
    return _auc(np.unique(rates.ravel()[cell], return_inverse=True)[1], labels)


def _auc(codes: Integers, labels: Labels) -> float:
    """The AUC of the codes 0, 1, 2, ... as ranks; ties count half."""
    counts = np.bincount(codes)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    positives = int(labels.sum())
    won = float(ranks[codes[labels == 1]].sum()) - positives * (positives + 1) / 2
    return won / (positives * (len(labels) - positives))
