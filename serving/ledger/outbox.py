"""Scores that wait to be sent to a CRM. Each is sent at least once, unless a newer one of the same entity takes its place."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from serving.ledger.database import Part
from serving.ledger.row import Letter
from serving.ledger.table import OUTBOX, microseconds

_LETTER = [OUTBOX.c[name] for name in Letter._fields]
_WRITTEN = (*Letter._fields, "not_before", "created_at")
_REPLACED = ("id", "document", "attempts", "created_at")
NEVER = datetime(9999, 12, 31, tzinfo=UTC)  # until when a score that was given up is left alone
_SEND = (
    f"insert into outbox ({', '.join(_WRITTEN)}) values ({', '.join('?' * len(_WRITTEN))}) "
    f"on conflict (source, entity, entity_id, propensity) do update set {', '.join(f'{n} = excluded.{n}' for n in _REPLACED)}, "
    f"not_before = case outbox.not_before when {microseconds(NEVER)} then excluded.not_before else outbox.not_before end"
)


class Outbox(Part):
    """The table `outbox`."""

    def send_later(self, letters: Sequence[Letter], now: datetime) -> None:
        """Keep scores until they are sent, all or nothing; a newer one takes the place of one that waits.

        It also takes over until when the CRM is to be left alone, but not that the one before was given up.

        Raises:
            StoreError: the database does not answer, or is full.
            CallError: a value is one that no database can hold.
        """
        if letters:
            at = microseconds(now)
            by_key = {letter[1:5]: (*letter, at, at) for letter in letters}
            with self._database.writing() as connection:
                self._database.write_many(connection, _SEND, [by_key[key] for key in sorted(by_key)])

    def due(
        self, now: datetime, limit: int, lease: timedelta = timedelta(minutes=1), without: Collection[str] = ()
    ) -> list[Letter]:
        """The scores to be sent now, those that have waited longest first; nobody else gets them within the lease.

        Those of the sources in `without` are left where they are.

        Whoever is killed before `sent` or `failed` leaves them due again after it.

        Raises:
            StoreError: the database does not answer.
        """
        with self._database.writing(alone=True) as connection:
            query = select(*_LETTER, OUTBOX.c.number).where(OUTBOX.c.not_before <= now, OUTBOX.c.source.not_in(without))
            found = connection.execute(query.order_by(OUTBOX.c.not_before, OUTBOX.c.number).limit(limit)).all()
            leased = update(OUTBOX).values(not_before=now + lease, sending=OUTBOX.c.id)
            connection.execute(leased.where(OUTBOX.c.number.in_([row.number for row in found])))
        return [Letter(*row[:-1]) for row in found]

    def sent(self, letter_id: str) -> None:
        """Forget a score that was sent; one that took its place meanwhile is due at once.

        Raises:
            StoreError: the database does not answer; the score will be sent again.
        """
        with self._database.writing() as connection:
            connection.execute(delete(OUTBOX).where(OUTBOX.c.id == letter_id))
            _free(connection, letter_id)

    def failed(self, letter_id: str, error: str, not_before: datetime) -> None:
        """Try again at `not_before`; a score that took its place waits as long.

        Raises:
            StoreError: the database does not answer; it is tried again after the lease.
        """
        values = {"not_before": not_before, "last_error": error, "sending": None}
        with self._database.writing() as connection:
            counted = update(OUTBOX).where(OUTBOX.c.id == letter_id)
            connection.execute(counted.values(attempts=OUTBOX.c.attempts + 1, **values))
            connection.execute(update(OUTBOX).where(OUTBOX.c.sending == letter_id).values(**values))

    def give_up(self, letter_id: str, error: str) -> None:
        """Send a score no more, but keep it until a newer one takes its place; one that did so meanwhile is due at once.

        Raises:
            StoreError: the database does not answer; it is tried again after the lease.
        """
        values = {"not_before": NEVER, "last_error": error, "sending": None, "attempts": OUTBOX.c.attempts + 1}
        with self._database.writing() as connection:
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == letter_id).values(**values))
            _free(connection, letter_id)


def _free(connection: Connection, letter_id: str) -> None:
    """What took the place of a letter under way is due at once."""
    connection.execute(update(OUTBOX).where(OUTBOX.c.sending == letter_id).values(not_before=OUTBOX.c.created_at, sending=None))
