"""What a feature may be expected to look like on a day, judged by the dates its model was trained on.

A day is held against several things that would all be ordinary: every reference date taken together, the newest one, the same
weeks a year before, a day that was the same day of the week, and the line along which the reference dates move, drawn on. The
nearest of them counts: what any of them explains has not drifted. So a swing that came last December comes as no surprise
this December, and an age, a tenure or a lifetime count, which grows because time passes, is expected to have grown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from serving.monitor.drift.bins import Counts
from serving.monitor.drift.distance import noise, shares
from training.contract import Floats

LEVELS = np.linspace(0, 1, 21)  # of the quantiles that are kept of each date
LEAST_AT_A_DATE = 50  # a date of fewer rows tells little, and is left out where there are others
LEAST_DATES = 3  # for a line
YEAR, WEEK, REACH = 364.0, 7.0, 28.0  # days; a year of whole weeks keeps the day of the week
SEASON = 42.0  # days before and after the same day of another year
MOST_DATES = 0.8  # of the reference dates, whose variation is ordinary all year round


@dataclass(frozen=True)
class Expected:
    """One thing that would be ordinary: in words, the share of each bin, and of how many rows it is as sure as a sample is."""

    words: str
    shares: Floats
    rows: float


@dataclass(frozen=True)
class Nearest:
    """The nearest thing that would be ordinary, and how far a sample is from it: the PSI, less what chance adds on average."""

    expected: Expected
    psi: float
    noise: float
    excess: float
    bins: int


@dataclass(frozen=True)
class Past:
    """How a feature was distributed at the dates a model was trained on.

    Attributes:
        days: of each date, since 1970, rising.
        counts: a row a date, a column a bin.
        spots: of a number without ties the quantiles at `LEVELS` of each date, else none.
        edges: of its bins.
        further: days and counts of the other days of the week after the newest date.
        besides: what else would be ordinary on any day.
    """

    days: Floats
    counts: Counts
    spots: Floats | None
    edges: Floats
    further: tuple[Floats, Counts]
    besides: tuple[Expected, ...] = ()

    def expected(self, at: float) -> Iterator[Expected]:
        """Everything that would be ordinary on a day."""
        yield Expected("its reference dates together", self._together, self._rows)
        yield Expected("its newest reference date", self._shares[-1], float(self.counts[-1].sum()))
        yield from self.besides
        yield from self._season(at)
        yield from self._weekday(at)
        yield from self._lines(at)

    def nearest(self, counts: Counts, at: float) -> Nearest:
        """How far the rows of a day are from the nearest of them. A bin that is empty on either side takes no part in chance."""
        every = tuple(self.expected(at))
        there, now = np.array([one.shares for one in every]), shares(counts)
        rows = np.array([one.rows for one in every])
        found = ((now - there) * np.log(now / there)).sum(axis=1)  # as `psi`, of all at once
        unsure = noise(float(counts.sum()), rows)
        bins = ((counts > 0) | (there * rows[:, None] >= 1)).sum(axis=1)
        excess = found - np.maximum(bins - 1, 0) * unsure
        best = int(np.argmin(excess))
        return Nearest(every[best], float(found[best]), float(unsure[best]), float(excess[best]), int(bins[best]))

    def until(self, day: float) -> Past:
        """What was known of it up to a day."""
        kept = self.days <= day
        spots = None if self.spots is None else self.spots[kept]
        none = (np.empty(0), self.counts[:0])
        return Past(self.days[kept], self.counts[kept], spots, self.edges, none, self.besides)

    def only(self, bins: slice) -> Past:
        """The rows of some bins."""
        days, counts = self.further
        return Past(self.days, self.counts[:, bins], None, self.edges, (days, counts[:, bins]))

    def share_of(self, bin: int) -> Past:
        """Two bins: whatever is not in one bin, and that bin."""
        return Past(self.days, _apart(self.counts, bin), None, self.edges, (self.further[0], _apart(self.further[1], bin)))

    def ordinary(self, at: float, size: Callable[[Counts, Nearest], float]) -> float | None:
        """How large a distance is ordinary on a day: what the same comparison would have found at the reference dates of the
        newest year, each judged by those that lay before it as far as the newest lies before the day, but no farther than
        half the history.

        The largest of the dates at the same time of the year, and at least what four of five dates show: a swing of December is
        ordinary in December only, and what happened once is not. None where the dates are too few to tell.
        """
        lag = min(max(at - self.days[-1], 1.0), (self.days[-1] - self.days[0]) / 2)
        sizes, in_season = [], []
        for day, counts in zip(self.days[self._newest], self.counts[self._newest], strict=True):
            before = self.until(day - lag)
            if len(before.days) >= LEAST_DATES:
                sizes.append(size(counts, before.nearest(counts, float(day))))
                in_season.append(abs((at - day + YEAR / 2) % YEAR - YEAR / 2) <= SEASON)
        if not sizes:
            return None
        seasonal = [one for one, is_in in zip(sizes, in_season, strict=True) if is_in]
        return max(*seasonal, float(np.quantile(sizes, MOST_DATES, method="higher")), 0.0)

    @cached_property
    def _shares(self) -> Floats:
        """Of each date."""
        return shares(self.counts)

    @cached_property
    def _together(self) -> Floats:
        return shares(self.counts.sum(axis=0))

    @cached_property
    def _rows(self) -> float:
        """As sure as one date is: the same entities are in several, and a sum of them would seem surer than it is."""
        return float(np.median(self.counts.sum(axis=1)))

    def _season(self, at: float) -> Iterator[Expected]:
        """The dates around the same day a year before, or two, and the middle between them where it lies."""
        for years in (1, 2):
            then = at - years * YEAR
            around = [place for place, day in enumerate(self.days) if abs(day - then) <= REACH]
            for place in around:
                yield Expected("the same weeks a year before", self._shares[place], float(self.counts[place].sum()))
            if len(around) > 1 and self.days[around[0]] <= then <= self.days[around[-1]]:
                yield Expected("the same weeks a year before", _between(self.days, self._shares, then), self._rows)

    def _weekday(self, at: float) -> Iterator[Expected]:
        for day, counts in zip(*self.further, strict=True):
            if round(at - day) % WEEK == 0:
                yield Expected("the same day of the week", shares(counts), float(counts.sum()))

    @cached_property
    def _newest(self) -> slice:
        """The dates of the newest year."""
        return slice(int(np.searchsorted(self.days, self.days[-1] - YEAR)), None)

    def _lines(self, at: float) -> Iterator[Expected]:
        """The lines through the dates of the newest year, of the roots of the shares, and of a number without ties of its
        quantiles.

        The root of a share varies alike wherever it lies, but not for ever in one direction: its line is drawn on no farther
        than it is long. It is as unsure as a least-squares forecast is at its point.
        """
        days = self.days[self._newest]
        if len(days) < LEAST_DATES:
            return
        end = min(at, 2 * days[-1] - days[0])
        roots, unsure = _line(days, np.sqrt(self._shares[self._newest]), end)
        drawn = np.maximum(roots, 0) ** 2
        rows = self._rows / max(unsure, 1.0)
        yield Expected("its trend", shares(drawn / drawn.sum() * rows), rows)
        if self.spots is not None:
            spots, _ = _line(days, self.spots[self._newest], at)
            known = _shares_of(np.maximum.accumulate(spots), self.edges) * (1 - drawn[-1] / drawn.sum())
            yield Expected("its trend", shares(np.r_[known, drawn[-1] / drawn.sum()] * rows), rows)


def _apart(counts: Counts, bin: int) -> Counts:
    return np.column_stack([counts.sum(axis=1) - counts[:, bin], counts[:, bin]])


def _line(days: Floats, values: Floats, at: float) -> tuple[Floats, float]:
    """The least-squares line of each column at a day, and its variance there in units of that of one value."""
    away, spread = days - days.mean(), float(((days - days.mean()) ** 2).sum())
    slope = away @ (values - values.mean(axis=0)) / spread
    ahead = at - float(days.mean())
    return values.mean(axis=0) + slope * ahead, 1 / len(days) + ahead**2 / spread


def _between(days: Floats, values: Floats, at: float) -> Floats:
    return np.array([np.interp(at, days, column) for column in values.T])


def _shares_of(spots: Floats, edges: Floats) -> Floats:
    """The share of a distribution with these quantiles below the first edge, between edges, and from the last on."""
    below = np.interp(edges, spots, LEVELS, left=0.0, right=1.0)
    return np.diff(np.r_[0.0, below, 1.0])
