"""Logistic regression, regularised, on features made comparable; kept as one term for each feature.

A number enters twice, both times a broken line through its quantiles and level beyond the outer ones, so that no outlier pulls:
once straight, scaled to a standard deviation of 1, and once by its rank, as a normal score. Missing values have a weight of
their own, and each category too. The penalty is chosen by cross-validation that keeps an entity's rows together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from training.additive import Additive, Shape, centred
from training.contract import Column, Floats
from training.examples import Examples, Labels, Learned, log_loss
from training.split import Mask

PENALTIES = (0.001, 0.01, 0.1, 1.0)  # scikit-learn's C, the inverse of the penalty
QUANTILES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
ONE_FOLD_FROM = 5_000  # rows; from here on one fold in five tells the penalty as well as five do


@dataclass(frozen=True)
class Basis:
    """The columns one feature enters the regression with, each made of values at its knots or codes, and for missing values.

    `weights[i]` are the columns' values at knot or code i; `missing` their values where the feature is missing.
    """

    column: Column
    knots: Floats
    weights: Floats
    missing: Floats

    def columns(self, values: Floats) -> Floats:
        """The feature's columns in the design, one row per value."""
        gone = np.isnan(values)
        if self.column.dtype == "category":
            found = self.weights[np.where(gone, 0, values).astype(np.intp)]
        else:
            parts = [np.interp(values, self.knots, self.weights[:, number]) for number in range(self.weights.shape[1])]
            found = np.column_stack(parts)
        return np.where(gone[:, None], self.missing, found)


def learn(examples: Examples, cross_fit: bool, settled: Mapping[str, Any] = MappingProxyType({})) -> Learned:
    """Fit with each penalty on the other folds, take the one with the least log loss, and fit it on all rows.

    On one BLAS thread for each fit, so that equal rows give equal bits.

    Args:
        examples: the rows.
        cross_fit: whether out-of-fold scores of every row are wanted.
        settled: with `C`, the penalty is not searched.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        return _learn(examples, cross_fit, settled)


def _learn(examples: Examples, cross_fit: bool, settled: Mapping[str, Any]) -> Learned:
    bases = [basis(column, examples.matrix[:, position]) for position, column in enumerate(examples.features)]
    design = np.hstack([one.columns(examples.matrix[:, position]) for position, one in enumerate(bases)])
    best = settled["C"] if "C" in settled else _penalty(design, examples)
    out_of_fold = _out_of_fold(design, examples.labels, examples.parts if cross_fit else [], best)
    intercept, weights = _fit(design, examples.labels, best)
    predictor = _additive(examples, bases, intercept, weights)
    return Learned(predictor, examples.features, {"C": best, "columns": design.shape[1]}, out_of_fold)


def _penalty(design: Floats, examples: Examples) -> float:
    """The one with the least log loss on folds held out."""
    parts = examples.parts if examples.rows < ONE_FOLD_FROM else examples.parts[:1]
    seen = np.any(parts, axis=0)
    labels = examples.labels
    losses = {penalty: log_loss(_out_of_fold(design, labels, parts, penalty)[seen], labels[seen]) for penalty in PENALTIES}
    return min(PENALTIES, key=lambda penalty: losses[penalty])


def basis(column: Column, values: Floats) -> Basis:
    """How one feature enters the regression, from its values in training."""
    gone = np.isnan(values)
    known = values[~gone]
    if column.dtype == "category":
        one_hot = np.eye(len(column.categories) + 1)
        return _with_missing(column, np.empty(0), one_hot, gone)
    knots = np.unique(np.quantile(known, QUANTILES)) if len(known) else np.empty(0)
    if len(knots) < 2:
        knots = np.unique([known.min(), known.max()]) if len(known) else np.zeros(1)
    if len(knots) < 2:
        return _with_missing(column, knots, np.zeros((1, 1)), gone)
    straight = _standard(np.interp(known, knots, knots), knots)
    ranks = _normal_scores(known, knots)
    return _with_missing(column, knots, np.column_stack([straight, _standard(np.interp(known, knots, ranks), ranks)]), gone)


def _with_missing(column: Column, knots: Floats, weights: Floats, gone: Mask) -> Basis:
    """A column more that is 1 where the value is missing, if it ever is."""
    if not gone.any():
        return Basis(column, knots, weights, np.zeros(weights.shape[1]))
    missing = np.r_[np.zeros(weights.shape[1]), 1.0]
    return Basis(column, knots, np.column_stack([weights, np.zeros(len(weights))]), missing)


def _standard(known: Floats, at_knots: Floats) -> Floats:
    """The values at the knots, shifted and scaled so that the known values have mean 0 and standard deviation 1."""
    scaled: Floats = (at_knots - known.mean()) / (float(known.std()) or 1.0)
    return scaled


def _normal_scores(known: Floats, knots: Floats) -> Floats:
    """The normal quantile of the middle rank of each knot."""
    from scipy.stats import norm

    ordered = np.sort(known)
    middle = (np.searchsorted(ordered, knots, "left") + np.searchsorted(ordered, knots, "right")) / (2 * len(ordered))
    scores: Floats = norm.ppf(np.clip(middle, 0.005, 0.995))
    return scores


def _out_of_fold(design: Floats, labels: Labels, parts: Sequence[Mask], penalty: float) -> Floats:
    raw = np.full(len(labels), np.nan)

    def fit(part: Mask) -> tuple[float, Floats]:
        return _fit(design[~part], labels[~part], penalty)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part, (intercept, weights) in zip(parts, pool.map(fit, parts), strict=True):
            raw[part] = intercept + design[part] @ weights
    return raw


def _fit(design: Floats, labels: Labels, penalty: float) -> tuple[float, Floats]:
    from sklearn.linear_model import LogisticRegression

    fitted = LogisticRegression(C=penalty, solver="newton-cholesky", max_iter=100).fit(design, labels)
    return float(fitted.intercept_[0]), np.asarray(fitted.coef_[0], dtype=np.float64)


def _additive(examples: Examples, bases: Sequence[Basis], intercept: float, weights: Floats) -> Additive:
    """Each feature's columns folded into one term."""
    terms, begin = [], 0
    for position, one in enumerate(bases):
        mine = weights[begin : begin + one.weights.shape[1]]
        begin += one.weights.shape[1]
        shape: Shape = "code" if one.column.dtype == "category" else "line"
        values = examples.matrix[:, position]
        missing = float(one.missing @ mine)
        term, mean = centred(one.column.name, shape, one.knots, one.weights @ mine, missing, values)
        terms.append(term)
        intercept += mean
    return Additive(intercept=intercept, terms=tuple(terms))
