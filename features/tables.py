"""The contracts of the canonical CRM tables: the one place that says what a table looks like.

Timestamps are UTC with microseconds. Every table has two times of knowledge, kept half-open:
`known_at`, when this version of a row became known to us, and `known_until`, when a later version of the same row replaced it
(null while it has not been). A correction or a late row is a row with a later `known_at`; it never changes what was known before.
`known_until` is computed by ingest, never delivered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Type = Literal["id", "category", "timestamp", "money", "number", "integer", "flag"]
Kind = Literal["entity", "event", "period", "history"]

SQL_TYPES: dict[Type, str] = {
    "id": "VARCHAR",
    "category": "VARCHAR",
    "timestamp": "TIMESTAMP",
    "money": "DECIMAL(18,4)",  # exact: sums do not depend on the order of rows, so a score is the same to the bit
    "number": "DOUBLE",
    "integer": "BIGINT",
    "flag": "BOOLEAN",
}
ENTITIES = ("lead", "customer")


@dataclass(frozen=True)
class Column:
    """One column of a contract.

    `revealed_by` names the timestamp at which the value came into being: before that instant the value reads as null
    (a status that is filled later is an event in disguise). `references` names the entity table whose key this is.
    """

    name: str
    type: Type
    meaning: str
    required: bool = False
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    references: str | None = None
    revealed_by: str | None = None


@dataclass(frozen=True)
class Table:
    """One contract. `key` identifies a row, `time` is when it happened, `known_at` defaults to `known_default`."""

    name: str
    kind: Kind
    row: str
    key: tuple[str, ...]
    time: str
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: the contract has no such column.
        """
        return {column.name: column for column in self.all_columns}[name]

    @property
    def all_columns(self) -> tuple[Column, ...]:
        """The contract's columns and `known_at`, which every table may deliver and which defaults to `time`."""
        return (
            *self.columns,
            Column("known_at", "timestamp", f"when this version of the row became known; default `{self.time}`"),
        )

    @property
    def filled_later(self) -> set[str]:
        """The columns that are empty at first: events in disguise."""
        return {column.name for column in self.columns if column.revealed_by}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.all_columns)


def _id(name: str, meaning: str, *, required: bool = True, references: str | None = None) -> Column:
    return Column(name, "id", meaning, required=required, references=references)


def _time(name: str, meaning: str, *, required: bool = True, later: bool = False) -> Column:
    return Column(name, "timestamp", meaning, required=required, revealed_by=name if later else None)


_LEAD = _id("lead_id", "the lead concerned", required=False, references="leads")
_CUSTOMER = _id("customer_id", "the customer concerned", required=False, references="customers")
_OWNER = _id("customer_id", "the customer concerned", references="customers")

LEADS = Table(
    "leads", "entity", "one lead", ("lead_id",), "created_at",
    (
        _id("lead_id", "the CRM's id of the lead"),
        _time("created_at", "when the lead was created"),
        _id("customer_id", "the customer this lead already was when it was created", required=False, references="customers"),
        _time("converted_at", "when the lead was won", required=False, later=True),
        _time("lost_at", "when the lead was given up", required=False, later=True),
        Column("lost_reason", "category", "why it was given up", revealed_by="lost_at"),
    ),
)  # fmt: skip

CUSTOMERS = Table(
    "customers", "entity", "one customer", ("customer_id",), "created_at",
    (
        _id("customer_id", "the CRM's id of the customer"),
        _time("created_at", "when the customer became one"),
    ),
)  # fmt: skip

VEHICLES = Table(
    "vehicles", "entity", "one vehicle of a customer", ("vehicle_id",), "created_at",
    (
        _id("vehicle_id", "the vehicle's id"),
        _OWNER,
        _time("created_at", "when the customer got the vehicle"),
        Column("model", "category", "the model"),
        Column("model_year", "integer", "the model year", low=1900, high=2100),
        Column("fuel", "category", "the kind of drive", allowed=("petrol", "diesel", "hybrid", "electric", "other")),
        Column("condition", "category", "new or used when bought", allowed=("new", "used")),
        Column("price", "money", "the price paid", low=0),
        _time("sold_at", "when the customer gave the vehicle away", required=False, later=True),
    ),
)  # fmt: skip

INTERACTIONS = Table(
    "interactions", "event", "one contact between us and a lead or a customer", ("interaction_id",), "occurred_at",
    (
        _id("interaction_id", "the interaction's id"),
        _LEAD,
        _CUSTOMER,
        _time("occurred_at", "when it happened"),
        Column("channel", "category", "email, web, phone, app, showroom, chat, ...", required=True),
        Column("kind", "category", "sent, open, click, visit, form, call, meeting, test_drive, quote, login, ...", required=True),
        Column("direction", "category", "who began", allowed=("inbound", "outbound")),
        Column("campaign", "category", "the campaign it belongs to"),
    ),
)  # fmt: skip

ORDERS = Table(
    "orders", "event", "one order line of a customer; a return is a row of its own", ("order_id",), "occurred_at",
    (
        _id("order_id", "the order line's id"),
        _OWNER,
        _time("occurred_at", "when it was ordered"),
        Column("amount", "money", "what the line is worth, after discount, in the workspace's currency", required=True),
        Column("category", "category", "what kind of product"),
        Column("quantity", "number", "how many"),
        Column("discount", "money", "the discount given", low=0),
        Column("is_return", "flag", "whether the line gives something back; missing means it does not"),
    ),
)  # fmt: skip

