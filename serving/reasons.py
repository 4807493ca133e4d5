"""Reasons: the features that moved one score most, in words a rep can repeat.

A reason is made once, when a score is made, and stored with it. Whoever shows a stored score reads its reasons back; they are
never made again, because the features, the model and the words may have changed since.
"""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from features.feature import ZERO_WHEN_NOTHING_HAPPENED, Feature
from features.propensity import Phrases
from serving.plain import Plain
from training.contract import Floats

Value = float | str | None
Direction = Literal["raises", "lowers"]

Range = tuple[float, float]
Places = NDArray[np.intp]

TOP = 5
FEW = 4  # rows
SENTENCES_KEPT = 1_000  # of each feature
NOT_KNOWN: Range = (math.nan, math.nan)
LEAST_CHANGE = 0.1  # of -1 to 1; a smaller one is not worth calling risen or fallen
_SAYS_NOTHING_HAPPENED = re.compile(r"\b(no|not|none|never|nothing|without)\b", re.IGNORECASE)
_SAYS_SEVERAL = re.compile(r"\b(several|many|often)\b", re.IGNORECASE)


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


@dataclass(frozen=True)
class Wording:
    """How to speak about one feature: its declaration, a propensity's own phrases for it, and what is usual.

    `usual` are the quartiles of the model's reference population: what lies between them is stated and not judged.
    """

    feature: Feature
    phrases: Phrases
    usual: Range

    def sentence(self, value: Value) -> str:
        """What the value of this feature says about an entity."""
        if value is None or value != value:
            return _absence(self.feature)
        if isinstance(value, str):
            return f"{self._topic}: {value}" if self._topic.startswith("Whether ") else f"{self._topic} is {value}"
        value += 0.0  # the zero below zero is a zero
        phrase = self._phrase(value) if self._has_phrase else ""
        if not phrase:
            below, above = self.usual
            compared = self._more if value > above else self._less if value < below else ""
            return f"{self._topic}: {self._shown(value)}{compared}"
        return phrase if self.feature.kind == "holds" else f"{phrase} ({self._shown(value)})"

    def _phrase(self, value: float) -> str:
        """The phrase that is true of the value, or none.

        The declared phrases compare with most others, and so does this; except that a change has "risen" or "fallen", whatever
        happened to everybody else, and that "no case" is said of somebody without a case, however few the others have.
        """
        if self._low_is_none and value == 0:
            return self._low
        if self._is_high(value):
            return "" if self._high_is_several and value < 2 else self._high
        return self._low if self._is_low(value) and not self._low_is_none else ""

    @cached_property
    def _topic(self) -> str:
        return _topic(self.feature)

    @cached_property
    def _shown(self) -> Callable[[float], str]:
        return _writer(self.feature)

    @cached_property
    def _high(self) -> str:
        return self.phrases.high or self.feature.high

    @cached_property
    def _low(self) -> str:
        return self.phrases.low or self.feature.low

    @cached_property
    def _has_phrase(self) -> bool:
        return bool(self._high or self._low)

    @cached_property
    def _low_is_none(self) -> bool:
        """Whether the phrase for a low count says that there was none at all."""
        return self.feature.kind in ZERO_WHEN_NOTHING_HAPPENED and bool(_SAYS_NOTHING_HAPPENED.search(self._low))

    @cached_property
    def _high_is_several(self) -> bool:
        """Whether the phrase for a high count speaks of more than one."""
        return self.feature.kind in ZERO_WHEN_NOTHING_HAPPENED and bool(_SAYS_SEVERAL.search(self._high))

    def _is_high(self, value: float) -> bool:
        if self.feature.kind == "change":
            return value >= LEAST_CHANGE
        return value > (0.5 if self.feature.kind == "holds" else self.usual[1])

    def _is_low(self, value: float) -> bool:
        if self.feature.kind == "change":
            return value <= -LEAST_CHANGE
        return value < (0.5 if self.feature.kind == "holds" else self.usual[0])

    @cached_property
    def _more(self) -> str:
        return "" if self.feature.kind in ("weekday", "hour") else ", more than most"

    @cached_property
    def _less(self) -> str:
        if self.feature.kind in ("weekday", "hour"):
            return ""
        return ", fewer than most" if self.feature.kind in ("count", "distinct") else ", less than most"


