"""From a raw score to a probability: monotone, stored as plain numbers, applied with numpy alone.

A calibration is a broken line in log-odds: knots `x` (raw score) and `y` (log-odds), straight between the knots and going on with
a slope of its own `below` the first and `above` the last. Platt scaling is the line with one knot. Beta calibration bends once,
where the raw score is 0, and is stored as points of its curve. Isotonic regression is the line through the centres of its
plateaus; joining the centres keeps two different raw scores at two different probabilities, so that the order of a list survives
calibration, where the plateaus themselves would make ties of hundreds.

Rows are weighted by their age, so that a calibration follows a drifting rate without believing a single date.

Sources: Platt (1999), with his smoothed targets; Kull, Silva Filho and Flach (2017), "Beta calibration"; pool-adjacent-violators
as in Zadrozny and Elkan (2002).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from features.strict import Strict
from training.split import folds

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
FLOOR = 1e-5  # no probability is below this or above its complement: nothing here is certain
ISOTONIC_FROM = 1_000  # of the rarer class; below it, a few numbers are all the data can carry
ROWS_OF_RARER_CLASS_PER_BIN = 40
MOST_BINS = 50
HALF_LIFE = 0.5  # of a horizon; tried on earlier periods of public histories, where others were worse by little: no fine number
ENOUGH = 300  # of the rarer class, counted by weight: below it, older rows count for more
SURE = 2.0  # standard errors by which a method must beat a simpler one
LEAST_SLOPE = 0.01  # a raw score that says nothing still keeps its order
BETA_KNOTS = np.linspace(-8.0, 8.0, 65)  # beyond, the curve is straight to 0.0004; between, to a 500th of the bend


class Calibration(Strict):
    """Knots in (raw score, log-odds), and the slopes outside of them."""

    method: Literal["platt", "beta", "isotonic"]
    x: tuple[float, ...]
    y: tuple[float, ...]
    below: float
    above: float

    def log_odds(self, raw: Floats) -> Floats:
        """The calibrated log-odds of raw scores."""
        inside: Floats = np.interp(raw, self.x, self.y)
        beyond = self.below * np.minimum(raw - self.x[0], 0.0) + self.above * np.maximum(raw - self.x[-1], 0.0)
        result: Floats = inside + beyond
        return result

    def probability(self, raw: Floats) -> Floats:
        """The calibrated probability of raw scores, within [FLOOR, 1 - FLOOR]."""
        return np.minimum(np.maximum(sigmoid(self.log_odds(raw)), FLOOR), 1 - FLOOR)


def recency(as_of: pd.Series, labels: Labels, horizon: timedelta) -> Floats:
    """A weight for each row: 1 at the newest as_of, halved with every HALF_LIFE of a horizon before it.

    Where that leaves fewer than ENOUGH of the rarer class, the half-life is doubled; at last, rows of any age count the same.
    """
    age = ((as_of.max() - as_of) / (HALF_LIFE * horizon)).to_numpy(np.float64)
    for stretch in (1, 2, 4, 8, 16, 32):
        weights: Floats = 0.5 ** (age / stretch)
        if rarer(labels, weights) >= ENOUGH:
            return weights
    return np.ones(len(age))


def fit(raw: Floats, labels: Labels, entities: pd.Series | None = None, weights: Floats | None = None) -> Calibration:
    """The method with the least log loss on folds held out; a simpler one unless the other is better beyond doubt.

    Folds are of the same dates: what is gained there by a hair is lost again when the rates drift, as they did on Bank Marketing.

    Simplest is Platt's line, then beta, then isotonic, which is only asked where both classes have ISOTONIC_FROM rows.

    Args:
        raw: scores that the model gave to rows it was not fitted on.
        labels: 0 or 1, both present.
        entities: the entity of each row, whose rows stay in one fold; None takes each row for an entity of its own.
        weights: from 0 to 1, as `recency` gives them; None counts every row as 1.
    """
    known = pd.Series(np.arange(len(raw))) if entities is None else entities
    weight = np.ones(len(raw)) if weights is None else weights
    if len(np.unique(folds(known))) == 1:
        return fit_platt(raw, labels, weight)  # nothing can be held out
    losses = held_out_losses(raw, labels, known, weight)
    chosen = "platt"
    for method in list(losses)[1:]:
        gain, error = clustered_mean(losses[chosen] - losses[method], known, weight)
        if gain > SURE * error:
            chosen = method
    return _methods(labels, weight)[chosen](raw, labels, weight)


def held_out_losses(raw: Floats, labels: Labels, entities: pd.Series, weights: Floats) -> dict[str, Floats]:
    """The log loss of each row by each method that the data can carry, fitted on the folds without the row's entity."""
    fold = folds(entities)
    methods = _methods(labels, weights)
    losses = {method: np.empty(len(raw)) for method in methods}
    for number in np.unique(fold):
        held, others = fold == number, fold != number
        for method, fitter in methods.items():
            probability = fitter(raw[others], labels[others], weights[others]).probability(raw[held])
            losses[method][held] = log_loss(probability, labels[held])
    return losses


def methods(labels: Labels, weights: Floats) -> tuple[str, ...]:
    """The names of the methods that `fit` compares on such rows, simplest first."""
    return tuple(_methods(labels, weights))


def fit_platt(raw: Floats, labels: Labels, weights: Floats) -> Calibration:
    """`log-odds = intercept + slope * raw`, fitted to Platt's smoothed targets; the slope never falls to 0."""
    intercept, slope = _logistic(raw[:, None], labels, weights)
    return Calibration(method="platt", x=(0.0,), y=(intercept,), below=slope, above=slope)


