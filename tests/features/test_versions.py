"""The versions of a row: which rows are one, which of two stays, and when each version was replaced."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features import versions
from features.adapter import Script
from features.delivery import Delivery
from features.errors import TableError
from features.export import Export
from features.reading import readings
from features.settings import IngestSettings
from features.versions import Merged

HEADER = "order_id,customer_id,occurred_at,amount,category,known_at\n"
FIRST, SECOND, THIRD = (datetime(2024, month, 1) for month in (2, 3, 4))


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as opened:
        opened.execute("set TimeZone = 'UTC'")
        yield opened


def _delivery(connection: duckdb.DuckDBPyConnection, root: Path, lines: list[str], duplicates: str) -> Delivery:
    (root / "orders.csv").write_text(HEADER + "\n".join(lines) + "\n")
    script = Script("orders", "crm/orders.sql", "select * from orders", frozenset({"orders"}))
    rules = IngestSettings.model_validate({"duplicates": duplicates})
    delivery = Delivery(connection, Export.open(root), script, {}, rules, root / "orders.raw")
    delivery.extract()
    return delivery


def stored(
    connection: duckdb.DuckDBPyConnection, root: Path, lines: list[str], duplicates: str = "reject"
) -> tuple[Merged, list[tuple[Any, ...]]]:
    """What was merged, and each row's id, amount, known_at and known_until."""
    delivery = _delivery(connection, root, lines, duplicates)
    merged = versions.store(delivery, readings(delivery)[0], root / "orders.stored")
    query = f"select order_id, amount::int, known_at, known_until from read_parquet('{root / 'orders.stored'}') order by all"
    return merged, connection.execute(query).fetchall()


def test_each_version_is_known_until_the_next_whatever_the_order_of_the_rows(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    lines = ["o,c,2024-02-01,3,,2024-04-01", "o,c,2024-02-01,1,,2024-02-01", "o,c,2024-02-01,2,,2024-03-01"]
    merged, rows = stored(connection, tmp_path, lines)
    assert merged.rows == 0
    assert rows == [("o", 1, FIRST, SECOND), ("o", 2, SECOND, THIRD), ("o", 3, THIRD, None)]


def test_a_row_that_comes_once_is_known_from_its_own_time_and_never_replaced(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    _, rows = stored(connection, tmp_path, ["o,c,2024-02-01,1,,", "p,c,2024-02-01,1,,2024-03-01"])
    assert rows == [("o", 1, FIRST, None), ("p", 1, SECOND, None)]


def test_a_version_without_known_at_is_that_of_the_row_s_own_time(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    _, rows = stored(connection, tmp_path, ["o,c,2024-02-01,1,,", "o,c,2024-02-01,2,,2024-03-01"])
    assert rows == [("o", 1, FIRST, SECOND), ("o", 2, SECOND, None)]


def test_duplicates_are_counted_and_shown_when_they_are_rejected(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    lines = ["o,c,2024-02-01,1,,", "o,c,2024-02-01,1,,2024-02-01", "o,c,2024-02-01,2,,", "p,c,2024-02-01,1,,"]
    with pytest.raises(TableError) as caught:
        stored(connection, tmp_path, lines)
    assert caught.value.received == "2 rows too many (1 copies, 1 differing): 'o' known at 2024-02-01 00:00:00 3 times"
    assert not (tmp_path / "orders.stored").exists()


@pytest.mark.parametrize("turned", [1, -1])
def test_of_two_rows_of_one_version_the_fullest_stays_then_the_greatest(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, turned: int
) -> None:
    lines = [
        "o,c,2024-02-01,9,,", "o,c,2024-02-01,1,books,",
        "p,c,2024-02-01,1,books,", "p,c,2024-02-01,2,books,",
        "q,c,2024-02-01,1,,", "q,c,2024-02-01,1,,",
    ]  # fmt: skip
    merged, rows = stored(connection, tmp_path, lines[::turned], "merge")
    assert merged == Merged(copies=1, differing=2)
    assert rows == [("o", 1, FIRST, None), ("p", 2, FIRST, None), ("q", 1, FIRST, None)]


def test_ids_that_are_read_alike_are_one_row(connection: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    merged, rows = stored(connection, tmp_path, ["o,c,2024-02-01,1,,", " o ,c,2024-02-01,1,,"], "merge")
    assert (merged, rows) == (Merged(copies=1), [("o", 1, FIRST, None)])


def test_the_note_tells_copies_from_differing_rows() -> None:
    assert Merged(1000, 2).note("orders").startswith("orders: merged 1,002 duplicates: 1,000 equal in every column, 2 differing")
