"""The versions of a row: duplicates rejected or merged, and each version's `known_until`, the moment the next one replaced it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from features.database import identifier, quote
from features.delivery import EXAMPLE_ROWS, Delivery
from features.errors import TableError
from features.reading import Reading


@dataclass(frozen=True)
class Merged:
    """What was merged: copies equal in every column, and differing rows with the key and the `known_at` of another."""

    copies: int = 0
    differing: int = 0

    @property
    def rows(self) -> int:
        return self.copies + self.differing

    def note(self, table: str) -> str:
        return (
            f"{table}: merged {self.rows:,} duplicates: {self.copies:,} equal in every column, {self.differing:,} differing "
            "with the same key and known_at, of which the row with the fewest missing values stays"
        )


def store(delivery: Delivery, columns: Sequence[Reading], target: Path) -> Merged:
    """Write a table's rows in the contract's types, with `known_at` and `known_until`, to a Parquet file.

    Only rows whose key occurs more than once are sorted, because most tables of ten million rows have none.

    Raises:
        TableError: two rows have the same key and `known_at`, and duplicates are to be rejected.
    """
    connection = delivery.connection
    keys = [column.sql for column in columns if column.name in delivery.contract.key]
    repeated = ", ".join(f"{key} as _key_{number}" for number, key in enumerate(keys))
    same = " and ".join(f"_key_{number} = {key}" for number, key in enumerate(keys))
    connection.execute(
        f"create or replace temp table repeated as select {repeated} from {delivery.source} group by all having count(*) > 1"
    )
    connection.execute(f"create or replace temp table versions as {_typed(delivery, columns)} semi join repeated on {same}")
    merged = _duplicates(delivery)
    if merged.rows and delivery.rules.duplicates == "reject":
        raise _rejected(delivery, merged)
    once = f"select *, cast(null as timestamp) as known_until from ({_typed(delivery, columns)} anti join repeated on {same})"
    connection.execute(
        f"copy ({once} union all {_ranked(delivery)}) to '{quote(str(target))}' (format parquet, compression zstd)"
    )
    return merged


def _typed(delivery: Delivery, columns: Sequence[Reading]) -> str:
    """The raw rows in the contract's types; `known_at` is the row's own time unless it was delivered."""
    selected = [f"{column.sql} as {identifier(column.name)}" for column in columns if column.name != "known_at"]
    sql = {column.name: column.sql for column in columns}
    own_time = sql[delivery.contract.time]
    known_at = f"coalesce({sql['known_at']}, {own_time})" if "known_at" in sql else own_time
    return f"select {', '.join(selected)}, {known_at} as known_at from {delivery.source}"


def _ranked(delivery: Delivery) -> str:
    """The versions of repeated keys, one per `known_at`: the row with the fewest missing values, then the greatest."""
    key = ", ".join(delivery.contract.key)
    names = [row[0] for row in delivery.connection.execute("describe versions").fetchall()]
    filled = " + ".join(f"({identifier(name)} is not null)::int" for name in names)
    greatest = ", ".join(f"{identifier(name)} desc nulls last" for name in names)
    kept = (
        f"select * from versions qualify row_number() over (partition by {key}, known_at order by {filled} desc, {greatest}) = 1"
    )
    return f"select *, lead(known_at) over (partition by {key} order by known_at) as known_until from ({kept})"


def _duplicates(delivery: Delivery) -> Merged:
    key = ", ".join(delivery.contract.key)
    rows, distinct, versions = delivery.connection.execute(
        f"select (select count(*) from versions), (select count(*) from (select distinct * from versions)), "
        f"(select count(*) from (select distinct {key}, known_at from versions))"
    ).fetchone() or (0, 0, 0)
    return Merged(rows - distinct, distinct - versions)


def _rejected(delivery: Delivery, merged: Merged) -> TableError:
    key = ", ".join(delivery.contract.key)
    examples = delivery.connection.execute(
        f"select {key}, known_at, count(*) as n from versions group by all having n > 1 order by all limit {EXAMPLE_ROWS}"
    ).fetchall()
    shown = "; ".join(f"{', '.join(map(repr, row[:-2]))} known at {row[-2]} {row[-1]} times" for row in examples)
    return TableError(
        f"{delivery.where}, key {key}",
        expected=f"every {key} once for each known_at",
        received=f"{merged.rows:,} rows too many ({merged.copies:,} copies, {merged.differing:,} differing): {shown}",
        repair='export each row once, or set `duplicates = "merge"` in [ingest]',
    )
