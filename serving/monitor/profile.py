"""The profile of a sheet: how many of its rows came in each day, what its columns held, and how long it has ever been silent.

A day is one of the whole days before an instant, newest first; it is half-open, as every period is. All is computed in SQL from the
rows that came in before that instant, by no longer than the last 56 weeks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np

from features.catalog import Catalog
from features.database import identifier
from features.settings import Workspace
from serving.monitor.sheet import Sheet
from serving.monitor.shift import Floats, began

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
        self._source = sheet.sql(workspace, catalog, self.until)
        connection.execute(f"create or replace temp table came as select * from ({self._source}) where came_day < {DAYS}")
        oldest = self._row(f"select max(came_day) from ({self._source})")[0]
        self.age = 0 if oldest is None else int(oldest) + 1
        self.counts = self._daily("count(*)")
        self.length = next((length for length in BUSY if self._is_busy(length)), None)

    @property
    def has_history(self) -> bool:
        return self.age >= LEAST_DAYS

    def instant(self, days: int) -> datetime:
        """The first instant of the newest so many days."""
        return self.until - timedelta(days=days)

    def periods(self, figure: str) -> Floats:
        """A figure of each period, newest first; NaN where no row came in."""
        assert self.length is not None
        found = np.full(min(PERIODS[self.length], max(1, self.age // self.length)), np.nan)
        query = f"select came_day // {self.length} as came_period, {figure} from came where came_day < {len(found) * self.length} group by came_period"
        return _placed(found, self._connection.execute(query).fetchall())

    def held(self, column: str, days: int = 0) -> int:
        """How many rows of the newest period, or of the newest days, have a value in a column."""
        query = f"select count({identifier(column)}) from came where came_day < {days or self.length}"
        return int(self._row(query)[0])

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
        old = self._row(f"select {share} from came where came_day >= {run * self.length} and came_day < {len(figures) * self.length}")[0]
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

    def silence(self, column: str = "") -> dict[str, Silence]:
        """How the rows come in, by the value of a category column; without one, under the key `""`."""
        value = identifier(column) if column else "''"
        rows = self._connection.execute(
            f"with hours as (select {value} as value, time_bucket(interval 1 hour, came_at) as hour, max(came_at) as newest from came "
            f"where {value} is not null group by all), "
            "spaced as (select *, date_diff('hour', lag(hour) over (partition by value order by hour), hour) as gap, "
            "date_diff('day', hour, max(hour) over (partition by value)) as ago from hours) "
            "select value, max(newest), max(gap, 2), count(gap), count(*) filter (ago < 182), count(*) filter (ago < 28), "
            "count(distinct ago // 7) filter (ago < 182) from spaced group by value"
        ).fetchall()
        return {str(value): self._silence(*figures) for value, *figures in rows}

    def newcomers(self, column: str, days: int) -> list[tuple[str, datetime, int, int, int]]:
        """The values of a category column that were first there within the newest days.

        Returns:
            Value, when it first came in, its rows since, all rows since, and all rows of the 56 weeks before.
        """
        return [
            (str(value), _utc(first), int(count), *self._around(column, first))
            for value, first, count in self._connection.execute(
                f"select {identifier(column)} as value, min(came_at) as first, count(*) from ({self._source}) where {identifier(column)} is not null "
                f"group by {identifier(column)} having max(came_day) < {days} order by 2, 1"
            ).fetchall()
        ]

    def arrivals(self, column: str, days: int, least: int) -> int:
        """How many values with at least so many rows were new in the year before the newest days; the first 12 weeks are not asked."""
        return int(
            self._row(
                f"select count(*) from (select max(came_day) as first from ({self._source}) where {identifier(column)} is not null "
                f"group by {identifier(column)} having count(*) >= {least}) "
                f"where first >= {days} and first < {min(364 + days, self.age - LEAST_DAYS)}"
            )[0]
        )

    def _around(self, column: str, first: datetime) -> tuple[int, int]:
        query = f"select count(*) filter (came_at >= $first), count(*) filter (came_at < $first) from came where {identifier(column)} is not null"
        row = self._connection.execute(query, {"first": first}).fetchone() or (0, 0)
        return int(row[0]), int(row[1])

    def _silence(self, at: datetime, gaps: list[int], count: int, half: int, month: int, weeks: int) -> Silence:
        gap = (self.until - _utc(at)) / timedelta(hours=1)
        known = max(1.0, min(182.0, self.age - gap / 24))
        return Silence(_utc(at), gap, gaps[-1] if len(gaps) > 1 else 0.0, count, min(half / known, month / min(28.0, known)) / 24, weeks)

    def _is_busy(self, length: int) -> bool:
        full = len(self.counts) // length
        sums = self.counts[: full * length].reshape(full, length).sum(axis=1)[: PERIODS[length]]
        return full > 0 and bool(np.median(sums) >= BUSY[length])

    def _daily(self, figure: str) -> Floats:
        found = np.zeros(min(self.age, DAYS))
        return _placed(found, self._connection.execute(f"select came_day, {figure} from came group by came_day").fetchall())

    def _row(self, query: str) -> tuple:
        return self._connection.execute(query).fetchone() or (None,)


def _placed(into: Floats, rows: list[tuple]) -> Floats:
    for place, figure in rows:
        into[int(place)] = np.nan if figure is None else float(figure)
    return into


def _utc(instant: datetime) -> datetime:
    return instant.replace(tzinfo=UTC)
