"""How far two distributions over the same bins are from each other, and how far chance alone would bring them.

PSI is the population stability index, the sum of `(q - p) ln(q / p)` (Siddiqi, Credit Risk Scorecards, 2006), which is Jeffreys'
divergence. Of two samples of n and m rows of one distribution over B bins it is distributed as `(1/n + 1/m)` times chi-square of
B - 1 degrees of freedom (Yurdakul, Statistical Properties of Population Stability Index, 2018), so that with few rows a large PSI
means nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from training.contract import Floats


def shares(counts: NDArray[np.int64] | Floats) -> Floats:
    """The share of each bin; half a row is added to every bin, so that an empty one does not make a distance infinite."""
    more = np.asarray(counts, dtype=np.float64) + 0.5
    whole: Floats = more / more.sum(axis=-1, keepdims=True)
    return whole


def psi(p: Floats, q: Floats) -> float:
    """The population stability index of two distributions without an empty bin."""
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(p: Floats, q: Floats) -> float:
    """The Jensen-Shannon distance with logarithms of base 2: 0 for equal distributions, 1 for those that share no bin.

    The root of the mean Kullback-Leibler divergence from their middle (Endres and Schindelin, A New Metric for Probability
    Distributions, 2003).
    """
    middle = (p + q) / 2
    parts = [np.where(one > 0, one * np.log2(np.where(one > 0, one, 1) / np.where(middle > 0, middle, 1)), 0) for one in (p, q)]
    return float(np.sqrt(max(sum(part.sum() for part in parts) / 2, 0.0)))


def noise(rows: float, others: Floats) -> Floats:
    """`1/n + 1/m`: the mean PSI of two samples of one distribution for each degree of freedom, of one n and several m."""
    unsure: Floats = 1 / max(rows, 1) + 1 / np.maximum(others, 1)
    return unsure


def chance(found: float, noise: float, bins: int) -> float:
    """How probable a PSI at least as large is where nothing has changed (chi-square of `bins` - 1 degrees of freedom)."""
    from scipy.special import chdtrc

    return float(chdtrc(bins - 1, found / noise)) if bins > 1 else 1.0


def effect(share: float, other: float) -> float:
    """Cohen's h of two proportions: the difference of twice the arcsines of their roots; 0.2 is small, 0.5 middling, 0.8 large
    (Cohen, Statistical Power Analysis for the Behavioral Sciences, 1988)."""
    return float(2 * np.arcsin(np.sqrt(share)) - 2 * np.arcsin(np.sqrt(other)))
