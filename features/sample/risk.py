"""Risks of the sample CRM: rates that rise and fall, and the exact probability of what they lead to.

A risk runs in steps (a week, a day) within which its rate is constant:

    rate[i, t] = scale[i] * pace[i, t] * (base[i, t] + sum of effect[t - u - 1] over every shock that happened in a step u < t)

where pace is 1 but in a world that turns (features/sample/turn.py). Shocks happen independently, in a step with a known chance,
and act from the next step on. Knowing what happened before step `at`, the probability that nothing has come of the risk n steps
later is therefore, in closed form,

    exp(-scale * known hazard) * product over u < n of (1 - chance[u] * (1 - exp(-scale * later[u, n])))

    later[u, n] = sum over k < n - u - 1 of pace[u + 1 + k] * effect[k]

where the product is the expectation over the shocks still to come. This is the survival function of a Cox process
(Cox 1955) whose intensity is driven by Bernoulli shocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Integers = NDArray[np.integer]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Shock:
    """Something that happens now and then and raises a rate for a while.

    Attributes:
        chance: the probability that it happens in a step, (subjects, steps).
        effect: what it adds to the rate, before scale, in the steps after it happened, (lags,).
        happened: whether it did, (subjects, steps).
    """

    chance: Floats
    effect: Floats
    happened: Flags

    @classmethod
    def draw(cls, rng: np.random.Generator, chance: Floats, effect: Floats, begin: Integers) -> Shock:
        """Let it happen at random from the step `begin` of each subject on."""
        happened = (rng.random(chance.shape) < chance) & (np.arange(chance.shape[1]) >= begin[:, None])
        return cls(chance, effect, happened)

    def level(self) -> Floats:
        """What it adds in every step, (subjects, steps)."""
        steps = self.happened.shape[1]
        lag = np.arange(steps)[None, :] - np.arange(steps)[:, None] - 1
        reach = (lag >= 0) & (lag < len(self.effect))
        kernel = np.where(reach, self.effect[np.clip(lag, 0, len(self.effect) - 1)], 0.0)
        return np.asarray(self.happened.astype(float) @ kernel)

    def known(self, rows: Integers, at: Integers, steps: int) -> Floats:
        """What those that happened before step `at` still add in the steps from `at` on, (rows, steps)."""
        row, step = np.nonzero(self.happened[rows])
        lag = at[row] - 1 - step
        acting = (lag >= 0) & (lag < len(self.effect))
        rest = np.lib.stride_tricks.sliding_window_view(np.pad(self.effect, (0, steps)), steps)
        added = np.zeros((len(rows), steps))
        np.add.at(added, row[acting], rest[lag[acting]])
        return added

    def expected(self, rows: Integers, at: Integers, scale: Floats, pace: Floats) -> Floats:
        """The logarithm of the expected survival of those still to come, after 1 ... steps steps, (rows, steps).

        `pace` is that of the steps from `at` on, (1 or rows, steps).
        """
        steps = pace.shape[1]
        effect = np.pad(self.effect, (0, steps))
        log = np.zeros((len(rows), steps))
        for ahead in range(steps):
            acting = pace[:, ahead + 1 :] * effect[: steps - ahead - 1]
            loss = 1 - np.exp(-scale[:, None] * np.pad(np.cumsum(acting, axis=1), ((0, 0), (1, 0))))
            chance = self.chance[rows, np.minimum(at + ahead, self.chance.shape[1] - 1)]
            log[:, ahead:] += np.log1p(-chance[:, None] * loss)
        return log


@dataclass(frozen=True)
class Risk:
    """The rate of one outcome for many subjects; `scale` is (subjects,), `base` and `pace` are (subjects, steps)."""

    scale: Floats
    base: Floats
    shocks: tuple[Shock, ...] = ()
    pace: Floats | None = None

    def rate(self) -> Floats:
        """The rate in every step, (subjects, steps)."""
        total = self.base.copy()
        for shock in self.shocks:
            total += shock.level()
        rate = self.scale[:, None] * total
        return rate if self.pace is None else rate * self.pace

    def survival(self, rows: Integers, at: Integers, horizon: float) -> Floats:
        """The probability that the outcome has not come, knowing all that happened before the beginning of step `at`.

        Returns:
            (rows, 1 + ceil(horizon)): after 0, 1, 2, ... steps, the last column after `horizon` steps. A broken last
            step is interpolated in the logarithm, which is exact for what is known and within 1e-5 for what is expected.
        """
        steps = math.ceil(horizon)
        ahead = at[:, None] + np.arange(steps)
        known, pace = self.base[rows[:, None], ahead], np.ones((1, steps))
        if self.pace is not None:
            pace = self.pace[rows[:, None], ahead]
        for shock in self.shocks:
            known = known + shock.known(rows, at, steps)
        log = np.zeros((len(rows), steps + 1))
        log[:, 1:] = -self.scale[rows, None] * np.cumsum(known * pace, axis=1)
        for shock in self.shocks:
            log[:, 1:] += shock.expected(rows, at, self.scale[rows], pace)
        log[:, -1] = log[:, -2] + (horizon - steps + 1) * (log[:, -1] - log[:, -2])
        return np.exp(log)


def probability(survival: Floats, rival: Floats) -> Floats:
    """The probability that the outcome comes, and before its rival does, from both survival functions on the same steps.

    The rival's survival is taken in the middle of each step, which is exact up to the square of a step's rate.
    """
    alive = np.sqrt(rival[:, :-1] * rival[:, 1:])
    return np.asarray((alive * -np.diff(survival, axis=1)).sum(axis=1))


def moment(rate: Floats, begin: Floats, threshold: Floats) -> Floats:
    """When the rate, added up since `begin`, reaches the threshold: with a unit exponential threshold, when the outcome comes.

    Args:
        rate: (subjects, steps), constant within a step.
        begin: in steps; a beginning before step 0 counts from step 0.

    Returns:
        The instant in steps; infinite when the threshold is not reached.
    """
    steps = rate.shape[1]
    total = np.zeros((len(rate), steps + 1))
    np.cumsum(rate, axis=1, out=total[:, 1:])
    rows = np.arange(len(rate))
    start = np.clip(begin, 0, steps)
    first = np.minimum(start.astype(int), steps - 1)
    target = total[rows, first] + (start - first) * rate[rows, first] + threshold
    step = (total <= target[:, None]).sum(axis=1) - 1
    inside = np.minimum(step, steps - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        instant = inside + (target - total[rows, inside]) / rate[rows, inside]
    return np.where(step < steps, instant, np.inf)