CASES = Table(
    "cases", "event", "one service case or complaint", ("case_id",), "occurred_at",
    (
        _id("case_id", "the case's id"),
        _OWNER,
        _time("occurred_at", "when it was opened"),
        Column("priority", "category", "how urgent", allowed=("low", "medium", "high", "urgent")),
        Column("topic", "category", "what it is about"),
        _time("closed_at", "when it was closed", required=False, later=True),
    ),
)  # fmt: skip

SURVEYS = Table(
    "surveys", "event", "one answered survey", ("survey_id",), "occurred_at",
    (
        _id("survey_id", "the answer's id"),
        _OWNER,
        _time("occurred_at", "when it was answered"),
        Column("kind", "category", "which survey", required=True, allowed=("nps", "csat", "ces")),
        Column("score", "number", "the answer: nps 0-10, csat 1-5, ces 1-7", required=True, low=0, high=10),
    ),
)  # fmt: skip

LOYALTY_EVENTS = Table(
    "loyalty_events", "event", "one movement on a loyalty account", ("loyalty_event_id",), "occurred_at",
    (
        _id("loyalty_event_id", "the movement's id"),
        _OWNER,
        _time("occurred_at", "when it was booked"),
        Column("kind", "category", "what happened", required=True, allowed=("earn", "redeem", "expire", "adjust")),
        Column("points", "number", "how many points, never negative", low=0),
    ),
)  # fmt: skip

SERVICE_VISITS = Table(
    "service_visits", "event", "one workshop visit of a vehicle", ("service_visit_id",), "occurred_at",
    (
        _id("service_visit_id", "the visit's id"),
        _OWNER,
        _id("vehicle_id", "the vehicle", required=False, references="vehicles"),
        _time("occurred_at", "when the vehicle came in"),
        Column("pay_type", "category", "who pays", allowed=("customer", "warranty", "internal")),
        Column("amount", "money", "the invoice", low=0),
        Column("odometer", "number", "kilometres on the clock", low=0, high=3_000_000),
    ),
)  # fmt: skip

SUBSCRIPTIONS = Table(
    "subscriptions", "period", "one subscription of a customer to one plan", ("subscription_id",), "started_at",
    (
        _id("subscription_id", "the subscription's id"),
        _OWNER,
        _time("started_at", "when it began"),
        _time("ended_at", "when it ended", required=False, later=True),
        _time("renews_at", "when it is next renewed, as known in this version of the row", required=False),
        Column("plan", "category", "the plan", required=True),
        Column("tier", "category", "the tier within the plan"),
        Column("price", "money", "the price a month", low=0),
        Column("start_reason", "category", "how it began", allowed=("new", "upgrade", "downgrade", "return")),
        Column("end_reason", "category", "how it ended", revealed_by="ended_at"),
    ),
)  # fmt: skip

CAMPAIGN_MEMBERS = Table(
    "campaign_members", "period", "one lead or customer in one campaign", ("campaign_member_id",), "joined_at",
    (
        _id("campaign_member_id", "the membership's id"),
        _LEAD,
        _CUSTOMER,
        _time("joined_at", "when they were added to the campaign"),
        Column("campaign", "category", "the campaign", required=True),
        _time("responded_at", "when they first responded", required=False, later=True),
    ),
)  # fmt: skip

ATTRIBUTE_HISTORY = Table(
    "attribute_history", "history", "one value of one attribute from one instant on",
    ("entity", "entity_id", "field", "valid_from"), "valid_from",
    (
        Column("entity", "category", "whose attribute", required=True, allowed=ENTITIES),
        _id("entity_id", "the lead's or customer's id"),
        Column("field", "category", "which attribute", required=True),
        Column("value", "category", "the value as text; null means it was emptied"),
        _time("valid_from", "from when on it held"),
    ),
)  # fmt: skip

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        LEADS, CUSTOMERS, VEHICLES, INTERACTIONS, ORDERS, CASES, SURVEYS, LOYALTY_EVENTS, SERVICE_VISITS,
        SUBSCRIPTIONS, CAMPAIGN_MEMBERS, ATTRIBUTE_HISTORY,
    )
}  # fmt: skip

ENTITY_TABLES = {"lead": LEADS, "customer": CUSTOMERS}
ENTITY_KEYS = {"lead": "lead_id", "customer": "customer_id"}


def contract_markdown(tables: Sequence[Table] = tuple(TABLES.values())) -> str:
    """The contracts as Markdown, one section a table; the documentation holds exactly this text."""
    return "\n\n".join(_section(table) for table in tables) + "\n"


def _section(table: Table) -> str:
    keys = ", ".join(f"`{key}`" for key in table.key)
    head = f"### `{table.name}` ({table.kind})\n\nOne row: {table.row}. Key: {keys} (and `known_at`)."
    rows = [f"| `{c.name}` | {c.type} | {'yes' if c.required else ''} | {_rule(c)} | {c.meaning} |" for c in table.all_columns]
    return "\n".join([head, "", "| column | type | required | rule | meaning |", "| --- | --- | --- | --- | --- |", *rows])


def _rule(column: Column) -> str:
    rules = []
    if column.allowed:
        rules.append("one of " + ", ".join(column.allowed))
    if column.low is not None or column.high is not None:
        rules.append(
            f"{'' if column.low is None else f'{column.low:g} <= '}x{'' if column.high is None else f' <= {column.high:g}'}"
        )
    if column.references:
        rules.append(f"a key of `{column.references}`")
    if column.revealed_by:
        rules.append(f"visible only from `{column.revealed_by}` on")
    return "; ".join(rules)
