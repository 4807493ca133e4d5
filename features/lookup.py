"""Looking packed records up by id in Feast's online store, within a deadline, from many threads at once.

It reads what Feast wrote (`features.wire`) over the stores' own clients. Every thread that looks something up at the same time
has a connection to itself, so that nobody waits for the time-out of somebody else.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from features import storage, wire
from features.cluster import Cluster, redis_of
from features.database import identifier
from features.pipeline import Pipeline
from features.settings import Workspace

NO_DEADLINE = timedelta(seconds=5)  # how long SQLite waits for a lock then, as it does under Feast


class Lookup(Protocol):
    """An online store, open for look-ups."""

    def fetch(self, entity: str, ids: Sequence[str]) -> list[bytes | None]:
        """The packed record of each id, in the same order; None where there is none.

        Raises:
            sqlite3.Error, RedisError: the store does not answer in time, or not what it should.
            ContractError: a value is damaged.
        """


def lookup_of(workspace: Workspace, deadline: timedelta | None) -> Lookup:
    """The look-up for a workspace's online store; it connects when it is first asked.

    Args:
        workspace: tells which store, and under which project.
        deadline: how long one look-up may take, connecting included; None for the patience of a batch.

    Raises:
        WorkspaceError: `[store] online` is neither `sqlite` nor a Redis address.
    """
    if workspace.settings.store.online == "sqlite":
        return SqliteLookup(workspace.store / storage.ONLINE_DB, storage.project(workspace), deadline or NO_DEADLINE)
    return RedisLookup(redis_of(workspace, deadline), storage.project(workspace))


class RedisLookup:
    """Records in Redis: one hash an entity."""

    def __init__(self, redis: Pipeline | Cluster, project: str) -> None:
        self._redis, self._project = redis, project

    def fetch(self, entity: str, ids: Sequence[str]) -> list[bytes | None]:
        field, project = wire.redis_field(entity), self._project
        keys = [wire.redis_key(project, entity, entity_id) for entity_id in ids]
        commands = [b"*3\r\n$4\r\nHGET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(field), field) for key in keys]
        return [wire.unwrapped(value) for value in self._redis.ask(keys, commands)]


class SqliteLookup:
    """Records in a SQLite file: one table an entity. A file that was put in the place of the first one is opened anew."""

    def __init__(self, path: Path, project: str, patience: timedelta) -> None:
        self._path, self._project, self._patience = path, project, patience.total_seconds()
        self._spare: deque[tuple[sqlite3.Connection, object]] = deque()

    def fetch(self, entity: str, ids: Sequence[str]) -> list[bytes | None]:
        keys = [wire.entity_key(entity, entity_id) for entity_id in ids]
        table = identifier(wire.sqlite_table(self._project, entity))
        connection, file = self._connection()
        found = dict(
            connection.execute(
                f"select entity_key, value from {table} "
                f"where feature_name = '{wire.RECORD}' and entity_key in ({','.join('?' * len(keys))})",
                keys,
            ).fetchall()
        )
        self._spare.append((connection, file))
        return [wire.unwrapped(found.get(key)) for key in keys]

    def _connection(self) -> tuple[sqlite3.Connection, object]:
        file = self._file()
        while self._spare:
            try:
                spare = self._spare.pop()
            except IndexError:
                break  # another thread took it
            if spare[1] == file:
                return spare
        address = f"{self._path.resolve().as_uri()}?mode=rw"  # never makes an empty file
        connection = sqlite3.connect(address, uri=True, timeout=self._patience, check_same_thread=False, isolation_level=None)
        return connection, file

    def _file(self) -> object:
        try:
            status = self._path.stat()
        except OSError:
            return None  # connecting says what is wrong with it
        return status.st_dev, status.st_ino
