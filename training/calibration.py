"""From a raw score to a probability: monotone, stored as plain numbers, applied with numpy alone.

A calibration is a broken line in log-odds: knots `x` (raw score) and `y` (log-odds), straight between the knots and going on with
`slope` beyond the first and the last. Platt scaling is the line with one knot. Isotonic regression is the line through the
centres of its plateaus; joining the centres keeps two different raw scores at two different probabilities, so that the order
of a list survives calibration, where the plateaus themselves would make ties of hundreds.

Sources: Platt (1999), with his smoothed targets; pool-adjacent-violators as in Zadrozny and Elkan (2002).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.settings import Strict

Floats = NDArray[np.float64]
FLOOR = 1e-5  # no probability is below this or above its complement: nothing here is certain
ISOTONIC_FROM = 1_000  # of the rarer class; below it, two numbers are all the data can carry
ROWS_OF_RARER_CLASS_PER_BIN = 40
MOST_BINS = 50
LEAST_SLOPE = 0.01  # a raw score that says nothing still keeps its order


class Calibration(Strict):
    """Knots in (raw score, log-odds) and the slope outside of them."""

    method: Literal["platt", "isotonic"]
    x: tuple[float, ...]
    y: tuple[float, ...]
    slope: float

    def log_odds(self, raw: Floats) -> Floats:
        """The calibrated log-odds of raw scores."""
        inside: Floats = np.interp(raw, self.x, self.y)
        beyond = np.minimum(raw - self.x[0], 0.0) + np.maximum(raw - self.x[-1], 0.0)
        result: Floats = inside + self.slope * beyond
        return result

    def probability(self, raw: Floats) -> Floats:
        """The calibrated probability of raw scores, within [FLOOR, 1 - FLOOR]."""
        return np.clip(sigmoid(self.log_odds(raw)), FLOOR, 1 - FLOOR)


def fit(raw: Floats, labels: NDArray[np.int8]) -> Calibration:
    """Isotonic where both classes have at least ISOTONIC_FROM rows, otherwise Platt.

    Args:
        raw: scores that the model gave to rows it was not fitted on.
        labels: 0 or 1, both present.
    """
    platt = fit_platt(raw, labels)
    rarer = int(min(labels.sum(), len(labels) - labels.sum()))
    return fit_isotonic(raw, labels, platt.slope) if rarer >= ISOTONIC_FROM else platt


def fit_platt(raw: Floats, labels: NDArray[np.int8]) -> Calibration:
    """`log-odds = intercept + slope * raw`, fitted to Platt's smoothed targets; the slope never falls to 0."""
    positives = int(labels.sum())
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2))
    intercept, slope = _logistic_line(raw, targets)
    if slope < LEAST_SLOPE:
        slope = LEAST_SLOPE
        intercept = float(log_odds(targets.mean(keepdims=True))[0]) - slope * float(raw.mean())
    return Calibration(method="platt", x=(0.0,), y=(intercept,), slope=slope)


def fit_isotonic(raw: Floats, labels: NDArray[np.int8], slope: float) -> Calibration:
    """The broken line through the plateau centres of an isotonic regression on equal bins of the raw score.

    Args:
        raw: scores out of sample.
        labels: 0 or 1.
        slope: how the line goes on beyond the outermost plateau centres, where there is nothing to see.
    """
    from sklearn.isotonic import IsotonicRegression

    rarer = int(min(labels.sum(), len(labels) - labels.sum()))
    bins = min(MOST_BINS, max(2, rarer // ROWS_OF_RARER_CLASS_PER_BIN))
    order = np.argsort(raw, kind="stable")
    parts = np.array_split(order, bins)
    counts = np.array([len(part) for part in parts], dtype=float)
    centres = np.array([raw[part].mean() for part in parts])
    rates = np.array([labels[part].mean() for part in parts])
    pooled = IsotonicRegression().fit_transform(centres, rates, sample_weight=counts)
    _, plateau = np.unique(pooled, return_inverse=True)
    weight = np.bincount(plateau, counts)
    x = np.bincount(plateau, counts * centres) / weight
    rate = np.bincount(plateau, counts * pooled) / weight
    y = np.maximum.accumulate(log_odds(np.clip(rate, 0.5 / weight, 1 - 0.5 / weight)))
    return Calibration(method="isotonic", x=tuple(map(float, x)), y=tuple(map(float, y)), slope=slope)


def sigmoid(value: Floats) -> Floats:
    """`1 / (1 + exp(-value))`."""
    result: Floats = 1.0 / (1.0 + np.exp(np.minimum(-value, 700.0)))  # beyond, exp overflows
    return result


def log_odds(probability: Floats) -> Floats:
    """`log(p / (1 - p))`."""
    result: Floats = np.log(probability / (1 - probability))
    return result


def _logistic_line(raw: Floats, targets: Floats) -> tuple[float, float]:
    """Newton's method on the two parameters of the logistic log loss; raw scores are centred and scaled on the way."""
    centre, scale = float(raw.mean()), float(raw.std()) or 1.0
    design = np.column_stack([np.ones(len(raw)), (raw - centre) / scale])
    weights = np.array([float(log_odds(targets.mean(keepdims=True))[0]), 0.0])
    for _ in range(50):
        fitted = sigmoid(design @ weights)
        gradient = design.T @ (targets - fitted)
        hessian = design.T @ (design * (fitted * (1 - fitted))[:, None]) + 1e-9 * np.eye(2)
        step = np.clip(np.linalg.solve(hessian, gradient), -4.0, 4.0)
        weights = weights + step
        if float(np.abs(step).max()) < 1e-10:
            break
    slope = float(weights[1]) / scale
    return float(weights[0]) - slope * centre, slope
