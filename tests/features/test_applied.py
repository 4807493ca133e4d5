"""Feast is told what is declared when it does not know it, and only then."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from unittest.mock import Mock

import pytest

from features import applied, snapshot, storage, store
from features.settings import Settings, StoreSettings, Workspace
from features.storage import ONLINE_DB, REGISTRY_DB
from tests.features.test_store import T, feast_names, put, usage
from tests.features.test_store import make as make_store

QUESTION = 'question = "Will they buy?"\nentity = "customer"\nhorizon = "90d"\n[outcome]\ntable = "orders"\nat = "occurred_at"\n'


@pytest.fixture
def fresh(tmp_path: Path) -> Workspace:
    """A small workspace, built and applied."""
    usage(tmp_path, [("a", T - timedelta(days=1), 1.0, "x", True)])
    made = make_store(tmp_path, tables={"customers", "orders"})
    snapshot.build(made, [T])
    store.apply(made)
    return made


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mock]:
    """Counts how often Feast is told."""
    mock = Mock(wraps=store._tell)
    monkeypatch.setattr(store, "_tell", mock)
    yield mock


def _change(workspace: Workspace, database: str, statement: str) -> None:
    with closing(sqlite3.connect(workspace.store / database)) as connection, connection:
        connection.execute(statement)


def _question(workspace: Workspace) -> None:
    workspace.own_propensities.mkdir()
    (workspace.own_propensities / "buys.toml").write_text(QUESTION, encoding="utf-8")


CHANGES: dict[str, Callable[[Workspace], object]] = {
    "registry deleted": lambda made: (made.store / REGISTRY_DB).unlink(),
    "registry emptied": lambda made: (made.store / REGISTRY_DB).write_bytes(b""),
    "a question forgotten": lambda made: store.Online(made)._feast.delete_feature_service("churn"),
    "a row changed": lambda made: _change(made, REGISTRY_DB, "update feature_services set last_updated_timestamp = 1"),
    "online store deleted": lambda made: (made.store / ONLINE_DB).unlink(),
    "table of records dropped": lambda made: _change(made, ONLINE_DB, f'drop table "{storage.project(made)}_customer_record"'),
    "table of records as an older Feast made it": lambda made: _change(
        made, ONLINE_DB, f'alter table "{storage.project(made)}_customer_record" drop column value_text'
    ),
    "nothing kept": lambda made: (made.store / applied.FILE).unlink(),
    "what was kept damaged": lambda made: (made.store / applied.FILE).write_text("{", encoding="utf-8"),
    "what was kept is something else": lambda made: (made.store / applied.FILE).write_text("[1]", encoding="utf-8"),
    "another propensity": _question,
}


def test_what_it_knows_it_is_not_told_again(fresh: Workspace, told: Mock) -> None:
    before = feast_names(fresh)
    store.apply(fresh)
    store.materialize(fresh, T)
    store.apply(fresh)
    assert told.call_count == 0 and feast_names(fresh) == before


def test_another_process_need_not_import_feast(fresh: Workspace) -> None:
    put(fresh, T, a=1.0)
    code = (
        "import sys; from pathlib import Path; from datetime import datetime; from features import store\n"
        "from features.settings import Workspace; from tests.features.test_store import put, T, Settings, USAGE\n"
        f"made = Workspace(Path({str(fresh.root)!r}), Settings(external={{'usage': USAGE}}))\n"
        "store.apply(made); assert put(made, T, a=2.0).written == 1\n"
        "assert 'feast' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("change", CHANGES)
def test_it_is_told_again_when_anything_is_not_as_it_was(fresh: Workspace, told: Mock, change: str) -> None:
    views, services, sources = feast_names(fresh)
    CHANGES[change](fresh)
    for _ in range(2):
        store.apply(fresh)
        assert told.call_count == 1
    assert feast_names(fresh) == (views, services | ({"buys"} if change == "another propensity" else set()), sources)
    assert put(fresh, T, a=1.0).written == 1


def test_a_registry_that_is_restored_is_told_what_came_since(fresh: Workspace, told: Mock) -> None:
    shutil.copy(fresh.store / REGISTRY_DB, fresh.root / "backup")
    without = replace(fresh, settings=Settings())
    store.apply(without)
    after = feast_names(without)
    shutil.copy(fresh.root / "backup", fresh.store / REGISTRY_DB)
    assert "usage" in feast_names(without)[0]
    store.apply(without)
    assert told.call_count == 2 and feast_names(without) == after


def test_what_changes_while_it_is_told_is_told_the_next_time(
    fresh: Workspace, told: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = iter(["now", "changed", "changed", "changed"])
    monkeypatch.setattr(applied, "declared", lambda workspace: next(digests))
    store.apply(fresh)
    store.apply(fresh)
    assert told.call_count == 2


@pytest.mark.parametrize("release", ["feast", "foresell"])
def test_another_release_tells_it_again(fresh: Workspace, told: Mock, monkeypatch: pytest.MonkeyPatch, release: str) -> None:
    monkeypatch.setattr(applied, "version", lambda name: "9.9" if name == release else "1.0")
    store.apply(fresh)
    monkeypatch.setattr(applied, "version", lambda name: "9.8" if name == release else "1.0")
    store.apply(fresh)
    assert told.call_count == 2


def test_another_store_is_told(fresh: Workspace, told: Mock) -> None:
    settings = fresh.settings.model_copy(update={"store": StoreSettings(project="another")})
    another = replace(fresh, settings=settings)
    store.apply(another)
    store.apply(fresh)
    assert told.call_count == 2
    assert put(another, T, a=1.0).written == put(fresh, T, a=1.0).written == 1


def test_a_registry_in_postgresql_is_told_every_time(fresh: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_tell", mock := Mock())
    settings = fresh.settings.model_copy(update={"store": StoreSettings(registry="postgresql://user@127.0.0.1:1/feast")})
    for _ in range(2):
        store.apply(replace(fresh, settings=settings))
    assert mock.call_count == 2


@pytest.mark.parametrize("calls", [1, 3, 6, 9])
def test_whoever_is_killed_while_telling_leaves_it_to_be_told_again(fresh: Workspace, calls: int) -> None:
    before = feast_names(fresh)
    if (child := os.fork()) == 0:
        _tell_until_killed(replace(fresh, settings=Settings()), calls)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    store.apply(fresh)
    assert feast_names(fresh) == before
    store.apply(replace(fresh, settings=Settings()))
    assert "usage" not in feast_names(fresh)[0]


def _tell_until_killed(workspace: Workspace, calls: int) -> None:
    """Ends this process at a write to the registry."""
    from feast.infra.registry.sql import SqlRegistry

    names, counted = ("_apply_object", "_delete_object"), [0]

    def counting(original: Callable[..., object]) -> Callable[..., object]:
        def wrapper(*args: object, **kwargs: object) -> object:
            counted[0] += 1
            if counted[0] == calls:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        return wrapper

    for name in names:
        setattr(SqlRegistry, name, counting(getattr(SqlRegistry, name)))
    try:
        store.apply(workspace)
    finally:
        os._exit(1)


def test_the_registry_is_told_once_what_is_online(fresh: Workspace) -> None:
    def noted() -> list[object]:
        view = store.Online(fresh)._feast.get_feature_view("customer_record")
        return [end for _, end in view.materialization_intervals]

    for minutes in (1.0, 2.0):
        assert put(fresh, T, a=minutes).written == 1
    assert noted() == [T]
    put(fresh, T + timedelta(days=1), a=2.0)
    assert noted() == [T, T + timedelta(days=1)]
    (fresh.store / REGISTRY_DB).unlink()
    store.apply(fresh)
    put(fresh, T + timedelta(days=1), a=3.0)
    assert noted() == [T + timedelta(days=1)]


@pytest.mark.parametrize("loss", ["delete from", "drop table"])
def test_what_the_online_store_lost_is_back_to_the_bit(fresh: Workspace, loss: str) -> None:
    store.materialize(fresh, T)
    ids = store.population(fresh, T)["customer"]
    whole = store.Online(fresh).read_packed("customer", ids)
    _change(fresh, ONLINE_DB, f'{loss} "{storage.project(fresh)}_customer_record"')
    store.apply(fresh)
    assert store.materialize(fresh, T)[0].written == len(ids)
    assert store.Online(fresh).read_packed("customer", ids) == whole and None not in whole
