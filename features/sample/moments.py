"""When things happen: instants drawn from rates and shocks, and how late a CRM hears of them. All times are in steps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from features.sample.risk import Floats, Integers, Shock


class Moments(NamedTuple):
    """One entry per happening: whose it is (row number) and when the CRM learned of it."""

    rows: Integers
    known: Floats

    def pick(self, keep: np.ndarray) -> Moments:
        """Some of them."""
        return Moments(self.rows[keep], self.known[keep])


def scatter(rng: np.random.Generator, mean: Floats, begin: Floats, end: Floats) -> Moments:
    """Happenings with a mean number per subject and step, uniform within a step, none outside `[begin, end)`."""
    counts = rng.poisson(mean)
    rows, steps = np.nonzero(counts)
    number = counts[rows, steps]
    rows, steps = np.repeat(rows, number), np.repeat(steps, number)
    known = steps + rng.random(len(rows))
    return Moments(rows, known).pick((known >= begin[rows]) & (known < end[rows]))


def strike(rng: np.random.Generator, shock: Shock, begin: Floats, end: Floats) -> Moments:
    """One happening per shock, in the part of its step that lies after `begin`; none from `end` on."""
    rows, steps = np.nonzero(shock.happened)
    earliest = np.maximum(steps, begin[rows])
    known = earliest + rng.random(len(rows)) * (steps + 1 - earliest)
    return Moments(rows, known).pick(known < end[rows])


def happened_at(rng: np.random.Generator, moments: Moments, begin: Floats, share: float, longest: float) -> Floats:
    """When it really happened: as a rule when it became known, for a share of the rows up to `longest` steps before.

    The CRM's knowledge, not the fact, is what the simulation runs on: a late row never acts before it is known.
    """
    late = rng.random(len(moments.rows)) < share
    lag = np.where(late, rng.random(len(late)) * longest, 0.0)
    return np.maximum(moments.known - lag, np.minimum(begin[moments.rows], moments.known))
