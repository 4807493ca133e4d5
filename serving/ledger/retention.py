"""How long the ledger keeps what nothing works with any more."""

from __future__ import annotations

import time
from datetime import datetime

from sqlalchemy import Column, ColumnElement, delete, select

from serving.ledger.database import Part
from serving.ledger.outbox import NEVER
from serving.ledger.row import Forgotten
from serving.ledger.table import ACTION, OUTBOX, SERVED, SHADOW

ROWS_AT_ONCE = 5_000
PAUSE_SECONDS = 0.1  # as long as a writer of SQLite that waits for its turn sleeps at most before it looks again


class Retention(Part):
    """Removes what is old from the tables `served`, `shadow`, `outbox` and `action`."""

    def forget(self, before: datetime, rows_at_once: int = ROWS_AT_ONCE) -> Forgotten:
        """Remove rows of the audit, comparisons, scores that were given up, and actions, if they are older than an instant.

        The last score of each entity stays, however old, and so does what waits to be scored or sent. An action is as old as it
        is known: one that is told late, such as from a file, is kept as long as any other.

        Args:
            before: what is of this instant or later stays.
            rows_at_once: rows that one transaction removes; others get their turn in between.

        Returns:
            How many rows were removed; none, and nothing is created, before anything was written.

        Raises:
            StoreError: the database does not answer; what was removed until then stays removed.
        """
        return Forgotten(
            self._forget(SERVED.c.at, SERVED.c.at < before, rows_at_once),
            self._forget(SHADOW.c.at, SHADOW.c.at < before, rows_at_once),
            self._forget(OUTBOX.c.created_at, (OUTBOX.c.not_before == NEVER) & (OUTBOX.c.created_at < before), rows_at_once),
            self._forget(ACTION.c.told_at, ACTION.c.told_at < before, rows_at_once) if self._database.has(ACTION) else 0,
        )

    def _forget(self, at: Column[datetime], is_old: ColumnElement[bool], rows_at_once: int) -> int:
        """Remove the rows of one table, the oldest first."""
        number = at.table.c.number
        oldest = select(number).where(is_old).order_by(at).limit(rows_at_once)
        removed = 0
        while self._database.select(oldest.limit(1)):
            if removed:
                time.sleep(PAUSE_SECONDS)
            with self._database.writing() as connection:
                removed += connection.execute(delete(at.table).where(number.in_(oldest), is_old)).rowcount
        return removed
