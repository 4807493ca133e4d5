"""Records that webhooks brought and that wait to be scored. Each is scored at least once, whoever is killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, delete, func, select, tuple_, update

from serving.ledger.database import Part
from serving.ledger.row import Claimed, Received
from serving.ledger.table import INBOX, microseconds

_RECORD = (INBOX.c.source, INBOX.c.entity, INBOX.c.entity_id)
_RECEIVE = (
    "insert into inbox (id, received_at, source, entity, entity_id, given) values (?, ?, ?, ?, ?, ?) on conflict (id) do nothing"
)


class Inbox(Part):
    """The table `inbox`."""

    def receive(self, records: Sequence[Received]) -> None:
        """Keep records until they are done, all or nothing; they are safe when this returns.

        Raises:
            StoreError: the database does not answer, or is full.
            CallError: a value is one that no database can hold.
        """
        if records:
            rows = [(r.id, microseconds(r.received_at), *r[2:5], json.dumps(r.given)) for r in records]
            with self._database.writing() as connection:
                self._database.write_many(connection, _RECEIVE, rows)

    def claim(self, worker: str, limit: int, now: datetime, stale_after: timedelta) -> list[Claimed]:
        """Take the records that have waited longest, everything of one entity as one, so that nobody else takes them.

        A record of which another worker holds a part waits until that part is done, so that no older fields are scored last.

        Args:
            worker: whose claim it is.
            limit: at most so many entities.
            now: the instant of the claim.
            stale_after: a claim that is this old, or this far in the future, is one of a worker that died.

        Raises:
            StoreError: the database does not answer.
        """
        with self._database.writing(alone=True) as connection:
            found = _free(connection, limit, now, stale_after)
            if found:
                numbers = [row.number for row in found]
                claim = update(INBOX).values(claimed_by=worker, claimed_at=now)
                for some in _parts(numbers):
                    connection.execute(claim.where(INBOX.c.number.in_(some)))
        return _coalesced(found)

    def done(self, ids: Sequence[str]) -> None:
        """Forget records that were scored.

        Raises:
            StoreError: the database does not answer; they will be scored again.
        """
        if ids:
            with self._database.writing() as connection:
                for some in _parts(ids):
                    connection.execute(delete(INBOX).where(INBOX.c.id.in_(some)))

    def release(self, ids: Sequence[str]) -> None:
        """Give claimed records back to whoever claims next.

        Raises:
            StoreError: the database does not answer; their claim grows stale instead.
        """
        if ids:
            with self._database.writing() as connection:
                for some in _parts(ids):
                    connection.execute(update(INBOX).where(INBOX.c.id.in_(some)).values(claimed_by=None, claimed_at=None))


def _parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """A thousand at a time: databases bound how many parameters a statement may have."""
    return (values[start : start + 1_000] for start in range(0, len(values), 1_000))


def _free(connection: Connection, limit: int, now: datetime, stale_after: timedelta) -> Sequence[Row]:
    """The rows of the entities of which nobody living holds one, oldest first."""
    held = _held(now, stale_after)
    first = func.min(INBOX.c.number)
    entities = select(*_RECORD).group_by(*_RECORD).having(func.sum(held) == 0).order_by(first).limit(limit).subquery()
    columns = [INBOX.c.number, *(INBOX.c[name] for name in Received._fields)]
    query = select(*columns).join(entities, tuple_(*_RECORD) == tuple_(*entities.c)).order_by(INBOX.c.number)
    return connection.execute(query).all()


def _held(now: datetime, stale_after: timedelta) -> ColumnElement[int]:
    """1 where a worker that may be alive holds the row; a claim from the far future was made before the clock was set back."""
    alive = and_(INBOX.c.claimed_at > now - stale_after, INBOX.c.claimed_at < now + stale_after)
    return case((alive, 1), else_=0)


def _coalesced(rows: Sequence[Row]) -> list[Claimed]:
    records: dict[tuple[str, str, str], Claimed] = {}
    for row in rows:
        key, given = (row.source, row.entity, row.entity_id), json.loads(row.given)
        before = records.get(key)
        records[key] = (
            Claimed((*before.ids, row.id), before.received_at, *key, {**before.given, **given})
            if before
            else Claimed((row.id,), row.received_at, *key, given)
        )
    return list(records.values())
