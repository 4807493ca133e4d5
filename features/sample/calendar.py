"""The calendar of the sample CRM: its weeks and days, and what happens to everybody at once.

Times inside the simulation are numbers of weeks since `start`, a Monday on the grid of the propensities, so that every as_of
falls between two weeks. They become instants, cut to whole seconds, when rows are written.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from features.propensity import GRID_ORIGIN
from features.sample.risk import Floats, Integers
from features.sample.turn import Turn, pace

Instants = NDArray[np.datetime64]
HISTORY_WEEKS = 117  # 24 months that can be learned from, after 90 days in which windows and shocks fill up
WARM_UP_WEEKS = 13
YEAR = 365.25 / 7
SECONDS = 7 * 24 * 3600


@dataclass(frozen=True)
class Calendar:
    """From `start` (a Monday) over `weeks` weeks; nothing at or after `now` is written.

    In the last `quiet_weeks` nothing happens to everybody at once but the `turns`: price rises and the campaign lie before them.
    """

    start: datetime
    now: datetime
    weeks: int
    quiet_weeks: int = 0
    turns: tuple[Turn, ...] = ()

    @classmethod
    def until(cls, now: datetime, quiet_weeks: int = 0, turns: tuple[Turn, ...] = ()) -> Calendar:
        """The calendar whose last week holds the instant before `now`."""
        last = GRID_ORIGIN + (now - GRID_ORIGIN) // timedelta(weeks=1) * timedelta(weeks=1)
        return cls(last - timedelta(weeks=HISTORY_WEEKS), now, HISTORY_WEEKS + 1, quiet_weeks, turns)

    @property
    def days(self) -> int:
        return 7 * self.weeks

    @property
    def end(self) -> float:
        """`now`, in weeks."""
        return (self.now - self.start) / timedelta(weeks=1)

    @property
    def last(self) -> np.datetime64:
        """`now`, to compare instants with."""
        return np.datetime64(self.now.replace(tzinfo=None), "s")

    @property
    def first_as_of(self) -> datetime:
        return self.start + timedelta(weeks=WARM_UP_WEEKS)

    def instants(self, weeks: Floats) -> Instants:
        """Instants in UTC, whole seconds; infinite becomes missing."""
        finite = np.isfinite(weeks)
        seconds = np.floor(np.where(finite, weeks, 0.0) * SECONDS).astype(np.int64)
        instants = np.datetime64(self.start.replace(tzinfo=None), "s") + seconds.astype("timedelta64[s]")
        return np.asarray(np.where(finite, instants, np.datetime64("NaT")))

    def week_of(self, as_of: datetime) -> int:
        return (as_of - self.start) // timedelta(weeks=1)

    def wave(self, peak_week: int, steps: int, step_weeks: float = 1.0) -> Floats:
        """A yearly wave between -1 and 1 that peaks in a week of the year, at the middle of every step."""
        since_new_year = (self.start - self.start.replace(month=1, day=1)) / timedelta(weeks=1)
        week = since_new_year + (np.arange(steps) + 0.5) * step_weeks
        return np.cos(2 * math.pi * (week - peak_week) / YEAR)

    def price_rises(self) -> Integers:
        """The weeks in which every running subscription becomes five per cent dearer."""
        return np.array([self._eventful * 3 // 10, self._eventful * 7 // 10])

    def spike(self) -> tuple[int, int]:
        """The weeks of the big campaign, first and one past the last, which floods the CRM with leads."""
        first = self._eventful * 55 // 100
        return first, first + 3

    @property
    def _eventful(self) -> int:
        return self.weeks - self.quiet_weeks

    def pace(self, lean: Floats, steps: int, step_weeks: float = 1.0) -> Floats | None:
        """What the turns multiply the rates of subjects of these inclinations by, (subjects, steps); None without turns."""
        return pace(self.turns, self.start, np.arange(steps) * step_weeks, lean) if self.turns else None


def choose(rng: np.random.Generator, shares: dict[str, float], size: int) -> NDArray[np.str_]:
    """Values drawn with the given shares."""
    weights = np.array(list(shares.values()))
    return np.array(list(shares))[rng.choice(len(shares), size=size, p=weights / weights.sum())]


def weigh(effects: dict[str, float], values: NDArray[np.str_]) -> Floats:
    """The effect of each value; a value that is not listed has none."""
    names, codes = np.unique(values, return_inverse=True)
    return np.array([effects.get(str(name), 0.0) for name in names], dtype=float)[codes.reshape(values.shape)]
