"""Scores as they were served: those of every night, and those that were asked for, a week at a time.

A week begins on its Monday, UTC. A night's score is given at its as_of, which is a time of the data; a score that was asked for
at the instant of its answer, which is a time of the clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa

from features.database import connect, quote
from features.settings import Workspace
from serving.ledger import Ledger
from serving.partition import RECEIPT, digest, partitions, parts

WEEK = timedelta(days=7)
PATIENCE_MS = 60_000  # a week of answers is counted in one statement
SCHEMA = pa.schema(
    [
        ("entity_id", pa.string()),
        ("scored_at", pa.timestamp("us", tz="UTC")),
        ("road", pa.string()),
        ("model_version", pa.string()),
        ("probability", pa.float64()),
        ("score", pa.int32()),
    ]
)


@dataclass(frozen=True)
class Week:
    """Where the scores of one week lie.

    Attributes:
        monday: when it begins, UTC.
        nights: as_of and folder of each whole partition.
        digest: changes when a score of the week does.
    """

    monday: datetime
    nights: tuple[tuple[datetime, Path], ...]
    digest: str

    @property
    def until(self) -> datetime:
        """When the next one begins."""
        return self.monday + WEEK


def monday_of(instant: datetime) -> datetime:
    """When the week of an instant began."""
    day = instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day - timedelta(days=day.weekday())


def weeks(workspace: Workspace, ledger: Ledger, propensity: str) -> dict[datetime, Week]:
    """Every week in which scores of a propensity were given, by its Monday, oldest first.

    Raises:
        StoreError: the ledger does not answer.
    """
    nights: dict[datetime, list[tuple[datetime, Path]]] = {}
    for as_of, path in partitions(workspace).get(propensity, []):
        if (path / RECEIPT).is_file():  # without one it is not whole, or about to be replaced
            nights.setdefault(monday_of(as_of), []).append((as_of, path))
    online = {week.monday: week[1:] for week in ledger.given_weeks(propensity)}
    made_of = {
        monday: [[(path.name, digest(path / RECEIPT)) for _, path in nights.get(monday, [])], online.get(monday)]
        for monday in sorted({*nights, *online})
    }
    return {
        monday: Week(monday, tuple(nights.get(monday, ())), hashlib.sha256(repr(facts).encode()).hexdigest()[:16])
        for monday, facts in made_of.items()
    }


def first(workspace: Workspace, ledger: Ledger, propensity: str, week: Week) -> pa.Table:
    """The first score that each entity was given in a week by a version on a road.

    Returns:
        Rows of `SCHEMA`, sorted by scored_at, entity_id, model_version and road.

    Raises:
        StoreError: the ledger does not answer.
    """
    given = ledger.given(propensity, week.monday, week.until)
    columns = list(zip(*given, strict=True)) or [()] * len(SCHEMA)
    asked = pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)
    with connect(workspace) as connection:
        connection.register("asked", asked)
        sql = f"{_nights_sql(week)} union all by name from asked" if week.nights else "from asked"
        return _sorted(connection, sql)


def read(workspace: Workspace, propensity: str) -> Iterator[tuple[datetime, pa.Table]]:
    """The first scores of each week, oldest first, a week at a time: its Monday, and rows of `SCHEMA`.

    Raises:
        StoreError: the ledger does not answer.
    """
    with closing(Ledger.open(workspace, PATIENCE_MS)) as ledger:
        for monday, week in weeks(workspace, ledger, propensity).items():
            yield monday, first(workspace, ledger, propensity, week)


def _nights_sql(week: Week) -> str:
    """Of each entity and version the score of the first night that has one."""
    one = "select entity_id, timestamptz '{}' as scored_at, model_version, probability, score from read_parquet([{}])"
    every = [
        one.format(as_of.isoformat(), ", ".join(f"'{quote(str(path))}'" for path in parts(folder)))
        for as_of, folder in week.nights
    ]
    return (
        "select entity_id, min(scored_at) as scored_at, 'batch' as road, model_version, "
        "arg_min(probability, scored_at) as probability, arg_min(score, scored_at) as score "
        f"from ({' union all '.join(every)}) where probability is not null group by entity_id, model_version"
    )


def _sorted(connection: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    names = ", ".join(SCHEMA.names)
    query = f"select {names} from ({sql}) order by scored_at, entity_id, model_version, road"
    return connection.sql(query).to_arrow_table().cast(SCHEMA)
