"""The profile of a sheet: how many of its rows came in each day, what its columns held, and how long it has ever been silent.

A day is one of the whole days before an instant, newest first; it is half-open, as every period is. All is computed in SQL
from the rows that came in before that instant; but for values that were never there before, only the last 56 weeks count.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import duckdb
import numpy as np

from features.catalog import Catalog
from features.database import identifier, quote
from features.settings import Workspace
from serving.monitor.tables.sheet import Sheet
from serving.monitor.tables.shift import Floats, began

DAYS = 392
LEAST_DAYS = 84  # of history, before anything is said
BUSY = {1: 200, 7: 30, 28: 30}  # the length of a period in days: how many rows it must usually bring
PERIODS = {1: 182, 7: 26, 28: 13}
_BUCKETS = 64


@dataclass(frozen=True)
class Silence:
    """How a stream of rows comes in.

    Attributes:
        newest: when its newest row came in (UTC).
        gap: hours since then.
        longest: hours of the second longest gap before, for one failure must not hide the next.
        gaps: how many gaps there were.
        per_hour: hours in which it brought something, of all hours, before it fell silent: over 26 weeks or 4, the fewer.
        weeks: in how many of the 26 weeks before its newest row it brought something.
    """

    newest: datetime
    gap: float
    longest: float
    gaps: int
    per_hour: float
    weeks: int


@dataclass(frozen=True)
class Newcomer:
    """A value that was not there before.

    Attributes:
        column, value: which.
        first: when its first row came in (UTC).
        rows: its rows since.
        since, before: all rows with a value that came in from `first` on, and in the 56 weeks up to then.
    """

    column: str
    value: str
    first: datetime
    rows: int
    since: int
    before: int


class Profile:
    """The figures of one sheet, on a connection that holds its rows as the temporary table `came`.

    Attributes:
        until: the instant before which rows count (UTC).
        age: days since the first row came in.
        counts: rows a day, newest first, for as many days as there have been rows, 392 at most.
        length: days of a period in which enough rows come in to say what they hold; None where even four weeks bring too few.
    """

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, workspace: Workspace, catalog: Catalog, sheet: Sheet, until: datetime
    ) -> None:
        """Read the rows of a sheet."""
        self._connection, self.sheet, self.until = connection, sheet, until.astimezone(UTC)
        connection.execute(f"create or replace temp table came as {sheet.sql(workspace, catalog, self.until)}")
        oldest = self._row("select max(came_day) from came")[0]
        self.age = 0 if oldest is None else int(oldest) + 1
        self.counts = self._daily("count(*)")
        self._figures: dict[str, Floats] = {}
        self.length = next((length for length in BUSY if self._is_busy(length)), None)

    @property
    def has_history(self) -> bool:
        return self.age >= LEAST_DAYS

    def instant(self, days: int) -> datetime:
        """The first instant of the newest so many days."""
        return self.until - timedelta(days=days)

    def periods(self, figure: str) -> Floats:
        """A figure of each period, newest first; NaN where no row came in."""
        self.prepare([figure])
        return self._figures[figure]

    def prepare(self, figures: Iterable[str]) -> None:
        """Compute figures of each period that will be asked for, all of them in one pass over the rows."""
        assert self.length is not None
        wanted = [figure for figure in dict.fromkeys(figures) if figure not in self._figures]
        if not wanted:
            return
        periods = min(PERIODS[self.length], max(1, self.age // self.length))
        which, last = f"came_day // {self.length}", periods * self.length
        query = f"select {which}, {', '.join(wanted)} from came where came_day < {last} group by {which}"
        rows = self._connection.execute(query).fetchall()
        for place, figure in enumerate(wanted, start=1):
            self._figures[figure] = _placed(np.full(periods, np.nan), [(row[0], row[place]) for row in rows])

    def newest(self, figure: str) -> float:
        """A figure of the newest period alone."""
        return float(self._row(f"select {figure} from came where came_day < {self.length}")[0])

    def modal(self, column: str) -> Floats:
        """The share of the commonest value in each period, or a little more: values are counted in 64 buckets."""
        name = identifier(column)
        buckets = f"list_max(map_values(histogram(hash({name}) % {_BUCKETS}) filter ({name} is not null)))"
        return self.periods(f"{buckets} / nullif(count({name}), 0)")

    def since(self, holds: str, figures: Floats, run: int) -> datetime:
        """The day from which on a condition on rows holds as often as in the newest period, to the day.

        Args:
            holds: the condition; one that is null for a row leaves the row out.
            figures, run: those that have shifted, and how many of the newest did.
        """
        assert self.length is not None
        share = f"avg(({holds})::int)"
        new = self._row(f"select {share} from came where came_day < {self.length}")[0]
        first, last = run * self.length, len(figures) * self.length
        old = self._row(f"select {share} from came where came_day >= {first} and came_day < {last}")[0]
        if new is None or old is None:
            return self.instant(run * self.length)
        sign, middle = (1 if new > old else -1), (new + old) / 2
        scores = sign * (self._daily(f"coalesce(sum(({holds})::int), 0) - {middle} * count({holds})"))
        return self.instant(began(scores[: (run + 1) * self.length]))

    def last_other(self, column: str) -> datetime | None:
        """When the newest row with another value than the newest value of a column came in."""
        name = identifier(column)
        newest = f"(select arg_max({name}, came_at) from came where {name} is not null)"
        found = self._row(f"select max(came_at) from came where {name} <> {newest}")[0]
        return None if found is None else _utc(found)

    @property
    def silence(self) -> Silence | None:
        """How the rows come in; None where none did."""
        return self._silences.get(("", ""))

    def silences(self, column: str) -> dict[str, Silence]:
        """How the rows come in, by the value of a category column."""
        return {value: silence for (of, value), silence in self._silences.items() if of == column}

    @cached_property
    def _silences(self) -> dict[tuple[str, str], Silence]:
        hours = " union all ".join(
            f"select '{quote(column)}' as of_column, {value} as value, time_bucket(interval 1 hour, came_at) as hour, "
            f"max(came_at) as newest from came where {value} is not null and came_day < {DAYS} group by all"
            for column, value in (("", "''"), *((name, identifier(name)) for name in self.sheet.categories))
        )
        rows = self._connection.execute(
            f"with hours as ({hours}), spaced as (select *, date_diff('hour', lag(hour) over each, hour) as gap, "
            "date_diff('day', hour, max(hour) over (partition by of_column, value)) as ago from hours "
            "window each as (partition by of_column, value order by hour)) "
            "select of_column, value, max(newest), max(gap, 2), count(gap), count(*) filter (ago < 182), "
            "count(*) filter (ago < 28), count(distinct ago // 7) filter (ago < 182) from spaced group by of_column, value"
        ).fetchall()
        return {(column, value): self._silence(*figures) for column, value, *figures in rows}

    def newcomers(self, days: int, least: int) -> list[Newcomer]:
        """The values of category columns with at least so many rows whose first came within the newest days, oldest first."""
        found = [one for column in self.sheet.categories for one in self._newcomers(column, days, least)]
        return sorted(found, key=lambda one: (one.first, one.column, one.value))

    def _newcomers(self, column: str, days: int, least: int) -> list[Newcomer]:
        """Those of one column, counted together: of a column of free text there may be as many as there are rows."""
        name = identifier(column)
        rows = self._connection.execute(
            f"with told as (select {name} as value, came_at, came_day from came where {name} is not null), "
            "firsts as (select value, min(came_at) as first, count(*) as rows from told "
            f"group by value having max(came_day) < {days} and count(*) >= {least}), "
            "since as (select came_at as first, sum(count(*)) over (order by came_at desc) as rows from told "
            f"where came_day < {days} group by came_at) "
            f"select value, first, firsts.rows, since.rows, (select count(*) from told where came_day < {DAYS}) - since.rows "
            "from firsts join since using (first)"
        ).fetchall()
        return [Newcomer(column, value, _utc(first), int(many), int(since), int(before))
                for value, first, many, since, before in rows]  # fmt: skip

    def arrivals(self, column: str, days: int, least: int) -> int:
        """How many values with at least so many rows were new in the year before the newest days; not in the first 12 weeks."""
        name, oldest = identifier(column), min(364 + days, self.age - LEAST_DAYS)
        firsts = f"select max(came_day) as first from came where {name} is not null group by {name} having count(*) >= {least}"
        return int(self._row(f"select count(*) from ({firsts}) where first >= {days} and first < {oldest}")[0])

    def _silence(self, at: datetime, gaps: list[int] | None, count: int, half: int, month: int, weeks: int) -> Silence:
        gap = (self.until - _utc(at)) / timedelta(hours=1)
        known = max(1.0, min(182.0, self.age - gap / 24))
        per_hour = min(half / known, month / min(28.0, known)) / 24
        return Silence(_utc(at), gap, gaps[-1] if gaps and len(gaps) > 1 else 0.0, count, per_hour, weeks)

    def _is_busy(self, length: int) -> bool:
        full = len(self.counts) // length
        sums = self.counts[: full * length].reshape(full, length).sum(axis=1)[: PERIODS[length]]
        return full > 0 and bool(np.median(sums) >= BUSY[length])

    def _daily(self, figure: str) -> Floats:
        found = np.zeros(min(self.age, DAYS))
        query = f"select came_day, {figure} from came where came_day < {DAYS} group by came_day"
        return _placed(found, self._connection.execute(query).fetchall())

    def _row(self, query: str) -> tuple:
        return self._connection.execute(query).fetchone() or (None,)


def _placed(into: Floats, rows: list[tuple]) -> Floats:
    for place, figure in rows:
        into[int(place)] = np.nan if figure is None else float(figure)
    return into


def _utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC)
