"""Scores that were given online, for monitoring: what was answered anew, about somebody, and not withheld."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import BigInteger, ColumnElement, and_, func, select, type_coerce

from serving.ledger.database import Part
from serving.ledger.table import EPOCH, MICROSECOND, SERVED

ONLINE = ("http", "hook")
FIRST_MONDAY = EPOCH - timedelta(days=3)
WEEK = timedelta(days=7)


class Given(NamedTuple):
    """The first score that an entity was given by a version on a road."""

    entity_id: str
    at: datetime
    road: str
    model_version: str
    probability: float
    score: int | None


class GivenWeek(NamedTuple):
    """How many scores were given in a week, which begins on its Monday, UTC, and the number of the last one written."""

    monday: datetime
    rows: int
    last: int


class Online(Part):
    """Reads the table `served` as monitoring needs it."""

    def given_weeks(self, propensity: str) -> list[GivenWeek]:
        """The weeks in which scores were given, oldest first.

        Raises:
            StoreError: the database does not answer.
        """
        since = (FIRST_MONDAY - EPOCH) // MICROSECOND
        week = ((type_coerce(SERVED.c.at, BigInteger) - since) // (WEEK // MICROSECOND)).label("week")
        counts = select(week, func.count(), func.max(SERVED.c.number)).where(_given(propensity)).group_by(week).order_by(week)
        return [GivenWeek(FIRST_MONDAY + int(number) * WEEK, rows, last) for number, rows, last in self._database.select(counts)]

    def given(self, propensity: str, since: datetime, until: datetime) -> list[Given]:
        """Of the scores that were given from an instant until before another, each entity's first by a version on a road.

        Raises:
            StoreError: the database does not answer.
        """
        told = [SERVED.c.entity_id, SERVED.c.at, SERVED.c.road, SERVED.c.model_version, SERVED.c.probability, SERVED.c.score]
        of_one = [SERVED.c.entity_id, SERVED.c.model_version, SERVED.c.road]
        place = func.row_number().over(partition_by=of_one, order_by=[SERVED.c.at, SERVED.c.number]).label("place")
        rows = select(*told, place).where(_given(propensity), SERVED.c.at >= since, SERVED.c.at < until).subquery()
        first = select(*(rows.c[column.name] for column in told)).where(rows.c.place == 1)
        return [Given(*row) for row in self._database.select(first)]


def _given(propensity: str) -> ColumnElement[bool]:
    """A new score about somebody: not one that was read back, stood in for a new one, or was withheld."""
    known = (SERVED.c.probability, SERVED.c.entity_id, SERVED.c.model_version)
    return and_(
        SERVED.c.propensity == propensity, SERVED.c.road.in_(ONLINE), SERVED.c.degraded.is_(False), SERVED.c.policy.is_(None),
        *(column.is_not(None) for column in known),
    )  # fmt: skip
