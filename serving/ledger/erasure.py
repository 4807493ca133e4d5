"""Erasure: every row about a person, in whatever table of the ledger."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import ColumnElement, Table, and_, delete, false, func, or_, select

from features.forgetting.person import Person
from features.tables import ENTITIES
from serving.ledger.database import Part
from serving.ledger.table import METADATA, SERVED, WRITTEN

RECEIVED = "received"  # in the audit, for what a webhook brought before it was scored


class Erasure(Part):
    """All tables that say whom a row is about."""

    def about(self, person: Person, entities: Mapping[str, str], sources: Mapping[str, str], *, remove: bool) -> dict[str, int]:
        """By table, how many rows are about a person; they are deleted, all of them or none, if they are to be removed.

        Args:
            person: who.
            entities: whose each propensity is; of one that is not named, rows of either kind of entity count.
            sources: whose records each webhook brings.
            remove: whether they are deleted.

        Raises:
            StoreError: the database does not answer.
        """
        tables = [table for table in METADATA.sorted_tables if "entity_id" in table.columns and self._database.has(table)]
        tests = {table: _about(table, person, entities, sources) for table in tables}
        if not remove:
            found = {one.name: int(self._database.column(select(func.count()).where(test))[0]) for one, test in tests.items()}
        elif tables:
            with self._database.writing() as connection:
                found = {table.name: connection.execute(delete(table).where(test)).rowcount for table, test in tests.items()}
            self._database.compact([table.name for table in tables])
        else:
            found = {}
        return {name: rows for name, rows in found.items() if rows}

    def told_about(self, person: Person) -> list[str]:
        """The targets that were sent something about a person.

        Raises:
            StoreError: the database does not answer.
        """
        if not self._database.has(WRITTEN):
            return []
        found = select(WRITTEN.c.target).distinct().where(_about(WRITTEN, person, {}, {})).order_by(WRITTEN.c.target)
        return list(self._database.column(found))


def _about(table: Table, person: Person, entities: Mapping[str, str], sources: Mapping[str, str]) -> ColumnElement[bool]:
    """Whether a row is about the person; a lead and a customer may have the same id."""
    return or_(false(), *(_about_kind(table, entity, person.ids(entity), entities, sources) for entity in ENTITIES))


def _about_kind(
    table: Table, entity: str, ids: Collection[str], entities: Mapping[str, str], sources: Mapping[str, str]
) -> ColumnElement[bool]:
    is_one = table.c.entity_id.in_(sorted(ids))
    if "entity" in table.columns:
        return and_(is_one, table.c.entity == entity)
    if "propensity" not in table.columns:
        return is_one
    others = [name for name, its in entities.items() if its != entity]
    test = and_(is_one, table.c.propensity.not_in(others))
    if table is SERVED:
        brought = [f"received from {source}" for source, its in sources.items() if its != entity]
        test = and_(test, ~and_(SERVED.c.propensity == RECEIVED, func.coalesce(SERVED.c.why, "").in_(brought)))
    return test
