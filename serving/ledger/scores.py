"""Stored scores, and who asked for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select

from features.record import Layout, Values, digest_of
from serving.ledger.database import Database, Part, in_parts
from serving.ledger.kept import packed
from serving.ledger.row import Entry, Served, Stored
from serving.ledger.table import KEPT, LATEST, SERVED, instant, microseconds

_STORED = LATEST.columns.keys()
_AUDITED = SERVED.columns.keys()[1:]
_ONE = f"select {', '.join(_STORED)} from latest where propensity = ? and entity_id = ?"
_MANY = f"select {', '.join(_STORED)} from latest where propensity = ? and entity_id "
_EVERY = f"select {', '.join(_STORED)} from latest where entity_id = ? and propensity "
_HEADS = f"select {', '.join(_STORED[:5])} from latest where propensity = ? and entity_id "
_ANSWERED = "select entity_id from latest where propensity = ? and entity_id > ? order by entity_id limit ?"
_WITHHELD = _MANY.replace("and entity_id", "and probability is null and entity_id")
_STORE = (
    f"insert into latest ({', '.join(_STORED)}) values ({', '.join('?' * len(_STORED))}) "
    f"on conflict (propensity, entity_id) do update set {', '.join(f'{name} = excluded.{name}' for name in _STORED[2:])}"
)
_LAYOUT = "insert into kept (digest, layout) values (?, ?) on conflict do nothing"
_LAYOUTS = "select digest, layout from kept where digest "
_HAS_OBJECTED = (  # of a document, a blob of SQLite's or a bytea of PostgreSQL's
    """instr(latest.document, cast('"policy":"suppressed"' as blob)) > 0""",
    """position(cast('"policy":"suppressed"' as bytea) in latest.document) > 0""",
)
_APPEND = f"insert into served ({', '.join(_AUDITED)}) values ({', '.join('?' * len(_AUDITED))})"


class Scores(Part):
    """The tables `latest`, `kept` and `served`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._layouts: dict[bytes, Layout] = {}  # by digest: those that are certain to be in the database

    def latest(self, propensity: str, ids: Sequence[str]) -> dict[str, Stored]:
        """The last score of each entity that has one, by id.

        Raises:
            StoreError: the database does not answer within `[serving] ledger_deadline_ms`.
            CallError: an id is text that no database can hold.
        """
        if not ids:
            return {}
        rows = (
            self._database.read(_ONE, (propensity, ids[0]))
            if len(ids) == 1
            else self._database.read_among(_MANY, (propensity,), ids)
        )
        return {one.entity_id: one for one in self._stored(rows)}

    def latest_beside(self, propensity: str, now: Mapping[str, tuple[str, float | None]]) -> dict[str, Stored]:
        """As `latest`, to be compared with what is said now, by id: the version and the probability.

        A score of the same version and probability comes without its document and what it was made from.

        Raises:
            StoreError, CallError: as `latest`.
        """
        if len(now) < 2:
            return self.latest(propensity, list(now))
        heads = {row[1]: row for row in self._database.read_among(_HEADS, (propensity,), list(now))}
        same = {
            who: Stored(row[0], who, instant(row[2]), row[3], row[4], b"") for who, row in heads.items() if row[3:] == now[who]
        }
        return {**same, **self.latest(propensity, [who for who in heads if who not in same])}

    def of_entity(self, propensities: Sequence[str], entity_id: str) -> list[Stored]:
        """The last score of one entity for each propensity that has one, by the propensity's name.

        Args:
            propensities: those of one kind of entity; a lead and a customer may have the same id.
            entity_id: the CRM's id.

        Raises:
            StoreError, CallError: as `latest`.
        """
        return sorted(self._stored(self._database.read_among(_EVERY, (entity_id,), propensities)), key=lambda one: one.propensity)

    def withheld(self, propensities: Sequence[str], ids: Sequence[str]) -> dict[str, Stored]:
        """By id, the newest stored answer of any of some propensities that has no score.

        Raises:
            StoreError, CallError: as `latest`.
        """
        rows = [row for name in propensities for row in self._database.read_among(_WITHHELD, (name,), ids)]
        return {one.entity_id: one for one in self._stored(sorted(rows, key=lambda row: row[2]))}

    def withheld_since(self, propensities: Sequence[str], since: datetime) -> list[Stored]:
        """The stored answers of some propensities that have no score and were given after an instant, oldest first.

        Raises:
            StoreError: the database does not answer.
        """
        query = select(LATEST).where(LATEST.c.propensity.in_(propensities), LATEST.c.probability.is_(None))
        rows = self._database.select(query.where(LATEST.c.scored_at > since).order_by(LATEST.c.scored_at))
        return self._stored([(*row[:2], microseconds(row[2]), *row[3:]) for row in rows])

    def answered(self, propensity: str, after: str, limit: int) -> list[str]:
        """The ids of the entities of which an answer is stored, a score or not, in the database's order.

        Args:
            propensity: which question.
            after: only those that come after this one, such as the last one of an earlier call; "" for the first.
            limit: at most so many.

        Raises:
            StoreError: the database does not answer.
        """
        return [row[0] for row in self._database.rows(_ANSWERED, (propensity, after, limit))]

    def scored(self, propensity: str, ids: Sequence[str]) -> list[str]:
        """Those of some entities whose stored answer is a score.

        Raises:
            StoreError: the database does not answer.
        """
        query = select(LATEST.c.entity_id).where(LATEST.c.propensity == propensity, LATEST.c.probability.is_not(None))
        return [one for some in in_parts(ids) for one in self._database.column(query.where(LATEST.c.entity_id.in_(some)))]

    def keep(self, entries: Sequence[Entry]) -> None:
        """Append to the audit and store the scores there are, all or nothing.

        Of two scores of one entity the one kept later stays, whatever their clocks say: a clock that was set back must not
        freeze a score.

        Raises:
            StoreError: the database does not answer, or is full.
            CallError: a value is one that no database can hold; nothing was kept.
        """
        if entries:
            self._keep(_STORE, [entry.stored for entry in entries if entry.stored], entries)

    def keep_latest(self, scores: Sequence[Stored]) -> None:
        """Store scores that nobody asked for, such as 5,000 of a night at a time, so that others get their turn in between.

        An objection that was told after the instant of such a score stays: the night did not know of it.

        Raises:
            StoreError, CallError: as `keep`.
        """
        if scores:
            has_objected = _HAS_OBJECTED[0 if self._database.is_file else 1]
            is_later = "latest.probability is null and latest.scored_at > excluded.scored_at"
            self._keep(f"{_STORE} where not ({is_later} and {has_objected})", scores, ())

    def audit(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        caller: str | None = None,
        entity_id: str | None = None,
        propensity: str | None = None,
        limit: int = 100,
    ) -> list[Served]:
        """Who asked for what, newest last; of more than `limit` rows the newest.

        Args:
            since, until: answered at or after, and before.
            caller, entity_id, propensity: only this key's, about this entity, for this propensity.
            limit: at most so many rows.

        Raises:
            StoreError: the database does not answer.
        """
        wanted = {"caller": caller, "entity_id": entity_id, "propensity": propensity}
        query = select(SERVED).order_by(SERVED.c.number.desc()).limit(limit)
        query = query.where(*(SERVED.c[name] == value for name, value in wanted.items() if value is not None))
        query = query.where(SERVED.c.at >= since) if since else query
        query = query.where(SERVED.c.at < until) if until else query
        return [Served(*row) for row in reversed(self._database.select(query))]

    def _keep(self, store: str, scores: Sequence[Stored], entries: Sequence[Entry]) -> None:
        """All or nothing.

        Of scores one for each entity, in an order of the keys, so that two who write the same ones do not wait for each other.
        """
        newest = {stored[:2]: stored for stored in scores}
        ordered = [newest[key] for key in sorted(newest)]
        layouts = {one.features.layout.digest: one.features.layout for one in ordered if one.features is not None}
        others = {digest: layout for digest, layout in layouts.items() if digest not in self._layouts}
        if others:
            self._database.add(KEPT)
        with self._database.writing() as connection:
            if others:
                told = [(digest, others[digest].to_json()) for digest in sorted(others)]
                self._database.write_many(connection, _LAYOUT, told)
            if ordered:
                self._database.write_many(connection, store, _packed(ordered))
            if entries:
                self._database.write_many(connection, _APPEND, _audited(entries))
        self._layouts.update(others)

    def _stored(self, rows: Sequence[Sequence[Any]]) -> list[Stored]:
        """Rows of `latest` as the driver gives them, with what was kept by name; of what is no record nothing was kept."""
        digests = {digest_of(row[-1]) for row in rows if row[-1]} - self._layouts.keys()
        if others := [one for one in digests if one is not None]:
            found = self._database.read_among(_LAYOUTS, (), others)
            self._layouts.update((digest, Layout.from_json(text)) for digest, text in found)
        kept = [self._values(row[7]) for row in rows]
        return [
            Stored(row[0], row[1], instant(row[2]), row[3], row[4], row[5], row[6] if values is not None else None, values)
            for row, values in zip(rows, kept, strict=True)
        ]

    def _values(self, record: bytes | None) -> Values | None:
        layout = self._layouts.get(digest_of(record) or b"") if record else None
        return Values(layout, record) if layout and record else None


def _packed(scores: Sequence[Stored]) -> Iterator[tuple[Any, ...]]:
    """Rows; features are packed here, after the answer."""
    propensities, ids, instants, *others, features = zip(*scores, strict=True)
    return zip(propensities, ids, map(microseconds, instants), *others, packed(features), strict=True)


def _audited(entries: Sequence[Entry]) -> Iterator[tuple[Any, ...]]:
    instants, *others, _ = zip(*entries, strict=True)
    return zip(map(microseconds, instants), *others, strict=True)
