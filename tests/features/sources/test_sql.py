"""Databases to be read: real PostgreSQL and SQLite, tables and queries, ties, versions with `known_at`, wrong settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features import ingest
from features.errors import SourceError, WorkspaceError
from features.settings import Workspace
from tests.features.sources.worlds import adapter, open_workspace, rows, run
from tests.servers import POSTGRES
from tests.servers import database as fresh

START, CUSTOMERS = datetime(2026, 1, 5, 8, tzinfo=UTC), 25
Execute = Callable[..., Any]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Execute]]:
    """An address, and how SQL with `?` is executed there."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as file:
            yield "sqlite:///shop.db", lambda sql, *values: file.execute(sql, [_iso(value) for value in values])
        return
    import psycopg

    monkeypatch.setenv("SHOP_PASSWORD", "sesame")
    with fresh("pull") as name, psycopg.connect(f"{POSTGRES}/{name}", autocommit=True) as connection:
        address = f"{POSTGRES}/{name}".replace("postgres@", "postgres:${SHOP_PASSWORD}@")
        yield address, lambda sql, *values: connection.execute(sql.replace("?", "%s"), values)


def _iso(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@pytest.fixture
def execute(database: tuple[str, Execute]) -> Execute:
    """With customers and orders; ten customers were imported at one instant."""
    execute, kind = database[1], "text" if database[0].startswith("sqlite") else "timestamptz"
    execute(f"create table customers (customer_id integer primary key, created_at {kind}, updated_at {kind}, segment text)")
    columns = f"order_id text primary key, customer_id integer, occurred_at {kind}, amount numeric(10, 2), updated_at {kind}"
    execute(f"create table orders ({columns})")
    for number in range(CUSTOMERS):
        at = START if number < 10 else START + timedelta(minutes=number)
        execute("insert into customers values (?, ?, ?, ?)", number, START, at, "new")
    execute("insert into orders values ('o1', 1, ?, 5.50, ?)", START, START)
    return execute


@pytest.fixture
def workspace(database: tuple[str, Execute], execute: Execute, tmp_path: Path) -> Workspace:
    return opened(tmp_path, database[0])


def opened(root: Path, address: str, **other: Any) -> Workspace:
    return open_workspace(root, "canonical", of="sql", database=address, overlap_minutes=0.0, **other)


def test_ties_are_none_lost_and_a_second_pull_fetches_what_changed(
    workspace: Workspace, database: tuple[str, Execute], execute: Execute
) -> None:
    workspace = opened(workspace.root, database[0], page=4)
    assert run(workspace)["customers"].versions == CUSTOMERS
    assert rows(workspace, "customers", "count(distinct customer_id), count(known_at)") == [(CUSTOMERS, 0)]
    later = START + timedelta(days=1, microseconds=1_000)
    execute("update customers set segment = 'gold', updated_at = ? where customer_id = 7", later)
    execute("insert into customers values (99, ?, ?, 'new')", later, later)
    done = run(workspace)["customers"]
    assert (done.records, done.versions) == (3, 2)
    known = later
    assert {row for row in rows(workspace, "customers", "customer_id, segment, known_at") if row[2]} == {
        ("7", "gold", known), ("99", "new", known),
    }  # fmt: skip


def test_rows_become_tables_and_a_late_row_keeps_when_it_became_known(workspace: Workspace, execute: Execute) -> None:
    run(workspace)
    entered = START + timedelta(days=30)
    execute("insert into orders values ('o2', 2, ?, 7, ?)", START, entered)
    execute("update orders set amount = 6, updated_at = ? where order_id = 'o1'", entered)
    run(workspace)
    catalog = ingest.run(workspace, datetime(2026, 3, 1, tzinfo=UTC))
    columns = "order_id, amount::double, occurred_at, known_at, known_until"
    with duckdb.connect() as connection:
        found = connection.execute(f"select {columns} from '{catalog.path(workspace, 'orders')}' order by all").fetchall()
    at, late = START.replace(tzinfo=None), entered.replace(tzinfo=None)
    assert found == [("o1", 5.5, at, at, late), ("o1", 6.0, at, late, None), ("o2", 7.0, at, late, None)]


def test_what_is_known_since_when_does_not_depend_on_the_zone_of_the_export(
    workspace: Workspace, database: tuple[str, Execute], execute: Execute
) -> None:
    text = (workspace.root / "foresell.toml").read_text(encoding="utf-8")
    (workspace.root / "foresell.toml").write_text(f'{text}\n[ingest]\ntimezone = "Asia/Tokyo"\n', encoding="utf-8")
    workspace = Workspace.open(workspace.root)
    run(workspace)
    later = START + timedelta(days=1)
    execute("update customers set segment = 'gold', updated_at = ? where customer_id = 7", later)
    run(workspace)
    path = ingest.run(workspace, datetime(2026, 3, 1, tzinfo=UTC)).path(workspace, "customers")
    with duckdb.connect() as connection:
        found = connection.execute(f"select known_at from read_parquet('{path}') where customer_id = '7' order by all").fetchall()
    assert found == [(START.replace(tzinfo=None),), (later.replace(tzinfo=None),)]


def test_an_address_alone_is_enough(database: tuple[str, Execute], execute: Execute, tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, "canonical", of="sql", database="sqlite:///unused.db")
    found = run(workspace, name=database[0])
    assert {name: one.versions for name, one in found.items()} == {"customers": CUSTOMERS, "orders": 1}


def test_a_query_with_a_key_of_its_own(database: tuple[str, Execute], execute: Execute, tmp_path: Path) -> None:
    columns = "order_id || ':' || customer_id as number, customer_id as who, updated_at"
    query = f"select {columns} from orders where amount > 1;"
    tables = {"Lead": {"query": query, "key": ["who", "number"], "modified": "updated_at"}}
    settings = {"of": "sql", "database": database[0], "tables": tables, "page": 1}
    workspace = open_workspace(tmp_path, adapter(tmp_path, "Lead"), **settings)
    execute("insert into orders values ('o2', 2, ?, 7, ?)", START, START)
    assert run(workspace)["Lead"].versions == 2
    assert rows(workspace, "Lead", "number, who") == [("o1:1", "1"), ("o2:2", "2")]


@pytest.mark.parametrize(
    ("tables", "told"),
    [
        ({"customer": {}}, "write `customers`"),
        ({"customers": {"modified": "updatedat"}}, "write `updated_at`"),
        ({"customers": {"key": ["customerid"]}}, "write `customer_id`"),
        ({"customers": {"query": "select * from customers"}}, "no primary key"),
    ],
)
def test_wrong_names_are_told(database: tuple[str, Execute], execute: Execute, tmp_path: Path, tables: Any, told: str) -> None:
    with pytest.raises(WorkspaceError, match=told):
        run(opened(tmp_path, database[0], tables=tables))


def test_what_the_database_refuses_is_told_without_the_password(
    workspace: Workspace, database: tuple[str, Execute], execute: Execute
) -> None:
    execute("update customers set updated_at = null where customer_id = 3")
    with pytest.raises(SourceError, match="1 rows have no time of change"):
        run(workspace)
    with pytest.raises(SourceError) as caught:
        run(opened(workspace.root, database[0], tables={"customers": {"table": "nowhere"}}))
    assert "nowhere" in caught.value.received and "sesame" not in str(caught.value)


def test_a_time_of_change_that_is_yet_to_come_hides_no_change_that_follows(workspace: Workspace, execute: Execute) -> None:
    execute("update customers set updated_at = ? where customer_id = 3", datetime(2099, 1, 1, tzinfo=UTC))
    run(workspace)
    execute("update customers set segment = 'gold', updated_at = ? where customer_id = 7", START + timedelta(days=1))
    done = run(workspace)["customers"]
    assert done.since == START + timedelta(minutes=CUSTOMERS - 1) and done.versions == 1
    assert rows(workspace, "customers", "segment, known_at").count(("gold", START + timedelta(days=1))) == 1


def test_what_comes_after_a_pull_that_found_nothing_is_known_since_its_change(workspace: Workspace, execute: Execute) -> None:
    execute("delete from orders")
    run(workspace)
    entered = START + timedelta(days=30)
    execute("insert into orders values ('late', 2, ?, 7, ?)", START, entered)
    run(workspace)
    assert rows(workspace, "orders", "order_id, known_at") == [("late", entered)]


def test_a_key_that_stands_for_several_rows_is_told_before_one_of_them_is_lost(
    database: tuple[str, Execute], execute: Execute, tmp_path: Path
) -> None:
    execute("insert into orders values ('o2', 1, ?, 7, ?)", START, START)
    told = {"query": "select * from orders", "key": ["customer_id"]}
    with pytest.raises(WorkspaceError, match="1 keys that are missing"):
        run(opened(tmp_path, database[0], tables={"orders": told}))
    execute("update orders set customer_id = null, updated_at = ? where order_id = 'o2'", START + timedelta(days=1))
    with pytest.raises(WorkspaceError, match="1 keys that are missing"):
        run(opened(tmp_path, database[0], tables={"orders": told}))
    execute("update orders set customer_id = 1 where order_id = 'o2'")
    assert run(opened(tmp_path, database[0], tables={"orders": told}))["orders"].versions == 2


def test_a_column_may_be_called_as_one_of_duckdbs_own(database: tuple[str, Execute], execute: Execute, tmp_path: Path) -> None:
    query = "select order_id as filename, updated_at from orders"
    workspace = opened(tmp_path, database[0], tables={"orders": {"query": query, "key": ["filename"]}})
    run(workspace)
    assert rows(workspace, "orders", "filename") == [("o1",)]


@pytest.mark.postgres
def test_a_database_that_there_is_not_is_nothing_to_wait_for(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no_such_shop") as caught:
        run(opened(tmp_path, f"{POSTGRES}/no_such_shop"))
    assert "lets us in" in caught.value.expected


def test_an_empty_table_leaves_no_file(workspace: Workspace, execute: Execute) -> None:
    execute("delete from orders")
    assert run(workspace)["orders"].records == 0
    assert not (workspace.source / "orders.parquet").exists()


def test_a_password_in_the_settings_and_an_unknown_source_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="the password itself"):
        run(opened(tmp_path, "postgresql://postgres:sesame@127.0.0.1/x"))
    with pytest.raises(WorkspaceError, match="write `crm`"):
        run(opened(tmp_path, "sqlite:///x.db"), name="crn")
    with pytest.raises(WorkspaceError, match="begins with one of") as caught:
        run(opened(tmp_path, "sqlite:///x.db"), name="mysql://root:sesame@db/shop")
    assert "sesame" not in str(caught.value)
    with pytest.raises(WorkspaceError, match="pagesize"):
        opened(tmp_path, "sqlite:///x.db", pagesize=3)
