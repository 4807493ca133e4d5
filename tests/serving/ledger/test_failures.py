"""What the ledger says when its database fails, and that it goes on when the database does."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from features.errors import StoreError, WorkspaceError
from features.settings import Workspace
from serving.http.address import free_port
from serving.ledger import Ledger
from tests.serving.ledger.conftest import open_workspace
from tests.serving.ledger.entries import entry


def file_of(workspace: Workspace) -> Path:
    return workspace.serving / "ledger.db"


@contextmanager
def full_disk() -> Iterator[Callable[[], None]]:
    """SQLite's own answer to a full disk, until what is yielded is called."""
    most = [1]

    def limit(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"pragma max_page_count = {most[-1]}")

    event.listen(Engine, "checkout", limit)
    yield lambda: most.append(1_000_000)
    event.remove(Engine, "checkout", limit)


@contextmanager
def locked(address: str, workspace: Workspace) -> Iterator[None]:
    """Somebody else holds the whole database."""
    if address == "sqlite":
        with closing(sqlite3.connect(file_of(workspace), isolation_level=None)) as connection:
            connection.execute("pragma locking_mode = exclusive")
            connection.execute("begin exclusive")
            yield
    else:
        import psycopg

        with psycopg.connect(address) as connection:
            connection.execute("lock table latest, served in access exclusive mode")
            yield


def test_a_locked_database_is_told_within_the_deadline_and_used_again(
    address: str, workspace: Workspace, open_ledger: Callable[..., Ledger]
) -> None:
    maker = open_ledger()
    maker.keep([entry("1")])
    maker.close()
    ledger = open_ledger(deadline_ms=50, write_ms=300)
    with locked(address, workspace):
        with pytest.raises(StoreError, match="ledger"):
            ledger.latest("churn", ["1"])
        with pytest.raises(StoreError) as told:
            ledger.keep([entry("2")])
    assert "sesame" not in str(told.value) and told.value.repair
    ledger = open_ledger()
    ledger.keep([entry("2")])
    assert len(ledger.latest("churn", ["1", "2"])) == 2


def test_a_full_disk_is_told_and_what_there_is_can_still_be_read(tmp_path: Path) -> None:
    with closing(Ledger.open(open_workspace(tmp_path, ledger_deadline_ms=5_000))) as ledger:
        ledger.keep([entry("1")])
        with full_disk() as make_room:
            with pytest.raises(StoreError, match="full") as told:
                ledger.keep([entry(f"{i}") for i in range(1_000)])
            assert "room" in told.value.repair
            assert list(ledger.latest("churn", ["1", "2"])) == ["1"]
            make_room()
            ledger.keep([entry("2")])
        assert len(ledger.latest("churn", ["1", "2"])) == 2


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    workspace.serving.mkdir(parents=True)
    file_of(workspace).write_bytes(b"no database " * 1_000)
    with closing(Ledger.open(workspace)) as ledger:
        for use in (lambda: ledger.latest("churn", ["1"]), lambda: ledger.keep([entry("1")])):
            with pytest.raises(StoreError, match="not a database") as told:
                use()
            assert "move the file away" in told.value.repair


def test_an_empty_file_is_filled(tmp_path: Path) -> None:
    """A process that was killed early, or `touch`, may leave one."""
    workspace = open_workspace(tmp_path)
    workspace.serving.mkdir(parents=True)
    file_of(workspace).touch()
    with closing(Ledger.open(workspace)) as ledger:
        assert ledger.latest("churn", ["1"]) == {}
        ledger.keep([entry("1")])
        assert len(ledger.latest("churn", ["1"])) == 1


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path)
    (tmp_path / "data").touch()
    with closing(Ledger.open(workspace)) as ledger, pytest.raises(StoreError, match="data"):
        ledger.keep([entry("1")])


def test_tables_of_a_newer_release_are_refused(address: str, workspace: Workspace, open_ledger: Callable[..., Ledger]) -> None:
    open_ledger().keep([entry("1")])
    if address == "sqlite":
        with closing(sqlite3.connect(file_of(workspace))) as connection, connection:
            connection.execute("update ledger_schema set version = 99")
    else:
        import psycopg

        with psycopg.connect(address) as connection:
            connection.execute("update ledger_schema set version = 99")
    ledger = open_ledger()
    for use in (lambda: ledger.latest("churn", ["1"]), lambda: ledger.keep([entry("1")]), ledger.waiting):
        with pytest.raises(StoreError, match="version 99, which a newer release"):
            use()


@pytest.mark.parametrize("told", ["", "mysql://host/db", "postgresql:///db", "sqlite:///x.db", "postgresql://u@h:port/d", "psql"])
def test_a_setting_that_is_no_address_is_refused(told: str, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"\[serving\] ledger"):
        Ledger.open(open_workspace(tmp_path, ledger=told))


def test_a_lacking_driver_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(WorkspaceError, match=r"foresell\[postgres\]"):
        Ledger.open(open_workspace(tmp_path, ledger="postgresql://postgres@127.0.0.1/postgres"))


def test_a_password_comes_from_the_environment_and_into_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_PASSWORD", "sesame")
    address = f"postgresql://me:${{LEDGER_PASSWORD}}@127.0.0.1:{free_port('127.0.0.1')}/ledger"
    with closing(Ledger.open(open_workspace(tmp_path, ledger=address, ledger_deadline_ms=5_000))) as ledger:
        for use in (lambda: ledger.latest("churn", ["1"]), lambda: ledger.keep([entry("1")])):
            with pytest.raises(StoreError, match=r"me:\*\*\*@127") as told:
                use()
            assert "sesame" not in str(told.value) and "start the database" in told.value.repair
