"""A night pulls before it ingests, once; a source that does not answer stops it, or is late."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.catalog import Catalog
from features.errors import SourceError
from features.settings import Workspace
from serving.nightly.job import _before
from serving.nightly.tables import Ingest, Pull, newest_as_of, reads_export
from tests.features.sources.worlds import open_workspace, quiet

NIGHT = datetime(2026, 1, 10, tzinfo=UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as connection:
        connection.execute("create table customers (customer_id text primary key, created_at text, updated_at text)")
        connection.execute("insert into customers values ('c1', '2026-01-01', '2026-01-01')")
        yield connection


@pytest.fixture
def workspace(shop: sqlite3.Connection, tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path, "canonical", of="sql", database="sqlite:///shop.db")


def night(workspace: Workspace, as_of: datetime) -> None:
    for step in _before(workspace, as_of, as_of)[:2]:
        step.run(quiet)


def test_a_night_pulls_and_then_ingests(workspace: Workspace, shop: sqlite3.Connection) -> None:
    assert reads_export(workspace) and newest_as_of(workspace, NIGHT) == NIGHT
    assert [step.name for step in _before(workspace, NIGHT, NIGHT)][:3] == ["pull crm", "ingest", "check"]
    night(workspace, NIGHT)
    assert Catalog.load(workspace).tables["customers"].rows == 1
    first = Ingest(workspace, NIGHT, NIGHT).inputs()
    night(workspace, NIGHT)
    assert Ingest(workspace, NIGHT, NIGHT).inputs() == first
    shop.execute("insert into customers values ('c2', '2026-01-09', '2026-01-09')")
    night(workspace, NIGHT + timedelta(days=1))
    assert Catalog.load(workspace).tables["customers"].rows == 2
    assert Ingest(workspace, NIGHT, NIGHT).inputs() != first


def test_a_night_pulls_once(workspace: Workspace) -> None:
    step, next_one = (Pull(workspace, "crm", NIGHT + timedelta(days=days), NIGHT) for days in (0, 1))
    assert not step.is_there({})
    step.run(quiet)
    assert step.is_there({}) and step.inputs() != next_one.inputs()


def test_a_source_that_does_not_answer_stops_the_night_or_is_late(workspace: Workspace, shop: sqlite3.Connection) -> None:
    night(workspace, NIGHT)
    shop.execute("drop table customers")
    shop.execute("create table customers (customer_id text primary key, updated_at text)")
    shop.execute("insert into customers values ('c2', null)")
    with pytest.raises(SourceError):
        Pull(workspace, "crm", NIGHT, NIGHT).run(quiet)
    text = (workspace.root / "foresell.toml").read_text(encoding="utf-8")
    (workspace.root / "foresell.toml").write_text(f'{text}\n[nightly]\nlate = "score"\n', encoding="utf-8")
    made = Pull(Workspace.open(workspace.root), "crm", NIGHT, NIGHT).run(quiet)
    assert set(made.failures) == {"pull crm"} and "nothing new of crm" in made.late[0]
