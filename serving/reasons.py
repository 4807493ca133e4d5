"""Reasons: the features that moved one score most, in words a rep can repeat.

A reason is made once, when a score is made, and stored with it. Whoever shows a stored score reads its reasons back; they are
never made again, because the features, the model and the words may have changed since.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from serving.plain import Plain
from serving.wording import Value, Wording, nothing, shown
from training.contract import Floats

Direction = Literal["raises", "lowers"]
Places = NDArray[np.intp]

TOP = 5
FEW = 4  # rows
SENTENCES_KEPT = 1_000  # of each feature


class Reason(Plain):
    """One measure's part in one score.

    Attributes:
        feature: the one that is spoken about: of twins, which are one measure over several windows, the one that moved most.
        features: all of the twins, in the model's order; mostly the feature alone.
        value: of the feature.
        text: what it says, in words.
        direction: whether it raises or lowers the probability.
        contribution: of all twins together, in log-odds, as the model's answer is shared out; a positive one raises it.
    """

    feature: str
    features: tuple[str, ...]
    value: Value
    text: str
    direction: Direction
    contribution: float


class Reasoner:
    """Finds the measures that moved scores most, and speaks about them.

    Twins speak once: the 30 and the 90 day window of one measure are one reason, with the sum of their contributions.
    """

    def __init__(self, wording: Sequence[Wording], categories: Collection[str] = ()) -> None:
        """Take how to speak about each feature, in the model's order, and which of them are categories to the model."""
        self.wording = wording
        self._names = [one.feature.name for one in wording]
        twins: dict[str, list[int]] = {}
        for position, one in enumerate(wording):
            twins.setdefault(one.feature.measure, []).append(position)
        self.twins = [tuple(mine) for mine in twins.values()]
        self._sentences: list[dict[Value, str]] = [{} for _ in wording]  # the same counts and days come again
        self._told_of = [tuple(self._names[i] for i in mine) for mine in self.twins]
        self._side_by_side = np.array([position for mine in self.twins for position in mine], dtype=np.intp)
        self._first = np.cumsum([0, *(len(mine) for mine in self.twins[:-1])])
        width = max(map(len, self.twins), default=0)
        self._is_category = np.array([name in categories for name in self._names], dtype=bool)
        self._padded = np.array([[*mine, *[-1] * (width - len(mine))] for mine in self.twins], dtype=np.intp)

    def reasons(
        self, rows: Sequence[Mapping[str, Value]], contributions: Floats, encoded: Floats | None = None
    ) -> list[tuple[Reason, ...]]:
        """The reasons of each score: the largest contributions, largest first; ties in the model's order.

        Args:
            rows: each entity's value of each feature, by name.
            contributions: one row per entity, one column per feature: the log-odds it adds, without the model's base value.
            encoded: the values as the model was given them, in the shape of `contributions`, where they are at hand: to take many
                numbers from there costs less than to ask each row.
        """
        if not self.twins:
            return [() for _ in rows]
        measures, sums = self.largest(contributions)
        every = np.arange(len(rows))[:, np.newaxis]
        spoken = self.spoken(contributions, every, measures, sums)
        features = spoken.tolist()
        if encoded is None:
            values = [[row[self._names[feature]] for feature in mine] for row, mine in zip(rows, features, strict=True)]
        else:
            values = encoded[every, spoken].tolist()
            for place, number in np.argwhere(self._is_category[spoken]).tolist():
                values[place][number] = rows[place][self._names[features[place][number]]]
        return list(map(self._told, values, measures.tolist(), features, sums.tolist()))

    def largest(self, contributions: Floats) -> tuple[Places, Floats]:
        """The measures that moved each score most, largest first, and by how much: places in `twins`, and log-odds."""
        sums = np.add.reduceat(contributions[:, self._side_by_side], self._first, axis=1)
        largest = _largest(np.abs(sums))
        return largest, sums[np.arange(len(sums))[:, np.newaxis], largest]

    def spoken(self, contributions: Floats, row: Places, measure: Places, total: Floats) -> Places:
        """The feature that is spoken about: of twins the one that moved the score most in the direction of them all.

        Args:
            contributions: as `reasons`.
            row, measure, total: of each reason, in one shape: the row, the place in `twins`, and what all of them added.
        """
        twins = self._padded[measure]
        if twins.shape[-1] == 1:
            return twins[..., 0]
        added = contributions[row[..., np.newaxis], twins] * np.where(total > 0, 1.0, -1.0)[..., np.newaxis]
        added[twins < 0] = -np.inf
        chosen: Places = np.take_along_axis(twins, added.argmax(axis=-1)[..., np.newaxis], axis=-1)[..., 0]
        return chosen

    def shown(self, name: str, value: Value) -> str:
        """A value of one of the features, as people write it."""
        feature = self.wording[self._names.index(name)].feature
        if value is None or value != value:
            return nothing(feature)
        return value if isinstance(value, str) else shown(feature, value)

    def _told(
        self, values: Sequence[Value], measures: Sequence[int], spoken: Sequence[int], totals: Sequence[float]
    ) -> tuple[Reason, ...]:
        """The reasons of one score."""
        told = []
        for value, measure, feature, total in zip(values, measures, spoken, totals, strict=True):
            if not total:
                continue
            known = None if value != value else value
            direction: Direction = "raises" if total > 0 else "lowers"
            text = self._sentences[feature].get(known) or self._sentence(feature, known)
            told.append(Reason(self._names[feature], self._told_of[measure], known, text, direction, total))
        return tuple(told)

    def _sentence(self, feature: int, value: Value) -> str:
        """What is said of a value, kept while there is room: to make room for amounts, of which few come again, costs more."""
        text, kept = self.wording[feature].sentence(value), self._sentences[feature]
        if len(kept) < SENTENCES_KEPT:
            kept[value] = text
        return text


def _largest(sizes: Floats) -> Places:
    """The places of the `TOP` largest of each row, largest first; ties in order.

    All are sorted only of few rows, where that costs less, and where equal ones are at the end.
    """
    if len(sizes) > FEW and sizes.shape[1] > TOP:
        least = np.partition(sizes, -TOP, axis=1)[:, -TOP, np.newaxis]
        is_large = sizes >= least
        if (is_large.sum(axis=1) == TOP).all():
            places = np.nonzero(is_large)[1].reshape(-1, TOP)
            return np.take_along_axis(places, np.argsort(-np.take_along_axis(sizes, places, 1), axis=1, kind="stable"), 1)
    return np.argsort(-sizes, axis=1, kind="stable")[:, :TOP]
