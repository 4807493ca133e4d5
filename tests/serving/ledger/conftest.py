"""A ledger in SQLite and one in PostgreSQL, in a schema of its own; every test that uses `ledger` runs on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from features.settings import SETTINGS_FILE, Workspace
from serving.ledger import Ledger

SERVER = "postgresql://postgres:sesame@127.0.0.1:5432/postgres"


def open_workspace(folder: Path, **serving: object) -> Workspace:
    lines = [f"{name} = {value!r}" for name, value in serving.items()]
    (folder / SETTINGS_FILE).write_text("\n".join(["[serving]", *lines]), encoding="utf-8")
    return Workspace.open(folder)


@contextmanager
def schema() -> Iterator[str]:
    """The address of a schema that is dropped afterwards."""
    import psycopg

    name = f"ledger_{uuid4().hex}"
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(f"create schema {name}")
        try:
            yield f"{SERVER}?options=-csearch_path%3D{name}"
        finally:
            connection.execute(f"drop schema {name} cascade")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """What `[serving] ledger` says."""
    if request.param == "sqlite":
        yield "sqlite"
    else:
        with schema() as found:
            yield found


@pytest.fixture
def workspace(address: str, tmp_path: Path) -> Workspace:
    """A workspace whose ledger is in that database; patient, because the machine may be busy."""
    return open_workspace(tmp_path, ledger=address, ledger_deadline_ms=5_000)


@pytest.fixture
def open_ledger(workspace: Workspace) -> Iterator[Callable[..., Ledger]]:
    """Opens the ledger as one more process would."""
    opened: list[Ledger] = []

    def open_one(deadline_ms: int = 5_000, **options: int) -> Ledger:
        settings = workspace.settings.serving.model_copy(update={"ledger_deadline_ms": deadline_ms})
        there = Workspace(workspace.root, workspace.settings.model_copy(update={"serving": settings}))
        opened.append(Ledger.open(there, **options))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


@pytest.fixture
def ledger(open_ledger: Callable[..., Ledger]) -> Ledger:
    return open_ledger()
