"""What a CRM did about its leads and customers: each action once, however often it is told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, func, select

from serving.ledger.database import Part, in_parts
from serving.ledger.row import Action
from serving.ledger.table import ACTION, microseconds

_NAMES = Action._fields
_ROW = [ACTION.c[name] for name in _NAMES]
_SAME = ("propensity", "entity_id", "kind")
_KEEP = (
    f"insert into action ({', '.join(_NAMES)}) values ({', '.join('?' * len(_NAMES))}) "
    "on conflict (id) do update set outcome = coalesce(excluded.outcome, action.outcome) "
    f"where {' and '.join(f'action.{name} = excluded.{name}' for name in _SAME)}"
)


class Actions(Part):
    """The table `action`."""

    def log(self, actions: Sequence[Action]) -> dict[str, Action]:
        """Keep actions, all or nothing; of one whose id is known only an outcome is added that it did not have, or had otherwise.

        Returns:
            By id what is kept under it now: another action, where the id was already taken by one.

        Raises:
            StoreError: the database does not answer, or is full; nothing was kept.
            CallError: a value is one that no database can hold; nothing was kept.
        """
        if not actions:
            return {}
        self._database.add(ACTION)
        rows = [_row(one) for one in sorted(actions, key=lambda one: one.id)]
        with self._database.writing() as connection:
            self._database.write_many(connection, _KEEP, rows)
            queries = _of_ids(_ROW, [one.id for one in actions])
            return {row[0]: Action(*row) for query in queries for row in connection.execute(query).all()}

    def known(self, ids: Sequence[str]) -> set[str]:
        """Which of some ids are those of an action that is kept.

        Raises:
            StoreError: the database does not answer.
        """
        if not self._database.has(ACTION):
            return set()
        return {one for query in _of_ids([ACTION.c.id], ids) for one in self._database.column(query)}

    def actions(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        propensity: str | None = None,
        entity_id: str | None = None,
        limit: int | None = None,
    ) -> list[Action]:
        """What was done, newest last; of more than `limit` the newest.

        Args:
            since, until: done at or after, and before.
            propensity, entity_id: only for this propensity, about this entity.
            limit: at most so many.

        Raises:
            StoreError: the database does not answer.
        """
        if not self._database.has(ACTION):
            return []
        query = select(*_ROW).where(*_which(since, until, propensity, entity_id))
        query = query.order_by(ACTION.c.at.desc(), ACTION.c.number.desc()).limit(limit)
        return [Action(*row) for row in reversed(self._database.select(query))]

    def count_actions(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        propensity: str | None = None,
        entity_id: str | None = None,
    ) -> dict[tuple[str, str, bool], int]:
        """How many actions there are by propensity, kind, and whether the entity was held out; which ones as in `actions`.

        Raises:
            StoreError: the database does not answer.
        """
        if not self._database.has(ACTION):
            return {}
        by = (ACTION.c.propensity, ACTION.c.kind, ACTION.c.held_out)
        query = select(*by, func.count()).where(*_which(since, until, propensity, entity_id)).group_by(*by).order_by(*by)
        return {(row[0], row[1], bool(row[2])): row[3] for row in self._database.select(query)}


def _which(
    since: datetime | None, until: datetime | None, propensity: str | None, entity_id: str | None
) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(ACTION.c.at >= since)
    if until is not None:
        conditions.append(ACTION.c.at < until)
    wanted = {"propensity": propensity, "entity_id": entity_id}
    return conditions + [ACTION.c[name] == value for name, value in wanted.items() if value is not None]


def _row(action: Action) -> tuple[Any, ...]:
    return action._replace(at=microseconds(action.at), told_at=microseconds(action.told_at))  # type: ignore[arg-type]


def _of_ids(columns: Sequence[Column[Any]], ids: Sequence[str]) -> list[Select[Any]]:
    return [select(*columns).where(ACTION.c.id.in_(some)) for some in in_parts(sorted(set(ids)))]
