"""What a declared feature is, and a view: a set of features of one entity over one table.

A feature is declared once, here in Python; `features.compile` turns it into SQL, `features.store` into Feast's schema,
`foresell features` and docs/features.md into words, and `serving.wording` into a sentence. Names follow
`<measure>_<statistic>_<window>`, for example `emails_opened_count_30d`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from features.condition import Condition
from features.errors import FeatureError, nearest
from features.tables import ENTITY_KEYS, ENTITY_TABLES, TABLES, Table

Kind = Literal[
    "attribute", "age", "holds", "weekday", "hour",
    "latest", "count", "sum", "mean", "min", "max", "distinct", "days_since_last", "days_since_first", "days_until_next",
    "change", "ratio", "external",
]  # fmt: skip
Dtype = Literal["number", "category"]
KINDS: dict[Kind, str] = {
    "attribute": "the value of a column of the entity's own row",
    "age": "days from a time of the entity's own row to the as_of",
    "holds": "1 when every condition holds for the entity's own row, otherwise 0",
    "weekday": "the day of the week of a time of the entity's own row, 1 (Monday) to 7",
    "hour": "the hour in UTC of a time of the entity's own row, 0 to 23",
    "latest": "the value of a column in the newest row; of two rows at one instant, the one with the higher key",
    "count": "how many rows; 0 when there are none",
    "sum": "the sum of a column; 0 when there are no rows",
    "mean": "the mean of a column; missing when there are no rows",
    "min": "the smallest value of a column",
    "max": "the largest value of a column",
    "distinct": "how many different values of a column; 0 when there are no rows",
    "days_since_last": "days from the newest row to the as_of",
    "days_since_first": "days from the oldest row to the as_of",
    "days_until_next": "days from the as_of to the nearest time in a column that still lies ahead",
    "change": "a window against the one before, (now - before) / (now + before), -1 to 1; missing when both are empty",
    "ratio": "one feature divided by another; missing when the divisor is 0",
    "external": "a column of a feature table that was computed elsewhere, as last known before the as_of",
}
ROW_KINDS: tuple[Kind, ...] = ("attribute", "age", "holds", "weekday", "hour")
DERIVED_KINDS: tuple[Kind, ...] = ("change", "ratio")
ZERO_WHEN_NOTHING_HAPPENED: tuple[Kind, ...] = ("count", "sum", "distinct")


@dataclass(frozen=True)
class Feature:
    """One column of a view.

    Attributes:
        name: the column, unique within its entity.
        kind: how it is computed, see `KINDS`.
        column: the table column it reads; empty for `count`, `change` and `ratio`.
        where: only rows for which every condition holds.
        days: the window `[as_of - days, as_of)`; None reaches back to the first row.
        at: the time column that the window and the recency look at; empty means the table's own time.
        offset_days: moves the window that many days into the past.
        of: for `change` and `ratio`, the two features of the same view that are compared.
        hidden: computed for `change` or `ratio` only, and not a column of the view.
        dtype, unit, meaning: what the value is; `number` or `category`, days, count, money, ..., in words.
        high, low: what a rep would say when the value is high or low.
    """

    name: str
    kind: Kind
    column: str = ""
    where: tuple[Condition, ...] = ()
    days: int | None = None
    offset_days: int = 0
    at: str = ""
    of: tuple[str, ...] = ()
    hidden: bool = False
    dtype: Dtype = "number"
    unit: str = ""
    meaning: str = ""
    high: str = ""
    low: str = ""

    @property
    def measure(self) -> str:
        """The name without its window: features that share it are twins, one measure over several windows."""
        return self.name if self.kind in ("attribute", "external") else re.sub(r"_\d+d$", "", self.name)

    @property
    def bounds(self) -> str:
        """Which rows count, in words."""
        if self.kind in ROW_KINDS or self.kind in DERIVED_KINDS or self.kind == "external":
            return "as known before the as_of"
        end = f"as_of - {self.offset_days}d" if self.offset_days else "as_of"
        return f"[{'the first row' if self.days is None else f'as_of - {self.days + self.offset_days}d'}, {end})"

    @property
    def empty(self) -> float | None:
        """The value for an entity to which nothing ever happened: 0 for counts and sums, otherwise missing."""
        return 0.0 if self.kind in ZERO_WHEN_NOTHING_HAPPENED else None


@dataclass(frozen=True)
class View:
    """A set of features of one entity over one canonical table; one row per entity per as_of. Becomes a Feast FeatureView."""

    name: str
    entity: str
    table: str
    features: tuple[Feature, ...]
    where: tuple[Condition, ...] = ()
    external: bool = False

    @property
    def contract(self) -> Table:
        """The contract of the view's table.

        Raises:
            KeyError: the view is external; its table was computed elsewhere.
        """
        return TABLES[self.table]

    @property
    def key(self) -> str:
        """The column of the table that holds the entity's id."""
        return "entity_id" if self.table == "attribute_history" else ENTITY_KEYS[self.entity]

    @property
    def is_profile(self) -> bool:
        """Whether this view reads the entity's own table; its rows are the spine every other view is joined to."""
        return ENTITY_TABLES[self.entity].name == self.table

    @property
    def columns(self) -> tuple[Feature, ...]:
        """The features that are columns of the view, in declared order."""
        return tuple(feature for feature in self.features if not feature.hidden)


