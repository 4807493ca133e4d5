"""What a model looks at, and what it makes of each value: importance, what happened by value, and partial dependence.

Source of partial dependence: Friedman (2001), "Greedy function approximation". It asks what the model would say on average if
every row had the same value of one feature and kept all others; where features go together, that includes rows that cannot be.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.evaluation import wilson
from training.model import Model
from training.slices import MISSING, OTHER, named

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
EXPLAINED_ROWS = 5_000  # whose contributions are averaged
DEPENDENCE_ROWS = 1_000
PARTS = 6  # of a number's values
MOST_CATEGORIES = 7  # the rest are `other`


@dataclass(frozen=True)
class Bin:
    """The rows with one value, or one range of values, of a feature.

    Attributes:
        value: in words.
        rows: counted.
        happened, low, high: the share of positives with its Wilson interval.
        predicted: the mean probability.
        dependence: the mean probability if every row had the middle value of this bin.
    """

    value: str
    rows: int
    happened: float
    low: float
    high: float
    predicted: float
    dependence: float


@dataclass(frozen=True)
class Insight:
    """One feature.

    Attributes:
        feature: its name.
        importance: the mean absolute contribution to a score, in log-odds before calibration.
        bins: numbers from low to high, categories from frequent to rare, missing values last.
    """

    feature: str
    importance: float
    bins: tuple[Bin, ...]


def insights(model: Model, frame: pd.DataFrame, labels: Labels, probability: Floats, top: int, seed: int) -> tuple[Insight, ...]:
    """The features that move the scores of some rows most, and what each of their values goes with.

    Args:
        model: the one to look into.
        frame: rows that were not fitted on.
        labels: 0 or 1, what happened.
        probability: what was predicted, one per row.
        top: how many features, at most; those that move nothing are left out.
        seed: of the rows that are drawn where there are many.
    """
    matrix = model.matrix(frame)
    moved = importance(model, matrix, seed)
    few = _some(matrix, DEPENDENCE_ROWS, seed)
    names = sorted((name for name in moved if moved[name] > 0), key=lambda name: (-moved[name], name))[:top]
    return tuple(
        Insight(name, moved[name], _bins(model, few, model.columns.index(name), frame[name], matrix, labels, probability))
        for name in names
    )


def importance(model: Model, matrix: Floats, seed: int) -> dict[str, float]:
    """The mean absolute contribution of each feature, in log-odds before calibration, in the order of the model."""
    contributions = model.foreseen(_some(matrix, EXPLAINED_ROWS, seed)).contributions[:, :-1]
    return dict(zip(model.columns, np.abs(contributions).mean(axis=0).tolist(), strict=True))


def partial_dependence(model: Model, matrix: Floats, column: int, value: float) -> float:
    """The mean probability of some rows if all of them had one value of a column of the matrix."""
    changed = matrix.copy()
    changed[:, column] = value
    return float(model.probability(changed).mean())


def _bins(
    model: Model, few: Floats, column: int, values: pd.Series, matrix: Floats, labels: Labels, probability: Floats
) -> tuple[Bin, ...]:
    coded = matrix[:, column]
    names = _names(values)
    made = []
    for name in _ordered(names, coded):
        mine = (names == name).to_numpy()
        happened, rows = int(labels[mine].sum()), int(mine.sum())
        middle = _middle(coded[mine], numeric=model.contract.features[column].dtype == "number")
        dependence = partial_dependence(model, few, column, middle)
        shares = (happened / rows, *wilson(happened, rows), float(probability[mine].mean()))
        made.append(Bin(name, rows, *shares, dependence))
    return tuple(made)


def _names(values: pd.Series) -> pd.Series:
    names = named(values, PARTS)
    if pd.api.types.is_numeric_dtype(values.dtype):
        return names
    kept = names[names != MISSING].value_counts().index[:MOST_CATEGORIES]
    return names.where(names.isin([*kept, MISSING]), OTHER)


def _ordered(names: pd.Series, coded: Floats) -> list[str]:
    """Numbers and categories by their code, which counts categories from the commonest; `other` and `missing` last."""
    middle = pd.Series(coded).groupby(names.to_numpy()).median()
    return sorted(middle.index, key=lambda name: (name == MISSING, name == OTHER, middle[name]))


def _middle(coded: Floats, *, numeric: bool) -> float:
    """The median of a bin; of categories the commonest."""
    if np.isnan(coded).all():
        return float("nan")
    if numeric:
        return float(np.median(coded))
    codes, counts = np.unique(coded, return_counts=True)
    return float(codes[counts.argmax()])


def _some(matrix: Floats, rows: int, seed: int) -> Floats:
    if len(matrix) <= rows:
        return matrix
    return matrix[np.sort(np.random.default_rng(seed).choice(len(matrix), rows, replace=False))]
