"""What the feature store holds of a person: snapshots, copies of external tables, packed records, and the online store itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing

from features import storage, wire
from features.cluster import redis_of
from features.database import identifier
from features.errors import StoreError
from features.forgetting import rows
from features.forgetting.person import Person
from features.forgetting.place import Place
from features.forgetting.sqlite import compacted
from features.settings import Workspace
from features.snapshot import alone
from features.tables import ENTITIES

PATIENCE = 30.0  # seconds that SQLite waits for whoever reads or writes


def snapshots(workspace: Workspace, person: Person, *, remove: bool) -> list[Place]:
    """Count, or take out, the person's rows of every snapshot, which Feast reads as its offline store.

    What a snapshot was built from is no longer what the tables say, so the next build that needs it makes it anew.
    """
    if not workspace.snapshots.is_dir():
        return []
    work = rows.leave_out if remove else rows.count
    with alone(workspace):
        found = [
            Place("snapshot", str(path.relative_to(workspace.root)), work(path, person, rows.columns_of(entity)))
            for entity in ENTITIES
            for path in sorted((workspace.snapshots / entity).rglob("*.parquet"))
        ]
        if remove:
            for path in workspace.snapshots.rglob("*.part"):  # what a killed build left half written
                path.unlink()
    return [place for place in found if place.rows]


def online(workspace: Workspace, person: Person, *, remove: bool) -> list[Place]:
    """Count, or delete, the person's records in the online store.

    Raises:
        StoreError: the store does not answer.
    """
    if workspace.settings.store.online == "sqlite":
        return _sqlite(workspace, person, remove=remove)
    return _redis(workspace, person, remove=remove)


def _sqlite(workspace: Workspace, person: Person, *, remove: bool) -> list[Place]:
    """Of every project in the file: one that a workspace had before it was moved is still there."""
    path = workspace.store / storage.ONLINE_DB
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(path, PATIENCE, isolation_level=None)) as connection:
            tables = [row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")]
            found = [
                Place("online store", f"{path.relative_to(workspace.root)}, {table}", _rows(connection, table, keys, remove))
                for entity in ENTITIES
                if (keys := [wire.entity_key(entity, one) for one in sorted(person.ids(entity))])
                for table in tables
                if table.endswith(f"_{wire.record_view(entity)}")
            ]
            if remove:
                compacted(connection)
    except sqlite3.Error as problem:
        raise _away(workspace, str(problem)) from None
    return [place for place in found if place.rows]


def _rows(connection: sqlite3.Connection, table: str, keys: Sequence[bytes], remove: bool) -> int:
    """How many rows are under these keys; they are deleted if they are to be removed."""
    where = f"from {identifier(table)} where entity_key in ({', '.join('?' * len(keys))})"
    if remove:
        return connection.execute(f"delete {where}", keys).rowcount
    return int(connection.execute(f"select count(*) {where}", keys).fetchone()[0])


def _redis(workspace: Workspace, person: Person, *, remove: bool) -> list[Place]:
    from redis import RedisError

    project, word = storage.project(workspace), b"DEL" if remove else b"EXISTS"
    keys = {pair: wire.redis_key(project, *pair) for pair in person.pairs}
    commands = [b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(word), word, len(key), key) for key in keys.values()]
    try:
        answers = redis_of(workspace, None).ask(list(keys.values()), commands) if keys else []
    except (RedisError, OSError) as problem:
        raise _away(workspace, str(problem)) from None
    counts = {entity: sum(int(n) for (of, _), n in zip(keys, answers, strict=True) if of == entity) for entity in ENTITIES}
    return [Place("online store", f"Redis, {entity}s of project {project}", count) for entity, count in counts.items() if count]


def _away(workspace: Workspace, received: str) -> StoreError:
    return StoreError(
        f"online store of {workspace.root}",
        expected="an answer, so that nothing of the person stays there",
        received=received,
        repair="start it, then run the same command again: what is done is not done twice",
    )
