"""Differences between two groups that chance alone has parted, with 95 % intervals; and how many it takes to see one.

Every formula is of independent units: one row an entity.
"""

from __future__ import annotations

from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from training.evaluation import Figure, Z, wilson

Numbers = NDArray[np.float64]
Z_POWER = 0.841621  # of four differences out of five
LEAST_OUTCOMES = 5


def of_rates(first: int, of_first: int, second: int, of_second: int) -> Figure:
    """The first share minus the second.

    The interval is Newcombe's, of two Wilson intervals: method 10 in Newcombe, "Interval estimation for the difference between
    independent proportions", Statistics in Medicine 17 (1998). It stays honest for small shares.
    """
    one, two = first / of_first, second / of_second
    (low, high), (lower, upper) = wilson(first, of_first), wilson(second, of_second)
    value = one - two
    return Figure(
        value, value - sqrt((one - low) ** 2 + (upper - two) ** 2), value + sqrt((high - one) ** 2 + (two - lower) ** 2)
    )


def of_means(first: Numbers, second: Numbers) -> Figure | None:
    """The first mean minus the second, by Welch's t: Welch, "The generalization of 'Student's' problem", Biometrika 34 (1947),
    with Satterthwaite's degrees of freedom. None where a group has fewer than two rows or nothing differs at all.
    """
    from scipy.stats import t

    if min(len(first), len(second)) < 2:
        return None
    one, two = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    if not one + two:
        return None
    freedom = (one + two) ** 2 / (one**2 / (len(first) - 1) + two**2 / (len(second) - 1))
    value, half = float(first.mean() - second.mean()), float(t.ppf(0.975, freedom) * sqrt(one + two))
    return Figure(value, value - half, value + half)


def of_acted(first: tuple[Numbers, Numbers], second: tuple[Numbers, Numbers]) -> Figure | None:
    """What acting did to those who were acted on because of their group, as a difference of rates.

    The difference of the outcomes over the difference of the shares acted on: Bloom, "Accounting for no-shows in experimental
    evaluation designs", Evaluation Review 8 (1984); Imbens and Angrist, "Identification and estimation of local average treatment
    effects", Econometrica 62 (1994). The interval holds every effect that the data do not contradict: Anderson and Rubin, Annals
    of Mathematical Statistics 20 (1949), which has an end only where the shares acted on surely differ.

    Args:
        first, second: outcomes and whether acted on, 0 or 1, row by row of each group.

    Returns:
        None where the shares acted on may be the same, or an outcome is too rare for its variance to be known.
    """
    groups = (first, second)
    if any(not LEAST_OUTCOMES <= outcomes.sum() <= len(outcomes) - LEAST_OUTCOMES for outcomes, _ in groups):
        return None
    outcome, acted = (float(first[i].mean() - second[i].mean()) for i in (0, 1))
    spread = sum((np.cov(outcomes, acts, ddof=1) / len(acts) for outcomes, acts in groups), np.zeros((2, 2)))
    squares = acted**2 - Z**2 * spread[1, 1]
    if squares <= 0:
        return None
    middle = (acted * outcome - Z**2 * spread[0, 1]) / squares
    rest = middle**2 - (outcome**2 - Z**2 * spread[0, 0]) / squares
    half = sqrt(max(rest, 0.0))
    return Figure(outcome / acted, middle - half, middle + half)


def needed(rate: float, difference: float, share: float) -> int | None:
    """How many entities it takes, in both groups together, to see a difference four times out of five.

    Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions" (2003), chapter 4, without correction for continuity.

    Args:
        rate: how often the outcome happens in the small group.
        difference: of the other group's rate from it.
        share: the small group's share of all.

    Returns:
        None where no number would do: nobody is in one of the groups, or there is no such rate.
    """
    other, ratio = rate + difference, (1 - share) / share if share else 0.0
    if not ratio or not difference or not 0 < rate < 1 or not 0 <= other <= 1:
        return None
    mean = (rate + ratio * other) / (1 + ratio)
    of_chance = Z * sqrt((ratio + 1) * mean * (1 - mean))
    of_power = Z_POWER * sqrt(ratio * rate * (1 - rate) + other * (1 - other))
    return ceil((of_chance + of_power) ** 2 / (ratio * difference**2) * (1 + ratio))


def seen(rate: float, first: int, second: int) -> float:
    """The smallest difference of rates that groups of these sizes show four times out of five."""
    return (Z + Z_POWER) * sqrt(rate * (1 - rate) * (1 / first + 1 / second))
