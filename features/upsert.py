"""Packed records written into Feast's online store as Feast writes them, at a tenth of its cost in Redis, a third in SQLite.

Feast is passed by: it builds messages of protobuf for every key, value and instant, and one command or statement a record. The
tables and hashes, keys and values are its own (`features.wire`), so that `feast materialize` and this may write in turn, and
Feast reads what is written here; a test compares every byte.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Protocol

from features import storage, wire
from features.cluster import Cluster, redis_of
from features.database import identifier
from features.pipeline import Pipeline
from features.settings import Workspace

PATIENCE = 5.0  # seconds that SQLite waits for another writer, as it does under Feast
COMMANDS_AT_ONCE = 1_000  # of Redis: about half a megabyte, after which the others have their turn


class Upsert(Protocol):
    """An online store, open to be written."""

    def write(self, entity: str, as_of: datetime, records: Sequence[tuple[str, bytes]]) -> None:
        """Put packed records of one as_of in the place of whatever there is under their ids. Doing it again changes nothing.

        Raises:
            sqlite3.Error, RedisError: the store does not answer; SQLite then has all of the records or none, Redis perhaps some.
        """


def upsert_of(workspace: Workspace) -> Upsert:
    """How the online store of a workspace is written; it connects when it is first told to.

    Raises:
        WorkspaceError: `[store] online` is neither `sqlite` nor a Redis address.
    """
    if workspace.settings.store.online == "sqlite":
        return SqliteUpsert(workspace.store / storage.ONLINE_DB, storage.project(workspace))
    return RedisUpsert(redis_of(workspace, None), storage.project(workspace))


class RedisUpsert:
    """One hash an entity: the packed record and its as_of in one command, so that a reader never sees one without the other."""

    def __init__(self, redis: Pipeline | Cluster, project: str) -> None:
        self._redis, self._project = redis, project

    def write(self, entity: str, as_of: datetime, records: Sequence[tuple[str, bytes]]) -> None:
        between = _bulk(wire.redis_instant_field(entity)) + _bulk(wire.redis_instant(as_of)) + _bulk(wire.redis_field(entity))
        for start in range(0, len(records), COMMANDS_AT_ONCE):
            some = records[start : start + COMMANDS_AT_ONCE]
            keys = [wire.redis_key(self._project, entity, entity_id) for entity_id, _ in some]
            self._redis.ask(keys, [_command(key, between, data) for key, (_, data) in zip(keys, some, strict=True)])


class SqliteUpsert:
    """One table an entity, one row a record, one transaction a call: readers see what was before or after it, and never wait."""

    def __init__(self, path: Path, project: str) -> None:
        self._path, self._project = path, project

    def write(self, entity: str, as_of: datetime, records: Sequence[tuple[str, bytes]]) -> None:
        instant = wire.sqlite_instant(as_of)
        rows = ((wire.entity_key(entity, entity_id), wire.wrapped(data), instant) for entity_id, data in records)
        address = f"{self._path.resolve().as_uri()}?mode=rw"  # never makes an empty file
        with closing(sqlite3.connect(address, uri=True, timeout=PATIENCE)) as connection, connection:
            connection.executemany(_statement(wire.sqlite_table(self._project, entity)), rows)


def _command(key: bytes, between: bytes, data: bytes) -> bytes:
    value = wire.wrapped(data)
    return b"*6\r\n$4\r\nHSET\r\n$%d\r\n%b\r\n%b$%d\r\n%b\r\n" % (len(key), key, between, len(value), value)


def _bulk(text: bytes) -> bytes:
    """One word of a Redis command."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def _statement(table: str) -> str:
    return (
        f"insert into {identifier(table)} (entity_key, feature_name, value, event_ts) values (?, '{wire.RECORD}', ?, ?) "
        "on conflict (entity_key, feature_name) do update set "
        "value = excluded.value, value_text = null, event_ts = excluded.event_ts, created_ts = null"
    )