def fit_beta(raw: Floats, labels: Labels, weights: Floats) -> Calibration:
    """`log-odds = a * ln p - b * ln(1 - p) + c` with `p = sigmoid(raw)`; a is the slope far below, b far above, neither is 0."""
    c, a, b = _logistic(_beta_terms(raw), labels, weights)
    y = c + _beta_terms(BETA_KNOTS) @ np.array([a, b])
    return Calibration(method="beta", x=tuple(BETA_KNOTS.tolist()), y=tuple(y.tolist()), below=a, above=b)


def fit_isotonic(raw: Floats, labels: Labels, weights: Floats) -> Calibration:
    """The broken line through the plateau centres of an isotonic regression on bins of the raw score that weigh the same.

    Beyond the outermost centres, where there is nothing to see, it goes on with the slope of Platt's line.
    """
    from sklearn.isotonic import IsotonicRegression

    bins = min(MOST_BINS, max(2, int(rarer(labels, weights)) // ROWS_OF_RARER_CLASS_PER_BIN))
    counts, centres, rates = _binned(raw, labels, weights, bins)
    pooled = IsotonicRegression().fit_transform(centres, rates, sample_weight=counts)
    _, plateau = np.unique(pooled, return_inverse=True)
    weight = np.bincount(plateau, counts)
    x = np.bincount(plateau, counts * centres) / weight
    rate = np.bincount(plateau, counts * pooled) / weight
    edge = 0.5 / np.maximum(weight, 1.0)
    y = np.maximum.accumulate(log_odds(np.clip(rate, edge, 1 - edge)))
    slope = fit_platt(raw, labels, weights).below
    return Calibration(method="isotonic", x=tuple(x.tolist()), y=tuple(y.tolist()), below=slope, above=slope)


def _binned(raw: Floats, labels: Labels, weights: Floats, bins: int) -> tuple[Floats, Floats, Floats]:
    """Weight, mean raw score and share of positives of bins along the raw score that weigh the same."""
    order = np.argsort(raw, kind="stable")
    weight = weights[order]
    middle = np.cumsum(weight) - weight / 2
    number = (middle / weight.sum() * bins).astype(np.int64)
    whole = np.bincount(number, weight)
    filled = whole > 0
    centres, rates = (np.bincount(number, weight * each[order])[filled] / whole[filled] for each in (raw, labels))
    return whole[filled].astype(np.float64), centres, rates


def clustered_mean(values: Floats, entities: pd.Series, weights: Floats) -> tuple[float, float]:
    """The weighted mean of a value per row, and its standard error when the rows of one entity are not independent."""
    codes, names = pd.factorize(entities)
    mean = float(np.average(values, weights=weights))
    of_entity = np.bincount(codes, weights * (values - mean), len(names))
    return mean, float(np.sqrt((of_entity**2).sum()) / weights.sum())


def log_loss(probability: Floats, labels: Labels) -> Floats:
    """The log loss of each row."""
    result: Floats = -np.log(np.where(labels == 1, probability, 1 - probability))
    return result


def rarer(labels: Labels, weights: Floats) -> float:
    """How many rows the rarer class has, counted by weight."""
    positives = float(weights @ labels)
    return min(positives, float(weights.sum()) - positives)


def sigmoid(value: Floats) -> Floats:
    """`1 / (1 + exp(-value))`."""
    result: Floats = 1.0 / (1.0 + np.exp(np.minimum(-value, 700.0)))  # beyond, exp overflows
    return result


def log_odds(probability: Floats) -> Floats:
    """`log(p / (1 - p))`."""
    result: Floats = np.log(probability / (1 - probability))
    return result


def _methods(labels: Labels, weights: Floats) -> Mapping[str, Callable[[Floats, Labels, Floats], Calibration]]:
    """What data of that size can carry, simplest first."""
    simple = {"platt": fit_platt, "beta": fit_beta}
    return {**simple, "isotonic": fit_isotonic} if rarer(labels, weights) >= ISOTONIC_FROM else simple


def _beta_terms(raw: Floats) -> Floats:
    """`ln p` and `-ln(1 - p)` of `p = sigmoid(raw)`: one column each, both rising."""
    return np.column_stack([-np.logaddexp(0.0, -raw), np.logaddexp(0.0, raw)])


@threadpool_limits.wrap(limits=1, user_api="blas")
def _logistic(terms: Floats, labels: Labels, weights: Floats) -> tuple[float, ...]:
    """Intercept and coefficients, each at least LEAST_SLOPE, of least logistic loss to Platt's smoothed targets.

    On one BLAS thread: for so few coefficients threads wait for each other ten times longer than they work, and change bits.
    """
    from scipy.optimize import minimize

    share = weights / weights.sum()
    positives = float(weights @ labels)
    targets = np.where(labels == 1, (positives + 1) / (positives + 2), 1 / (weights.sum() - positives + 2))
    centre = share @ terms
    scale = np.sqrt(share @ (terms - centre) ** 2)
    scale[scale == 0] = 1.0
    design = np.column_stack([np.ones(len(terms)), (terms - centre) / scale])

    def loss(coefficients: Floats) -> tuple[float, Floats]:
        line = design @ coefficients
        return float(share @ (np.logaddexp(0.0, line) - targets * line)), design.T @ (share * (sigmoid(line) - targets))

    start = np.r_[log_odds(np.array([share @ targets])), LEAST_SLOPE * scale]
    bounds = [(None, None), *((LEAST_SLOPE * each, None) for each in scale)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-13, "gtol": 1e-9}).x
    slopes = found[1:] / scale
    return (float(found[0] - slopes @ centre), *map(float, slopes))
