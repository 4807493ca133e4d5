"""The tables of the ledger, the same in SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

VERSION = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
METADATA = MetaData()
INSTANTS_KEPT = 1_000  # a request or a night has one for all of its scores


def microseconds(instant: datetime) -> int:
    """An instant as the tables hold it: microseconds since 1970 in UTC."""
    return _counted(instant) if instant.tzinfo is UTC else (instant - EPOCH) // MICROSECOND


@lru_cache(INSTANTS_KEPT)
def _counted(instant: datetime) -> int:
    """Of UTC alone: where clocks are set back, two instants equal each other."""
    return (instant - EPOCH) // MICROSECOND


@lru_cache(INSTANTS_KEPT)
def instant(value: int) -> datetime:
    """What `microseconds` made a number of."""
    return EPOCH + timedelta(microseconds=value)


class Instant(TypeDecorator[datetime]):
    """An instant to the microsecond; SQLite has no type for one."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else instant(value)


def _number() -> Column[int]:
    """Counts up in the order of writing; only an INTEGER does so in SQLite."""
    return Column("number", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)


SCHEMA = Table("ledger_schema", METADATA, Column("version", Integer, nullable=False))

LATEST = Table(
    "latest",
    METADATA,
    Column("propensity", Text, primary_key=True),
    Column("entity_id", Text, primary_key=True),
    Column("scored_at", Instant, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("probability", Double),
    Column("document", LargeBinary, nullable=False),
    Column("contributions", LargeBinary),
    Column("features", LargeBinary),
)

KEPT = Table("kept", METADATA, Column("digest", LargeBinary, primary_key=True), Column("layout", Text, nullable=False))

NIGHT = Table("night", METADATA, Column("propensity", Text, primary_key=True), Column("sha256", Text, nullable=False))

SERVED = Table(
    "served",
    METADATA,
    _number(),
    Column("at", Instant, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("caller", Text),
    Column("road", Text, nullable=False),
    Column("propensity", Text, nullable=False),
    Column("entity_id", Text),
    Column("model_version", Text),
    Column("probability", Double),
    Column("score", Integer),
    Column("why", Text),
    Column("policy", Text),
    Column("degraded", Boolean, nullable=False),
    Index("served_at", "at"),
    Index("served_entity_id", "entity_id").ddl_if(dialect="postgresql"),  # in SQLite it costs as much as the rest
)

SHADOW = Table(
    "shadow",
    METADATA,
    _number(),
    Column("at", Instant, nullable=False),
    Column("propensity", Text, nullable=False),
    Column("entity_id", Text),
    Column("champion", Text, nullable=False),
    Column("champion_probability", Double, nullable=False),
    Column("challenger", Text, nullable=False),
    Column("challenger_probability", Double, nullable=False),
    Index("shadow_propensity", "propensity", "at"),
    Index("shadow_at", "at"),
)

ACTION = Table(
    "action",
    METADATA,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("propensity", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("kind", Text, nullable=False),
    Column("outcome", Text),
    Column("held_out", Boolean, nullable=False),
    Column("told_at", Instant, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("caller", Text),
    Index("action_at", "at"),
    Index("action_told_at", "told_at"),
    Index("action_propensity", "propensity", "at"),
    Index("action_entity_id", "entity_id"),
)

INBOX = Table(
    "inbox",
    METADATA,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("received_at", Instant, nullable=False),
    Column("source", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    Column("given", Text, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_at", Instant),
    Index("inbox_entity_id", "source", "entity", "entity_id"),
)

OUTBOX = Table(
    "outbox",
    METADATA,
    _number(),
    Column("id", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("entity_id", Text, nullable=False),
    Column("propensity", Text, nullable=False),
    Column("document", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("sending", Text),
    Column("last_error", Text),
    Column("created_at", Instant, nullable=False),
    UniqueConstraint("source", "entity", "entity_id", "propensity"),
    Index("outbox_not_before", "not_before"),
    Index("outbox_sending", "sending"),
)

WRITTEN = Table(
    "written",
    METADATA,
    Column("target", Text, primary_key=True),
    Column("propensity", Text, primary_key=True),
    Column("entity_id", Text, primary_key=True),
    Column("entity", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("score", Integer),
    Column("grade", Text),
    Column("model_version", Text, nullable=False),
    Column("as_of", Instant, nullable=False),
    Column("status", Text, nullable=False),
    Column("error", Text),
    Column("attempts", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Index("written_status", "target", "status"),
)
