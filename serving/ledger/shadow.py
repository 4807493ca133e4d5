"""What a challenger would have said, beside what the champion said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import insert, select

from serving.ledger.database import Part
from serving.ledger.row import Compared
from serving.ledger.table import SHADOW


class Shadow(Part):
    """The table `shadow`."""

    def keep_shadow(self, rows: Sequence[Compared]) -> None:
        """Append comparisons, all or nothing.

        Raises:
            StoreError: the database does not answer, or is full.
            CallError: a value is one that no database can hold.
        """
        if rows:
            with self._database.writing() as connection:
                connection.execute(insert(SHADOW), [row._asdict() for row in rows])

    def compared(self, propensity: str, since: datetime | None = None) -> list[Compared]:
        """The comparisons of a propensity in the order of writing, from an instant on.

        Raises:
            StoreError: the database does not answer.
        """
        columns = [SHADOW.c[name] for name in Compared._fields]
        query = select(*columns).where(SHADOW.c.propensity == propensity).order_by(SHADOW.c.number)
        query = query.where(SHADOW.c.at >= since) if since else query
        return [Compared(*row) for row in self._database.select(query)]
