"""`foresell ingest --from`: what it says, a dry run, machine-readable output, exit codes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from features.forgetting.forgotten import Forgotten
from features.forgetting.person import Person
from features.settings import Workspace
from foresell import main
from tests.features.sources.worlds import open_workspace

ROWS = [("c1", "2026-01-01 10:00:00", "2026-01-01 10:00:00"), ("c2", "2026-01-02", "2026-01-02T12:00:00.5")]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as connection:
        connection.execute("create table customers (customer_id text primary key, created_at text, updated_at text)")
        connection.executemany("insert into customers values (?, ?, ?)", ROWS)
        open_workspace(tmp_path, "canonical", of="sql", database="sqlite:///shop.db")
        yield connection


def call(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["ingest", "--workspace", str(root), *arguments])


def test_records_are_pulled_and_become_tables(shop: sqlite3.Connection, tmp_path: Path) -> None:
    first = call(tmp_path, "--from", "crm")
    assert first.exit_code == 0, first.stderr
    assert "customers: 2 pulled into customers, from the beginning; 2 say something new" in first.stderr
    assert "customers: 2 rows" in first.stderr
    shop.execute("insert into customers values ('c3', '2026-01-03', '2026-01-03')")
    second = json.loads(call(tmp_path, "--from", "crm", "--json").stdout)
    assert second["tables"]["customers"]["rows"] == 3
    assert second["pulled"]["crm"][0]["records"] == 2  # one lies in the overlap


def test_a_dry_run_says_what_would_come_and_ingests_nothing(shop: sqlite3.Connection, tmp_path: Path) -> None:
    told = call(tmp_path, "--from", "crm", "--dry-run", "--json")
    assert json.loads(told.stdout)["would_pull"]["crm"][0]["records"] == 2
    assert "customers: 2 to pull into customers, from the beginning" in told.stderr
    assert not (tmp_path / "data").exists() and not (tmp_path / "export").exists()
    assert call(tmp_path, "--dry-run").exit_code == 2


def test_without_from_nothing_is_pulled(shop: sqlite3.Connection, tmp_path: Path) -> None:
    told = call(tmp_path)
    assert told.exit_code == 1 and "no such folder" in told.stderr


def test_a_wrong_source_is_a_wrong_call_and_one_that_fails_is_not(shop: sqlite3.Connection, tmp_path: Path) -> None:
    wrong = call(tmp_path, "--from", "crn")
    assert wrong.exit_code == 2 and "write `crm`" in wrong.stderr
    shop.execute("update customers set updated_at = null")
    failed = call(tmp_path, "--from", "crm")
    assert failed.exit_code == 1 and "SourceError" in failed.stderr and "Traceback" not in failed.stderr


def test_whoever_is_forgotten_is_not_pulled_again(shop: sqlite3.Connection, tmp_path: Path) -> None:
    shop.executemany("insert into customers values (?, '2026-01-03', '2026-01-03')", [("c-1001",), ("c-10011",)])
    Forgotten(Workspace.open(tmp_path)).add(Person.of([("customer", "c-1001")]))
    assert call(tmp_path, "--from", "crm").exit_code == 0
    files = sorted(tmp_path.rglob("*.parquet"))
    ids = {path: {row.get("customer_id") for row in pq.ParquetFile(path).read().to_pylist()} for path in files}
    kept = [path for path, found in ids.items() if "c-10011" in found]
    assert {path.relative_to(tmp_path).parts[0] for path in kept} >= {"data", "export"}
    assert all("c-1001" not in found for found in ids.values())
