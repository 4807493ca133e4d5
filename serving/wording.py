"""The words about one value of a feature: sentences a rep can repeat, and numbers as people write them."""

from __future__ import annotations

import calendar
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

from features.feature import ZERO_WHEN_NOTHING_HAPPENED, Feature
from features.propensity import Phrases

Value = float | str | None
Range = tuple[float, float]

NOT_KNOWN: Range = (math.nan, math.nan)
LEAST_CHANGE = 0.1  # of -1 to 1; a smaller one is not worth calling risen or fallen
_SAYS_NOTHING_HAPPENED = re.compile(r"\b(no|not|none|never|nothing|without)\b", re.IGNORECASE)
_SAYS_SEVERAL = re.compile(r"\b(several|many|often)\b", re.IGNORECASE)


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


def nothing(feature: Feature) -> str:
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