def wordings(
    names: Sequence[str], declarations: Mapping[str, Feature], phrases: Mapping[str, Phrases], usual: Mapping[str, Range]
) -> tuple[Wording, ...]:
    """How to speak about each feature of a model, in the model's order.

    Args:
        names: the features, ordered as in the model's contract.
        declarations: the declared features of the entity, by name.
        phrases: the `[reasons]` of the propensity.
        usual: the quartiles of each number in the model's reference population.
    """
    return tuple(
        Wording(
            declarations.get(name) or Feature(name, "external"),
            phrases.get(name) or Phrases(high="", low=""),
            usual.get(name, NOT_KNOWN),
        )
        for name in names
    )


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
            return _nothing(feature)
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


def shown(feature: Feature, value: float) -> str:
    """A number as people write it: `12 days`, `45 %`, `1,200 points`, `Friday`, `-0.6`; one without end as `infinite`."""
    return _writer(feature)(value)


def _writer(feature: Feature) -> Callable[[float], str]:
    """`shown` of one feature: how its numbers are written is found out once."""
    words = _unit(feature.unit)
    write = _OF_KIND.get(feature.kind) or _OF_UNIT.get(feature.unit) or (partial(_counted, words=words) if words else _plain)
    return lambda value: write(value) if math.isfinite(value) else "infinite" if value > 0 else "minus infinite"


def _days(value: float) -> str:
    days = round(value, 0 if abs(value) >= 10 else 1)
    return _counted(days, "day" if days == 1 else "days")


def _counted(value: float, words: str) -> str:
    return f"{_plain(value)} {words}"


_OF_KIND: dict[str, Callable[[float], str]] = {
    "weekday": lambda value: calendar.day_name[int(value) - 1],
    "hour": lambda value: f"{int(value):02d}:00 UTC",
    "change": lambda value: f"{value:+.1f}" if round(value, 1) else "0",
}
_OF_UNIT: dict[str, Callable[[float], str]] = {"days": _days, "share": lambda value: f"{value:.0%}".replace("%", " %")}


def _absence(feature: Feature) -> str:
    """What it means that a feature has no value."""
    topic = _topic(feature)
    if feature.kind in ("attribute", "external"):
        return f"{topic} is not known"
    if feature.kind in ("days_since_last", "days_since_first"):
        return f"{_capital(re.sub('^days since ', '', topic, flags=re.IGNORECASE))}: never so far"
    if feature.kind == "days_until_next":
        return f"{_capital(re.sub('^days until ', '', topic, flags=re.IGNORECASE))}: none ahead"
    if feature.kind in ("change", "ratio"):
        return f"{topic}: nothing to compare"
    return f"{topic}: none known" if feature.days else f"{topic}: none known so far"


def _nothing(feature: Feature) -> str:
    """What stands in the place of a value that a feature does not have."""
    if feature.kind in ("days_since_last", "days_since_first"):
        return "never"
    if feature.kind in ("change", "ratio"):
        return "nothing to compare"
    return "not known" if feature.kind in ("attribute", "age", "external") else "none"


def _topic(feature: Feature) -> str:
    """What a feature is about, as the beginning of a sentence; without a meaning, its column's name."""
    return _capital(feature.meaning or (feature.column or feature.name).replace("_", " "))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(value: float) -> str:
    if abs(value) >= 1000 or value % 1 == 0:
        return f"{value:,.0f}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


@cache
def _unit(unit: str) -> str:
    """The unit behind the number; counts, scales such as `0-10` and the currency go without saying."""
    words = unit.removeprefix("money").strip()
    return "" if words == "count" or re.match(r"^-?\d", words) else words
