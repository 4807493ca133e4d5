"""What each target was sent, record by record. What is under way waits; whoever is killed leaves it waiting, to be sent again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime

from sqlalchemy import ColumnElement, func, select

from serving.ledger.database import Part, in_parts
from serving.ledger.row import Status, Written
from serving.ledger.table import WRITTEN, microseconds

ROWS_PER_PAGE = 50_000
_NAMES = Written._fields
_ROW = [WRITTEN.c[name] for name in _NAMES]
_KEPT = ("target", "propensity", "entity_id", "attempts")
_INTEND = (
    f"insert into written ({', '.join(_NAMES)}) values ({', '.join('?' * len(_NAMES))}) "
    f"on conflict (target, propensity, entity_id) do update set "
    f"{', '.join(f'{name} = excluded.{name}' for name in _NAMES if name not in _KEPT)}, "
    "attempts = case written.status when 'sent' then 1 else written.attempts + 1 end"
)
_SETTLE = "update written set status = ?, error = ?, at = ? where target = ? and propensity = ? and entity_id = ?"
_SETTLED = "case when settings = ? and state = 'scored' and status = 'sent' then"
_HELD = (
    f"select entity_id, {_SETTLED} score end, {_SETTLED} grade end from written "
    "where target = ? and propensity = ? and entity_id > ? and (state <> 'gone' or status = 'waiting') order by entity_id limit ?"
)


class Targets(Part):
    """The table `written`."""

    def alone(self, target: str) -> AbstractContextManager[bool]:
        """Whether nobody else writes to a target, on whatever machine; in SQLite, where that is not told here, always true.

        Raises:
            StoreError: the database does not answer.
        """
        return self._database.holding(f"write-back {target}")

    def written(self, target: str, propensity: str, ids: Sequence[str]) -> dict[str, Written]:
        """What the target was last sent about each entity, by id; those it was never sent anything about are left out.

        Raises:
            StoreError: the database does not answer.
        """
        found: dict[str, Written] = {}
        for some in in_parts(ids):
            is_one = WRITTEN.c.entity_id.in_(some)
            found |= {row.entity_id: row for row in self._where(target, WRITTEN.c.propensity == propensity, is_one)}
        return found

    def held(self, target: str, propensity: str, settings: str) -> Iterator[Sequence[tuple[str, int | None, str | None]]]:
        """Of whom the target holds a score, or may hold one, a page at once in the database's order: id, score and grade.

        Score and grade are None where they are not known to have been sent with these settings.

        Raises:
            StoreError: the database does not answer.
        """
        last = ""
        while self._database.has(WRITTEN):
            page = self._database.rows(_HELD, (settings, settings, target, propensity, last, ROWS_PER_PAGE))
            if not page:
                return
            yield page
            last = page[-1][0]

    def of_status(self, target: str, status: Status) -> list[Written]:
        """What the target has, rejected or waits for, by propensity and id.

        Raises:
            StoreError: the database does not answer.
        """
        return sorted(self._where(target, WRITTEN.c.status == status))

    def keys(self, target: str, status: Status) -> list[tuple[str, str]]:
        """The same, but only propensity and id, and in any order.

        Raises:
            StoreError: the database does not answer.
        """
        if not self._database.has(WRITTEN):
            return []
        query = select(WRITTEN.c.propensity, WRITTEN.c.entity_id)
        return [
            (row[0], row[1]) for row in self._database.select(query.where(WRITTEN.c.target == target, WRITTEN.c.status == status))
        ]

    def statuses(self, target: str) -> dict[Status, int]:
        """How many records of the target are of each status.

        Raises:
            StoreError: the database does not answer.
        """
        if not self._database.has(WRITTEN):
            return {}
        query = select(WRITTEN.c.status, func.count()).where(WRITTEN.c.target == target).group_by(WRITTEN.c.status)
        return {row[0]: row[1] for row in self._database.select(query)}

    def intend(self, rows: Iterable[Written]) -> None:
        """Note what is about to be sent, before it is: whoever is killed then leaves it waiting.

        Raises:
            StoreError: the database does not answer; nothing was noted, and nothing must be sent.
            CallError: a value is one that no database can hold.
        """
        self._database.add(WRITTEN)
        made = [row._replace(as_of=microseconds(row.as_of), at=microseconds(row.at)) for row in rows]  # type: ignore[arg-type]
        with self._database.writing() as connection:
            self._database.write_many(connection, _INTEND, sorted(made, key=lambda row: row[:3]))

    def settle(
        self,
        target: str,
        propensity: str,
        ids: Iterable[str],
        status: Status,
        at: datetime,
        errors: Mapping[str, str] | None = None,
    ) -> None:
        """Note what became of what was intended.

        Args:
            target, propensity, ids: of what.
            status: what became of them.
            at: when.
            errors: by id, why it was rejected or waits.

        Raises:
            StoreError: the database does not answer; they wait, and are sent again.
        """
        told, moment = errors or {}, microseconds(at)
        rows = [(status, told.get(one), moment, target, propensity, one) for one in sorted(ids)]
        if rows:
            with self._database.writing() as connection:
                self._database.write_many(connection, _SETTLE, rows)

    def _where(self, target: str, *conditions: ColumnElement[bool]) -> list[Written]:
        if not self._database.has(WRITTEN):
            return []
        query = select(*_ROW).where(WRITTEN.c.target == target, *conditions)
        return [Written(*row) for row in self._database.select(query)]
