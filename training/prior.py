"""A base rate that moved: how far, seen from rows whose outcome nobody knows yet, and whether to believe it.

If nothing but the rate of the outcome moved between the rows a model was calibrated on and the newest rows (label shift), the
newest rows' probabilities alone tell the new rate, and adding one number to the log-odds corrects every probability. If the rows
themselves changed, the same estimate can be far off: on every real data set measured here it made the probabilities worse. Hence
it is only applied where it has paid at earlier origins, whose outcomes are known by now.

Source: Saerens, Latinne and Decaestecker (2002), "Adjusting the outputs of a classifier to new a priori probabilities".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.calibration import FLOOR, Calibration, log_loss, log_odds, sigmoid

Floats = NDArray[np.float64]
REPLICATES = 200
MOST_POINTS = 1_000  # probabilities are grouped into so many; the likelihood hardly sees it
HALVINGS = 40
LEAST_ORIGINS = 3  # fewer say nothing about the next


@dataclass(frozen=True)
class Estimate:
    """The rate of the outcome among rows whose outcome is unknown, with the bounds of its 95 % bootstrap interval."""

    rate: float
    low: float
    high: float

    def moved(self, rate_calibrated: float) -> bool:
        """Whether the interval excludes the rate of the rows that were calibrated on."""
        return not self.low <= rate_calibrated <= self.high


@dataclass(frozen=True)
class Origin:
    """One earlier test: what was predicted then, without correction, and what happened since.

    Attributes:
        probability: calibrated, one per row.
        labels: 0 or 1, known by now.
        rate_calibrated: the share of positives, by weight, in the rows that were calibrated on.
    """

    probability: Floats
    labels: NDArray[np.int8]
    rate_calibrated: float


@dataclass(frozen=True)
class Decision:
    """Whether the correction is applied, and why in a sentence."""

    applied: bool
    sentence: str


def estimate(probability_unlabelled: Floats, rate_calibrated: float, seed: int = 0) -> Estimate:
    """The rate under which rows with these probabilities are likeliest, if only the rate moved.

    It is what the EM algorithm of Saerens et al. converges to: the maximum of `sum(log(1 - rate + rate * ratio))`, where `ratio`
    is how much likelier a row is among positives than among negatives. That sum is concave in the rate, so halving finds where
    its slope is 0. The interval draws rows, and is too narrow where an entity has several.

    Args:
        probability_unlabelled: calibrated on other rows, one per row.
        rate_calibrated: the share of positives in those other rows, between 0 and 1.
        seed: of the draws behind the interval.
    """
    parts = np.array_split(np.sort(probability_unlabelled), min(MOST_POINTS, len(probability_unlabelled)))
    points = np.array([part.mean() for part in parts])
    counts = np.array([len(part) for part in parts], dtype=np.float64)
    ratio = np.exp(log_odds(points) - float(log_odds(np.array(rate_calibrated))))
    drawn = np.random.default_rng(seed).multinomial(len(probability_unlabelled), counts / counts.sum(), REPLICATES)
    rates = _likeliest(ratio, np.vstack([counts, drawn]))
    low, high = np.quantile(rates[1:], [0.025, 0.975])
    return Estimate(float(rates[0]), float(low), float(high))


def corrected(calibration: Calibration, from_rate: float, to_rate: float) -> Calibration:
    """The same calibration with its log-odds moved by the difference between the log-odds of two rates."""
    moved = np.array(calibration.y) + offset(from_rate, to_rate)
    return calibration.model_copy(update={"y": tuple(moved.tolist())})


def offset(from_rate: float, to_rate: float) -> float:
    """What a moved rate adds to every row's log-odds."""
    before, after = log_odds(np.clip(np.array([from_rate, to_rate]), FLOOR, 1 - FLOOR))
    return float(after - before)


def decide(origins: Sequence[Origin], newest: Estimate, rate_calibrated: float) -> Decision:
    """Apply the correction only where the rate has moved, and where correcting paid at earlier origins beyond their spread.

    Args:
        origins: earlier tests, whose outcomes have matured.
        newest: the estimate for the rows to be scored.
        rate_calibrated: the share of positives in the rows that the present model is calibrated on.
    """
    told = (
        f"The newest rows would suggest a rate of {100 * newest.rate:.1f} % ({100 * newest.low:.1f} to {100 * newest.high:.1f} %)"
    )
    known = f"{100 * rate_calibrated:.1f} % of those calibrated on"
    if not newest.moved(rate_calibrated):
        return Decision(False, f"{told}, no different from {known}: not corrected.")
    if len(origins) < LEAST_ORIGINS:
        few = f"{len(origins)} earlier date{'s' if len(origins) != 1 else ''} cannot tell whether correcting pays"
        return Decision(False, f"{told} instead of {known}, but {few}: not corrected.")
    from scipy.stats import t

    gains = np.array([gain(origin) for origin in origins])
    mean, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))
    pays = mean > float(t.ppf(0.95, len(gains) - 1)) * error
    word = "lowered" if mean > 0 else "raised"
    evidence = f"at {len(gains)} earlier dates correcting {word} the log loss by {abs(mean):.4f} (± {error:.4f})"
    return Decision(pays, f"{told} instead of {known}; {evidence}: {'corrected' if pays else 'not corrected'}.")


def gain(origin: Origin) -> float:
    """By how much correcting, with nothing but what was known then, would have lowered the log loss of an origin."""
    seen = estimate(origin.probability, origin.rate_calibrated)
    moved = sigmoid(log_odds(origin.probability) + offset(origin.rate_calibrated, seen.rate)).clip(FLOOR, 1 - FLOOR)
    return float((log_loss(origin.probability, origin.labels) - log_loss(moved, origin.labels)).mean())


def _likeliest(ratio: Floats, counts: Floats) -> Floats:
    """The likeliest rate for each row of counts, by halving the interval in which the slope changes its sign."""
    low, high = np.full(len(counts), FLOOR), np.full(len(counts), 1 - FLOOR)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        slope = (counts * ((ratio - 1) / (1 + middle[:, None] * (ratio - 1)))).sum(axis=1)
        low, high = np.where(slope > 0, middle, low), np.where(slope > 0, high, middle)
    return (low + high) / 2