def view(name: str, entity: str, table: str, *groups: Feature | Iterable[Feature], only: tuple[Condition, ...] = ()) -> View:
    """Declare a view from features and groups of features (what the constructors below return).

    Whether the value of a column is a number or a category is read from the table's contract.
    """
    features: list[Feature] = []
    for group in groups:
        features.extend([group] if isinstance(group, Feature) else group)
    return View(name, entity, table, tuple(_typed(feature, TABLES[table]) for feature in features), only)


def _typed(feature: Feature, table: Table) -> Feature:
    for name in _columns(feature) - set(table.names):
        near = nearest(name, table.names)
        raise _wrong(feature, f"a column of {table.name}", f"{name!r}{f'; near: {near!r}' if near else ''}")
    text = bool(feature.column) and table.column(feature.column).type in ("category", "id")
    if text and feature.kind in ("sum", "mean", "min", "max"):
        raise _wrong(feature, "a column of numbers", f"{feature.column}, which holds text")
    return replace(feature, dtype="category") if text and feature.kind in ("latest", "attribute") else feature


def _columns(feature: Feature) -> set[str]:
    return {feature.column, feature.at, *(condition.column for condition in feature.where)} - {""}


def _wrong(feature: Feature, expected: str, received: str) -> FeatureError:
    repair = "docs/tables.md lists the columns of every table"
    return FeatureError(f"feature {feature.name!r}, {feature.kind}", expected=expected, received=received, repair=repair)


def where(*conditions: str) -> tuple[Condition, ...]:
    """Parse the conditions of a declaration."""
    return tuple(Condition.parse(condition) for condition in conditions)


def windowed(
    measure: str,
    kind: Kind,
    windows: Sequence[int | None],
    *,
    column: str = "",
    only: Sequence[str] = (),
    at: str = "",
    unit: str = "",
    meaning: str,
    high: str = "",
    low: str = "",
) -> list[Feature]:
    """One feature per window: `<measure>_<kind>_<days>d`, or `<measure>_<kind>` for the window None (ever).

    `{window}` in `meaning`, `high` and `low` becomes "in the last 30 days" or "so far".
    """
    made = []
    for days in windows:
        words = "so far" if days is None else f"in the last {days} days"
        name = f"{measure}_{kind}" + ("" if days is None else f"_{days}d")
        feature = Feature(
            name, kind, column, where(*only), days, at=at, unit=unit or ("count" if kind in ("count", "distinct") else ""),
            meaning=meaning.format(window=words), high=high.format(window=words), low=low.format(window=words),
        )  # fmt: skip
        made.append(feature)
    return made


def counted(measure: str, words: str, *only: str, windows: Sequence[int | None]) -> list[Feature]:
    """How often one kind of event happened, by window; `words` name the events, in the plural."""
    high, low = f"More {words} {{window}} than for most", f"No {words} {{window}}"
    return windowed(measure, "count", windows, only=only, meaning=f"{words} {{window}}", high=high, low=low)


def change(
    measure: str,
    days: int,
    *,
    kind: Kind = "count",
    column: str = "",
    only: Sequence[str] = (),
    meaning: str,
    high: str = "",
    low: str = "",
) -> list[Feature]:
    """`<measure>_change_<days>d`: a window against the one before, (now - before) / (now + before).

    -1 is "stopped", 0 "as before", 1 "new"; missing when there was nothing in either window. The symmetric form keeps a
    customer with one order comparable to one with a thousand.
    """
    name = f"{measure}_change_{days}d"
    now = Feature(f"{name}__now", kind, column, where(*only), days, hidden=True)
    before = replace(now, name=f"{name}__before", offset_days=days)
    compared = Feature(name, "change", of=(now.name, before.name), unit="-1 to 1", meaning=meaning, high=high, low=low)
    return [now, before, compared]


def ratio(name: str, part: str, whole: str, *, meaning: str, high: str = "", low: str = "") -> Feature:
    """`part / whole`, two features of the same view; missing when the whole is 0."""
    return Feature(name, "ratio", of=(part, whole), unit="share", meaning=meaning, high=high, low=low)
