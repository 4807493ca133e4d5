"""Scorecards: features in bins, and for each bin the log-odds that seeing it adds.

A bin's weight is its weight of evidence, with rates drawn towards the base rate by `PSEUDO_ROWS` rows of it (Cestnik 1990).
Naive Bayes adds the weights of all features as if each spoke for itself; a rule of thumb is the one feature that alone foresees
best. Both are what a spreadsheet could do, and what anything cleverer has to beat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.additive import Additive, Shape, Term, centred
from training.calibration import log_odds
from training.contract import Column, Floats
from training.examples import Examples, Labels, Learned, cross_fitted, log_loss
from training.split import Mask

BINS = 10
PSEUDO_ROWS = 20.0


@dataclass(frozen=True)
class Bins:
    """One feature cut into bins: the edges of a number (none for a category), and each row's bin; the last is "missing"."""

    column: Column
    edges: Floats
    code: NDArray[np.intp]

    @property
    def count(self) -> int:
        """How many bins there are, with the one for missing values."""
        known = len(self.column.categories) + 1 if self.column.dtype == "category" else len(self.edges) + 1
        return known + 1

    def evidence(self, labels: Labels, rows: Mask) -> Floats:
        """The weight of evidence of each bin among some rows."""
        rate = float(labels[rows].mean())
        every = np.bincount(self.code[rows], minlength=self.count)
        positive = np.bincount(self.code[rows], labels[rows], self.count)
        drawn = (positive + PSEUDO_ROWS * rate) / (every + PSEUDO_ROWS)
        weights: Floats = log_odds(np.clip(drawn, 1e-6, 1 - 1e-6)) - float(log_odds(np.array(rate)))
        return weights

    def term(self, weights: Floats, values: Floats) -> tuple[Term, float]:
        """The term of these weights, centred, and what was taken out of it."""
        shape: Shape = "code" if self.column.dtype == "category" else "step"
        return centred(self.column.name, shape, self.edges, weights[:-1], float(weights[-1]), values)


def naive_bayes(examples: Examples, cross_fit: bool, settled: Mapping[str, Any] = MappingProxyType({})) -> Learned:
    """Every feature's evidence, added up; there is nothing to settle."""
    bins = binned(examples)

    def fit(rows: Mask) -> Additive:
        return _sum(examples, bins, rows, range(len(bins)))

    out_of_fold = cross_fitted(examples, fit) if cross_fit else np.full(examples.rows, np.nan)
    return Learned(fit(np.ones(examples.rows, bool)), examples.features, {"bins": BINS}, out_of_fold)


def rule(examples: Examples, cross_fit: bool, settled: Mapping[str, Any] = MappingProxyType({})) -> Learned:
    """The evidence of the one feature with the least log loss among entities it was not read from.

    Out-of-fold scores come without saying, for the feature is chosen by them.
    """
    bins = binned(examples)
    scores = np.column_stack([_out_of_fold(examples, one) for one in bins])
    losses = [log_loss(scores[:, position], examples.labels) for position in range(len(bins))]
    best = int(np.argmin(losses))
    predictor = _sum(examples, bins, np.ones(examples.rows, bool), [best])
    return Learned(predictor, examples.features, {"feature": bins[best].column.name, "bins": BINS}, scores[:, best])


def binned(examples: Examples) -> list[Bins]:
    """Each feature in at most `BINS` equally filled bins, or by category."""
    return [_bin(column, examples.matrix[:, position]) for position, column in enumerate(examples.features)]


def _bin(column: Column, values: Floats) -> Bins:
    gone = np.isnan(values)
    if column.dtype == "category":
        edges, known = np.empty(0), np.where(gone, 0, values).astype(np.intp)
        return Bins(column, edges, np.where(gone, len(column.categories) + 1, known))
    present = values[~gone]
    edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])) if len(present) else np.empty(0)
    edges = edges[edges < present.max()] if len(present) else edges
    return Bins(column, edges, np.where(gone, len(edges) + 1, np.searchsorted(edges, values, side="left")))


def _sum(examples: Examples, bins: list[Bins], rows: Mask, chosen: range | list[int]) -> Additive:
    """The chosen features' evidence; the others weigh nothing."""
    intercept = float(log_odds(np.array(examples.labels[rows].mean())))
    terms = []
    for position, one in enumerate(bins):
        weights = one.evidence(examples.labels, rows) if position in chosen else np.zeros(one.count)
        term, mean = one.term(weights, examples.matrix[:, position])
        terms.append(term)
        intercept += mean
    return Additive(intercept=intercept, terms=tuple(terms))


def _out_of_fold(examples: Examples, bins: Bins) -> Floats:
    """Each row's log-odds by the evidence of its bin among the other folds."""
    raw = np.empty(examples.rows)
    for part in examples.parts:
        base = float(log_odds(np.array(examples.labels[~part].mean())))
        raw[part] = base + bins.evidence(examples.labels, ~part)[bins.code[part]]
    return raw
