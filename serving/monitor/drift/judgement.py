"""The judgement of a day: which features and scores are distributed otherwise than may be expected.

Three things must come together. What is found is beyond chance, at a level that is divided by the number of things looked at
(Bonferroni); it is large enough to matter (`[monitor] psi`); and it is beyond anything that the same comparison would have
found at the reference dates themselves. The same entities are in the rows of several dates. That makes two dates differ less
than independent samples would, so the level errs towards silence; and dates taken together count as no more rows than one of
them has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from features.monitoring import MonitorSettings
from serving.monitor.drift.bins import Bins, Counts
from serving.monitor.drift.distance import chance, effect, jensen_shannon, shares
from serving.monitor.drift.expectation import Expected, Nearest, Past
from serving.monitor.drift.look import Look
from serving.monitor.drift.reference import Counted, Reference, day
from serving.monitor.tables.incident import shown

LEVEL = 0.01  # of one look at everything
MARGIN = 1.5  # beyond the most that the reference dates show
UNKNOWN = 2.5  # times the threshold, where there are too few dates to know what is ordinary
SMALL = 0.15  # Cohen's h; 5 % of 1 in 20 doubled is 0.17
LEAST_SHARE = 0.02  # of the rows that must have come to be missing or unseen


@dataclass(frozen=True)
class Share:
    """Rows without a value, or with one that the model does not know: their share, what was to be expected, and whether it has
    grown beyond chance, season and measure."""

    now: float
    expected: float
    effect: float
    p_value: float
    has_grown: bool


@dataclass(frozen=True)
class Moved:
    """What became of one feature, or of the scores.

    Attributes:
        name: of the feature, or `score`.
        importance: its share in the model.
        rows: that were looked at.
        labels: of its bins.
        shares, expected: of its bins, now and what was to be expected.
        compared_with: what that expectation is, in words.
        psi, jensen_shannon: between the two.
        excess: the PSI less what chance adds to it on average.
        p_value: how probable a PSI as large is if nothing has changed.
        threshold: what the excess must reach to be called drift.
        missing, unseen: of a feature; `unseen` of a category only.
        median, expected_median: of a number, now and at its newest reference date.
        has_drifted: whether it is distributed otherwise, beyond what is missing or unseen.
    """

    name: str
    importance: float
    rows: int
    labels: tuple[str, ...]
    shares: tuple[float, ...]
    expected: tuple[float, ...]
    compared_with: str
    psi: float
    jensen_shannon: float
    excess: float
    p_value: float
    threshold: float
    missing: Share | None
    unseen: Share | None
    median: float | None
    expected_median: float | None
    has_drifted: bool

    @property
    def is_found(self) -> bool:
        """Whether anything is to be said about it."""
        return self.has_drifted or any(one is not None and one.has_grown for one in (self.missing, self.unseen))


class Judge:
    """Holds days against a reference."""

    def __init__(self, reference: Reference, settings: MonitorSettings, reference_rows: int) -> None:
        """Args: the reference, the thresholds, and how many rows the contract's own reference was made of."""
        self._reference, self._settings, self._reference_rows = reference, settings, reference_rows
        self._pasts = {name: reference.past(one) for name, one in reference.features.items()}

    @cached_property
    def level(self) -> float:
        """Of one comparison: each feature may drift, be missing or be unseen, and so may the scores drift."""
        return LEVEL / (3 * len(self._reference.features) + 1)

    def is_enough(self, look: Look) -> bool:
        """Whether drift can be told from so many rows."""
        return look.rows >= self._settings.least_rows

    def feature(self, name: str, look: Look) -> Moved:
        """One feature on one day."""
        past, at, counts = self._pasts[name], day(look.as_of), np.array(look.features[name], dtype=np.int64)
        counted = self._reference.features[name]
        missing = self._share(past, counts, -1, at)
        unseen = None if counted.bins.categories is None else self._share(past, counts, -2, at)
        last = -2 if unseen is not None and unseen.has_grown else -1 if missing.has_grown else None
        told, rest = past.nearest(counts, at), slice(0, last)
        has_drifted, threshold = (
            self._has_drifted(past.only(rest), counts[rest], at) if last else self._has_drifted(past, counts, at, told)
        )
        expected_median = counted.spots[-1][len(counted.spots[-1]) // 2] if counted.spots else None
        return _moved(
            name, self._reference.importance.get(name, 0.0), counted, counts, told, threshold, has_drifted,
            missing, unseen, look.medians.get(name), expected_median,
        )  # fmt: skip

    def scores(self, look: Look) -> Moved:
        """The scores of one day; what is ordinary for them is above all what the model said of rows it was not fitted on."""
        counted, at, past = self._reference.scores, day(look.as_of), self._past_scores
        counts = np.array(look.scores, dtype=np.int64)
        told = past.nearest(counts, at)
        has_drifted, threshold = self._has_drifted(past, counts, at, told)
        return _moved("score", 1.0, counted, counts, told, threshold, has_drifted, None, None, None, None)

    @cached_property
    def _past_scores(self) -> Past:
        past = self._reference.past(self._reference.scores)
        rows = float(min(self._reference_rows, max(self._reference.rows[: len(self._reference.dates)])))
        tested = Expected("the rows it was tested on", shares(np.array(self._reference.promised) * rows), rows)
        return replace(past, besides=(tested,))

    def _has_drifted(self, past: Past, counts: Counts, at: float, told: Nearest | None = None) -> tuple[bool, float]:
        """Whether rows are distributed otherwise, and from which excess on that would be said."""
        found, least = told or past.nearest(counts, at), self._settings.psi
        if int(counts.sum()) < self._settings.least_rows or found.excess < least:
            return False, least
        ordinary = past.ordinary(at, lambda _, one: one.excess)
        threshold = UNKNOWN * least if ordinary is None else max(least, MARGIN * ordinary)
        return found.excess >= threshold and self._chance(found) < self.level, threshold

    def _share(self, past: Past, counts: Counts, bin: int, at: float) -> Share:
        """A proportion against the nearest that was to be expected: a test of two proportions, and its size as Cohen's h."""
        two, rows = past.share_of(bin), int(counts.sum())
        apart = np.array([rows - counts[bin], counts[bin]])
        found = two.nearest(apart, at)
        now, expected = float(counts[bin] / max(rows, 1)), float(found.expected.shares[1])
        size, p_value = effect(now, expected), self._chance(found)
        is_large = size >= SMALL and now - expected >= LEAST_SHARE and rows >= self._settings.least_rows
        return Share(now, expected, size, p_value, is_large and p_value < self.level and size >= _ordinary_effect(two, at))

    def _chance(self, found: Nearest) -> float:
        return chance(found.psi, found.noise, found.bins)


def _ordinary_effect(past: Past, at: float) -> float:
    """By how much a proportion grows between the reference dates, with the margin."""
    known = past.ordinary(at, lambda counts, one: effect(float(counts[1] / max(counts.sum(), 1)), float(one.expected.shares[1])))
    return UNKNOWN * SMALL if known is None else MARGIN * known


def _labels(bins: Bins) -> tuple[str, ...]:
    """Of bins, as they may be told: a category may name somebody, and a sentence goes out by mail."""
    return bins.labels if bins.categories is None else tuple(map(shown, bins.labels))


def _moved(
    name: str, importance: float, counted: Counted, counts: Counts, told: Nearest, threshold: float, has_drifted: bool,
    missing: Share | None, unseen: Share | None, median: float | None, expected_median: float | None,
) -> Moved:  # fmt: skip
    now = shares(counts)
    return Moved(
        name=name,
        importance=importance,
        rows=int(counts.sum()),
        labels=_labels(counted.bins),
        shares=tuple((counts / max(int(counts.sum()), 1)).tolist()),
        expected=tuple(told.expected.shares.tolist()),
        compared_with=told.expected.words,
        psi=told.psi,
        jensen_shannon=jensen_shannon(now, told.expected.shares),
        excess=told.excess,
        p_value=chance(told.psi, told.noise, told.bins),
        threshold=threshold,
        missing=missing,
        unseen=unseen,
        median=median,
        expected_median=expected_median,
        has_drifted=has_drifted,
    )
