"""Of which night the ledger holds every answer."""

from __future__ import annotations

from sqlalchemy import delete, select

from serving.ledger.database import Part
from serving.ledger.table import NIGHT

_END = "insert into night (propensity, sha256) values (?, ?) on conflict (propensity) do update set sha256 = excluded.sha256"


class Nights(Part):
    """The table `night`: for each propensity the partition whose answers were the last to be kept to the end.

    Since then others may have been kept of some entities, for a service answers by day.
    """

    def night(self, propensity: str) -> str | None:
        """The SHA-256 of that partition; None where no night came to its end.

        Raises:
            StoreError: the database does not answer.
        """
        if not self._database.has(NIGHT):
            return None
        return next(iter(self._database.column(select(NIGHT.c.sha256).where(NIGHT.c.propensity == propensity))), None)

    def begin_night(self, propensity: str) -> None:
        """Note that the answers of another partition are about to be kept.

        Raises:
            StoreError: the database does not answer.
        """
        if self._database.has(NIGHT):
            with self._database.writing() as connection:
                connection.execute(delete(NIGHT).where(NIGHT.c.propensity == propensity))

    def end_night(self, propensity: str, sha256: str) -> None:
        """Note that every answer of a partition was kept.

        Raises:
            StoreError: the database does not answer.
        """
        self._database.add(NIGHT)
        with self._database.writing() as connection:
            self._database.write_many(connection, _END, [(propensity, sha256)])
