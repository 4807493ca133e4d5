"""Records written without Feast: byte for byte what Feast writes, whole or not at all, and completed after a kill."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from redis import Redis

from features import snapshot, storage, store, wire
from features.errors import StoreError
from features.record import Layout, encode
from features.record_file import record_files
from features.settings import Workspace
from features.upsert import upsert_of
from tests.features.test_store import MICROSECOND, ONLINE, REDIS, T, drop, materialized, minutes, put, world_of

if TYPE_CHECKING:
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

IDS = ["a", "ü", "日本", "🦊", " ", "a\0b", "x" * 300, "C-7|'\"", ""]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def feasts(entity: str, entity_id: str, data: bytes) -> tuple[EntityKey, Value]:
    """A key and a value as Feast has them in memory."""
    from feast.protos.feast.types.EntityKey_pb2 import EntityKey
    from feast.protos.feast.types.Value_pb2 import Value

    return EntityKey(join_keys=[f"{entity}_id"], entity_values=[Value(string_val=entity_id)]), Value(bytes_val=data)


@settings(deadline=None)  # the first one imports Feast
@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.timezones()))
@example(EPOCH)
@example(EPOCH - MICROSECOND)
@example(EPOCH + MICROSECOND)
def test_instants_are_feasts_own(as_of: datetime) -> None:
    from google.protobuf.timestamp_pb2 import Timestamp

    message = Timestamp()
    message.FromDatetime(as_of)
    assert wire.redis_instant(as_of) == message.SerializeToString()


def everything(workspace: Workspace) -> list[tuple]:
    """All that a store holds of the customers, to the byte."""
    if workspace.settings.store.online == "sqlite":
        with closing(sqlite3.connect(workspace.store / storage.ONLINE_DB)) as connection:
            table = wire.sqlite_table(storage.project(workspace), "customer")
            return connection.execute(f'select *, typeof(event_ts) from "{table}" order by entity_key').fetchall()
    with Redis.from_url(REDIS) as client:
        keys = sorted(client.keys(f"*{storage.project(workspace)}".encode()))
        return [(key, sorted(client.hgetall(key).items())) for key in keys]


@pytest.mark.parametrize("address", ONLINE)
def test_what_is_written_is_what_feast_writes(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somewhere else than in UTC, where Feast's SQLite store keeps another number for the same instant."""
    made = world_of(tmp_path, address, "a")
    store.apply(made)
    monkeypatch.setenv("TZ", "America/Sao_Paulo")
    time.tzset()
    online, as_of = store.Online(made), T + MICROSECOND
    records = [(entity_id, bytes([number]) * number**4) for number, entity_id in enumerate(IDS)]
    try:
        upsert_of(made).write("customer", as_of, records)
        ours = everything(made)
        theirs = [(key, {wire.RECORD: value}, as_of, None) for key, value in (feasts("customer", *each) for each in records)]
        view = online._views["customer"]
        online._feast.provider.online_store.online_write_batch(online._feast.config, view, theirs, None)
        assert ours == everything(made) and len(ours) == len(IDS)
        upsert_of(made).write("customer", as_of, records)
        assert ours == everything(made)
    finally:
        monkeypatch.undo()
        time.tzset()
        drop(made)


@pytest.mark.parametrize("address", ONLINE)
def test_a_run_that_is_killed_loses_nobody_and_the_next_one_completes_it(tmp_path: Path, address: str) -> None:
    everybody = ["a", "b", "c", "d"]
    assert materialized(tmp_path, address, T, "a", "b")[0].written == 2
    made = world_of(tmp_path, address, *everybody)
    snapshot.build(made, [T + MICROSECOND])
    code = (
        "import os, signal; from datetime import datetime; from pathlib import Path\n"
        "from features import store; from features.settings import Settings, StoreSettings, Workspace\n"
        "store.RECORDS_PER_CHUNK = 1; done = []\n"
        "def tick(number):\n"
        "    done.append(number)\n"
        "    if sum(done) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"workspace = Workspace(Path({str(tmp_path)!r}), Settings(store=StoreSettings(online={address!r})))\n"
        f"store.materialize(workspace, datetime.fromisoformat('{T + MICROSECOND}'), tick)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    try:
        assert killed.returncode == -signal.SIGKILL
        assert [record and record.as_of for record in store.Online(made).read("customer", everybody)] == [
            T + MICROSECOND, T + MICROSECOND, T + MICROSECOND, None,
        ]  # fmt: skip
        (done,) = store.materialize(made, T + MICROSECOND)
        assert (done.written, done.same, done.newer, done.gone) == (1, 3, 0, 0)
        assert pd.concat(map(pd.read_parquet, record_files(made, "customer")))["customer_id"].tolist() == everybody
    finally:
        drop(made)


@pytest.mark.redis
def test_a_command_that_redis_refuses_is_told_and_the_next_answers_are_not_mistaken(tmp_path: Path) -> None:
    made = world_of(tmp_path, REDIS, "a")
    store.apply(made)
    key = wire.redis_key(storage.project(made), "customer", "b")
    online, layout = store.Online(made), Layout((("usage_minutes", "number"),))
    packed = dict(zip("abc", encode(layout, T, pd.DataFrame({"usage_minutes": [1.0, 2.0, 3.0]})), strict=True))
    try:
        with Redis.from_url(REDIS) as client:
            client.set(key, "no hash")
            with pytest.raises(StoreError, match="WRONGTYPE"):
                online._write("customer", T, list(packed.items()))
            client.delete(key)
        assert put(made, T, a=1.0, b=2.0, c=3.0) == store.Materialized("customer", written=1, same=2)
        assert minutes(online, "a", "b", "c") == [1.0, 2.0, 3.0]
    finally:
        drop(made)


def test_a_sqlite_file_that_is_gone_is_told_and_not_made_anew(tmp_path: Path) -> None:
    made = world_of(tmp_path, "sqlite", "a")
    store.apply(made)
    (made.store / storage.ONLINE_DB).unlink()
    with pytest.raises(StoreError, match="unable to open"):
        store.Online(made)._write("customer", T, [("a", b"record")])
    assert not (made.store / storage.ONLINE_DB).exists()


def test_nobody_is_written_without_a_connection(tmp_path: Path) -> None:
    upsert_of(world_of(tmp_path, "redis://127.0.0.1:1", "a")).write("customer", T, [])
