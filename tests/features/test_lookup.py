"""Look-ups without Feast: the same keys and values as Feast's, and an answer or an error in time, whatever the store does."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pandas as pd
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.servers import Server, redis
from features import lookup, snapshot, storage, store, wire
from features.errors import ContractError, StoreError, WorkspaceError
from features.record import Layout, decode, encode, numbers
from features.settings import Settings, StoreSettings, Workspace
from tests.features.test_store import ONLINE, T, drop, minutes, put, world_of
from tests.features.test_upsert import IDS, feasts
from tests.worlds import make_workspace

DEADLINE = timedelta(milliseconds=300)
AN_HOUR = "socket_timeout=3600&socket_connect_timeout=3600"
LAYOUT = Layout((("usage_minutes", "number"),))


# Feast's keys and values


@settings(deadline=None)  # the first one imports Feast
@given(st.text(), st.sampled_from(["lead", "customer"]), st.binary(min_size=1, max_size=20_000))
def test_keys_and_values_are_feasts_own(entity_id: str, entity: str, data: bytes) -> None:
    from feast.infra.key_encoding_utils import serialize_entity_key
    from feast.infra.online_stores.helpers import _mmh3, _redis_key

    key, value = feasts(entity, entity_id, data)
    assert wire.entity_key(entity, entity_id) == serialize_entity_key(key, entity_key_serialization_version=wire.KEY_VERSION)
    assert wire.redis_key("p", entity, entity_id) == _redis_key("p", key, entity_key_serialization_version=wire.KEY_VERSION)
    assert wire.redis_field(entity) == _mmh3(f"{entity}_record:record")
    written = value.SerializeToString()
    assert wire.wrapped(data) == written and wire.unwrapped(written) == data
    with pytest.raises(ContractError, match="BYTES"):
        wire.unwrapped(written[:-1])


@pytest.mark.parametrize("address", ONLINE)
def test_feast_reads_the_same(tmp_path: Path, address: str) -> None:
    made = world_of(tmp_path, address, "a")
    store.apply(made)
    online = store.Online(made, DEADLINE)
    packed = dict(zip(IDS, encode(LAYOUT, T, pd.DataFrame({"usage_minutes": [float(i) for i in range(len(IDS))]})), strict=True))
    online.put("customer", T, [packed])
    try:
        asked = [*IDS, "nobody", *IDS[:2]]
        found = online.read_packed("customer", [*asked, "\ud800"])
        feast = online._feast.get_online_features(["customer_record:record"], [{"customer_id": name} for name in asked])
        assert found[:-1] == feast.to_dict()["record"] == [packed.get(name) for name in asked]
        assert found[-1] is None
    finally:
        drop(made)


def test_reading_needs_neither_feast_nor_its_registry(tmp_path: Path) -> None:
    made = world_of(tmp_path, "sqlite", "a")
    store.apply(made)
    put(made, T, a=1.0)
    (made.store / storage.REGISTRY_DB).unlink()
    code = (
        "import sys; from pathlib import Path\n"
        "from features.settings import Settings, Workspace; from features.store import Online\n"
        f"found = Online(Workspace(Path({str(tmp_path)!r}), Settings())).read('customer', ['a'])\n"
        "assert found[0].values == {'usage_minutes': 1.0} and 'feast' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# many records at once


def test_a_matrix_of_many_records_has_the_bits_of_each() -> None:
    layout = Layout((("x", "number"), ("kind", "category"), ("y", "number")))
    frame = pd.DataFrame({"x": [1.0, float("nan")], "kind": ["ü", None], "y": [0.1 + 0.2, -0.0]})
    rows = [decode(layout, data) for data in encode(layout, T, frame)]
    expected = frame[["y", "x"]].to_numpy().tobytes()
    assert numbers(rows, ["y", "x"]).tobytes() == expected
    assert numbers([dict(row) for row in rows], ["y", "x"]).tobytes() == expected
    assert numbers([rows[0], {"x": None, "y": 2.0}], ["y"]).tolist() == [[0.1 + 0.2], [2.0]]
    assert numbers([], ["y"]).shape == (0, 1)


# deadlines


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with redis(tmp_path) as made:
        yield made


def given_up(ask: Callable[[], object], match: str) -> None:
    """That it ends at all is what is tested: without the deadline it would wait for an hour."""
    with pytest.raises(StoreError, match=match):
        ask()


@pytest.mark.redis
def test_redis_may_die_hang_and_come_back(tmp_path: Path, server: Server) -> None:
    made = world_of(tmp_path, f"{server.address}?{AN_HOUR}", "a")
    store.apply(made)
    put(made, T, a=1.0)
    online = store.Online(made, DEADLINE)
    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(lambda _: minutes(online, "a"), range(64))) == [[1.0]] * 64

        server.signal(signal.SIGSTOP)
        given_up(lambda: list(threads.map(lambda _: online.read("customer", ["a"]), range(16))), "Timeout")
        given_up(lambda: store.Online(made, DEADLINE).ping("customer"), "Timeout")
        server.signal(signal.SIGCONT)
        assert list(threads.map(lambda _: minutes(online, "a"), range(64))) == [[1.0]] * 64

        server.kill()
        given_up(lambda: list(threads.map(lambda _: online.read("customer", ["a"]), range(16))), "refused")
        given_up(lambda: online.ping("customer"), "refused")
        server.start()
        online.ping("customer")
        assert minutes(online, "a") == [None]
        put(made, T, a=2.0)
        assert list(threads.map(lambda _: minutes(online, "a"), range(16))) == [[2.0]] * 16


def test_a_host_that_swallows_packets_is_given_up(tmp_path: Path) -> None:
    with closing(socket.socket()) as silent, closing(socket.socket()) as first:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)  # a queue of one: whoever comes next gets no answer at all
        first.connect(silent.getsockname())
        made = world_of(tmp_path, f"redis://127.0.0.1:{silent.getsockname()[1]}?{AN_HOUR}", "a")
        storage.remember_entities(made, ["customer"])
        given_up(lambda: store.Online(made, DEADLINE).ping("customer"), "Timeout")


def test_a_server_that_answers_a_little_at_a_time_is_given_up_when_the_time_is_up(tmp_path: Path) -> None:
    stop = threading.Event()

    def trickle(listening: socket.socket) -> None:
        with listening.accept()[0] as connection, suppress(OSError):
            while not stop.wait(0.02):
                connection.sendall(b"$-1\r\n")

    with closing(socket.create_server(("127.0.0.1", 0))) as slow, ThreadPoolExecutor(1) as thread:
        made = world_of(tmp_path, f"redis://127.0.0.1:{slow.getsockname()[1]}?{AN_HOUR}", "a")
        storage.remember_entities(made, ["customer"])
        done = thread.submit(trickle, slow)
        given_up(lambda: store.Online(made, DEADLINE).read("customer", ["a"] * 1_000), "of 1000 answers when the time was up")
        stop.set()
        done.result()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    gc.collect()  # Feast's own connections, which nobody closes
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = delete")
        connection.execute("begin exclusive")
        yield


def test_sqlite_may_be_locked_removed_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "NO_DEADLINE", timedelta(hours=1))
    made = world_of(tmp_path, "sqlite", "a")
    store.apply(made)
    put(made, T, a=1.0)
    online = store.Online(made, DEADLINE)
    with locked(made.store / storage.ONLINE_DB), ThreadPoolExecutor(8) as threads:
        given_up(lambda: list(threads.map(lambda _: online.read("customer", ["a"]), range(8))), "locked")
    assert minutes(online, "a") == [1.0]
    (made.store / storage.ONLINE_DB).unlink()
    given_up(lambda: online.ping("customer"), "unable to open")
    store.apply(made)
    put(made, T, a=2.0)
    assert minutes(online, "a") == [2.0]


def test_a_deadline_is_split_between_connecting_and_answering(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Settings(store=StoreSettings(online="redis://:12@host/3?socket_timeout=0.05")))
    options = storage.redis_options(workspace, DEADLINE)
    assert (options["socket_connect_timeout"], options["socket_timeout"], options["retry"]) == (0.15, 0.05, None)
    assert (options["host"], options["port"], options["db"], options["password"]) == ("host", 6379, 3, "12")
    assert storage.redis_options(workspace)["socket_connect_timeout"] == 2


# the registry in PostgreSQL


@pytest.fixture
def database() -> Iterator[str]:
    name = f"foresell_registry_{os.getpid()}"
    with psycopg.connect("postgresql://postgres@127.0.0.1/postgres", autocommit=True) as connection:
        connection.execute(f"drop database if exists {name} with (force)")
        connection.execute(f"create database {name}")
        yield f"postgresql://postgres:${{FORESELL_PW}}@127.0.0.1:5432/{name}"
        connection.execute(f"drop database {name} with (force)")


@pytest.mark.postgres
def test_the_registry_may_be_in_postgresql_and_down(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESELL_PW", "hush@/:'")
    world = {"customers": [{"customer_id": "a", "created_at": pd.Timestamp("2024-01-01")}]}
    made = make_workspace(tmp_path, world, settings=Settings(store=StoreSettings(registry=database)))
    snapshot.build(made, [T])
    store.apply(made)
    spine = pd.DataFrame({"entity_id": ["a"], "as_of": pd.Series([T], dtype="datetime64[us, UTC]")})
    known = store.historical(made, "customer", spine, ["customer_age_days"])["customer_age_days"].tolist()
    assert store.materialize(made, T) == (store.Materialized("customer", written=1),)
    yaml = (made.store / storage.FEAST_YAML).read_text()
    assert "${FORESELL_PW}" in yaml and "hush" not in yaml and not (made.store / storage.REGISTRY_DB).exists()

    down = Workspace(made.root, Settings(store=StoreSettings(registry="postgresql://u:${FORESELL_PW}@127.0.0.1:1/x")))
    (record,) = store.Online(down, DEADLINE).read("customer", ["a"])
    assert record is not None and record.values["customer_age_days"] == known[0]
    with pytest.raises(StoreError, match=r"postgresql://127\.0\.0\.1:1/x") as caught:
        store.apply(down)
    assert "hush" not in str(caught.value)
    (made.store / storage.ENTITIES).unlink()
    with pytest.raises(StoreError, match="registry"):
        store.Online(down, DEADLINE)
    assert json.loads(yaml)["registry"]["path"].startswith("postgresql+psycopg://postgres@")


@pytest.mark.parametrize("address", ["", "mysql://host/db", "postgresql://u:hush@host", "postgresql://:hush@host:port/db"])
def test_a_registry_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(WorkspaceError, match=r"\[store\] registry") as refused:
        storage.config(Workspace(tmp_path, Settings(store=StoreSettings(registry=address))))
    assert "hush" not in str(refused.value)
