"""Examples: encoded rows with their labels, what every learner is given; and what a learner gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.contract import Column, Floats, Typical, encode
from training.predictor import Predictor
from training.split import FOLDS, Mask, folds

MOST_CATEGORIES = 200
LEAST_ROWS_PER_CATEGORY = 10
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class Examples:
    """Rows to learn from.

    Attributes:
        features: the contract of the matrix, described from these rows.
        matrix: one row per label.
        labels: 0 or 1, both present.
        fold: 0 to 4; the rows of one entity are in one fold.
        rarer: how many entities the rarer class has: the rows of one entity at neighbouring dates say nearly the same.
    """

    features: tuple[Column, ...]
    matrix: Floats
    labels: Labels
    fold: NDArray[np.int64]
    rarer: int

    @classmethod
    def of(cls, frame: pd.DataFrame, labels: Labels, dtypes: dict[str, str]) -> Examples:
        """Describe and encode a frame with `entity_id` and the features of `dtypes`, `number` or `category` each."""
        features = tuple(describe(frame[name], dtype) for name, dtype in dtypes.items())
        entities = frame["entity_id"]
        return cls(features, encode(frame, features), labels, folds(entities), rarer(entities, labels))

    def only(self, rows: Mask) -> Examples:
        """Some of the rows, under the same contract."""
        return replace(self, matrix=self.matrix[rows], labels=self.labels[rows], fold=self.fold[rows])

    @property
    def rows(self) -> int:
        return len(self.labels)

    @property
    def parts(self) -> list[Mask]:
        """The rows of each fold that has any."""
        return [part for part in (self.fold == number for number in range(FOLDS)) if part.any()]


@dataclass(frozen=True)
class Learned:
    """A fitted predictor, what it was fitted with, and what each row scored out of sample.

    Attributes:
        predictor: ready to score.
        features: the contract of the matrix.
        parameters: what it was fitted with.
        out_of_fold: the raw score of each row by a model that did not see its entity; NaN where no such score was wanted.
    """

    predictor: Predictor
    features: tuple[Column, ...]
    parameters: dict[str, Any]
    out_of_fold: Floats

    def raw(self, frame: pd.DataFrame) -> Floats:
        """The raw score of each row of a frame.

        Raises:
            ContractError: a feature is missing or of another type.
        """
        return self.predictor.raw(encode(frame, self.features))


def cross_fitted(examples: Examples, fit: Callable[[Mask], Predictor]) -> Floats:
    """Each row's raw score by a predictor that was fitted on the other folds."""
    raw = np.empty(examples.rows)
    for part in examples.parts:
        raw[part] = fit(~part).raw(examples.matrix[part])
    return raw


def rarer(entities: pd.Series, labels: Labels) -> int:
    """How many entities the rarer class has."""
    return int(min(entities[labels == value].nunique() for value in (0, 1)))


def log_loss(raw: Floats, labels: Labels) -> float:
    """The mean logistic loss of raw scores that are log-odds."""
    return float(np.mean(np.logaddexp(0.0, np.where(labels == 1, -raw, raw))))


def describe(series: pd.Series, dtype: str) -> Column:
    """The contract of one feature, from the values the model is fitted on."""
    missing = float(series.isna().mean())
    if dtype == "category":
        counts = series.dropna().astype(str).value_counts()
        kept = sorted(counts[counts >= LEAST_ROWS_PER_CATEGORY].items(), key=lambda pair: (-pair[1], pair[0]))
        categories = tuple(str(value) for value, _ in kept[:MOST_CATEGORIES])
        return Column(
            name=str(series.name),
            dtype="category",
            categories=categories,
            typical=Typical(missing=missing, commonest=categories[0] if categories else None),
        )
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    values = values[~np.isnan(values)]
    if not len(values):
        return Column(name=str(series.name), dtype="number", typical=Typical(missing=missing))
    p10, p25, median, p75, p90 = (float(value) for value in np.quantile(values, [0.10, 0.25, 0.50, 0.75, 0.90]))
    typical = Typical(missing=missing, p10=p10, p25=p25, median=median, p75=p75, p90=p90)
    return Column(name=str(series.name), dtype="number", typical=typical)
