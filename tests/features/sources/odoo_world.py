"""An Odoo to be read: models with times of microseconds that are told in seconds, over JSON-RPC and /json/2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tests.serving.connectors.worlds import Asked, Reply

MONDAY = datetime(2026, 1, 5, 8)
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
MANY2ONE = (
    "partner_id",
    "stage_id",
    "team_id",
    "source_id",
    "lost_reason_id",
    "commercial_partner_id",
    "field_id",
    "mail_message_id",
)
REFUSED = ("probability", "automated_probability", "won_status", "email_from", "phone", "contact_name", "name of a partner")


class OdooWorld:
    """The ORM: records by model and id; what `search_read` documents, and no field that is not there."""

    def __init__(self) -> None:
        self.models: dict[str, dict[int, dict[str, Any]]] = {}
        self.password = "sesame"

    def put(self, model: str, number: int, at: datetime = MONDAY, /, **values: Any) -> None:
        """Create a record, or change it."""
        record = self.models.setdefault(model, {}).setdefault(number, {"id": number, "create_date": at, "active": True})
        record.update(values, write_date=at)

    def execute(self, model: str, method: str, options: Mapping[str, Any]) -> Any:
        if model not in self.models:
            raise KeyError(model)
        records = [one for one in self.models[model].values() if all(_holds(one, *term) for term in options["domain"])]
        assert options["context"] == {"active_test": False}, "lost leads are archived ones"
        if method == "search_count":
            return len(records)
        assert method == "search_read" and set(options) == {"domain", "fields", "order", "limit", "context"}
        assert not set(options["fields"]) & set(REFUSED)
        by = options["order"].split(", ")
        records.sort(key=lambda one: [one[name] for name in by])
        return [{name: _told(name, one.get(name, False)) for name in ("id", *options["fields"])} for one in records][
            : options["limit"]
        ]


def _holds(record: Mapping[str, Any], name: str, sign: str, value: Any) -> bool:
    own = record.get(name, False)
    if isinstance(own, datetime):
        value = datetime.strptime(value, "%Y-%m-%d %H:%M:%S")
    return {"=": own == value, ">=": own >= value, "<": own < value, ">": own > value}[sign]


def _told(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return [value, "A name that is nobody's business"] if name in MANY2ONE and value else value


def answering(world: OdooWorld) -> Callable[[Asked], Reply]:
    """Version 18, where whatever happens the status is 200, and version 19."""

    def answer(asked: Asked) -> Reply:
        if asked.path.startswith("/json/2/"):
            if asked.headers["Authorization"] != f"bearer {world.password}":
                return 401, {"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey"}
            model, method = asked.path.split("/")[3:]
            try:
                return 200, world.execute(model, method, asked.json)
            except KeyError as problem:
                return 404, {"name": "werkzeug.exceptions.NotFound", "message": f"the model {problem} does not exist"}
        params = asked.json["params"]
        arguments = params["args"]
        if params["service"] == "common":
            return 200, {"jsonrpc": "2.0", "id": 1, "result": 7 if arguments == ["crm", "bot", world.password, {}] else False}
        assert arguments[:3] == ["crm", 7, world.password]
        model, method, positional, options = arguments[3:]
        assert positional == []
        try:
            return 200, {"jsonrpc": "2.0", "id": 1, "result": world.execute(model, method, options)}
        except KeyError as problem:
            data = {"name": "builtins.KeyError", "message": str(problem), "debug": f"Traceback: {world.password}"}
            return 200, {"jsonrpc": "2.0", "id": 1, "error": {"code": 200, "message": "Odoo Server Error", "data": data}}

    return answer


GONE = 99_999  # a lead that was moved before all others, and deleted since


def shop(world: OdooWorld, leads: int) -> None:
    """Leads, every fifth won and every seventh lost, with messages, orders and their stages, which are tracked from the start."""
    for number, name in enumerate(("New", "Qualified", "Won"), start=1):
        world.put("crm.stage", number, name=name, is_won=name == "Won")
    for model in ("crm.lost.reason", "utm.source", "utm.medium", "utm.campaign", "res.country", "mail.tracking.value"):
        world.models[model] = {}
    world.put("utm.source", 1, name="Newsletter")
    world.put("crm.lost.reason", 1, name="Too expensive")
    world.put("ir.model.fields", 70, name="stage_id", model="crm.lead")
    track(world, GONE, 1, 3, MONDAY)
    for number in range(1, leads + 1):
        at = MONDAY + number * timedelta(hours=3)
        closed = at + 10 * DAY
        world.put("res.partner", number, at, commercial_partner_id=number)
        world.put("crm.lead", number, at, type="lead", stage_id=1, source_id=number % 2 or False)
        world.put("mail.message", number, at + SECOND, date=at, model="crm.lead", res_id=number, message_type="email")
        if number % 5 == 0:
            move(world, number, 3, closed)
            world.put("sale.order", number, closed, partner_id=number, state="sale", date_order=closed, amount_untaxed=100.5)
        elif number % 7 == 0:
            world.put("crm.lead", number, closed, active=False, date_closed=closed, lost_reason_id=1)


def move(world: OdooWorld, lead: int, stage: int, at: datetime) -> None:
    """Move a lead to a stage, as Odoo does it."""
    track(world, lead, world.models["crm.lead"][lead]["stage_id"], stage, at)
    won = world.models["crm.stage"][stage]["is_won"]
    world.put("crm.lead", lead, at, stage_id=stage, date_closed=at if won else False)


def track(world: OdooWorld, lead: int, before: int, stage: int, at: datetime) -> None:
    """What Odoo notes of a lead that was moved."""
    number = len(world.models["mail.tracking.value"]) + 1
    message = 1_000_000 + number
    world.put("mail.message", message, at, date=at, model="crm.lead", res_id=lead, message_type="notification")
    values = {"field_id": 70, "mail_message_id": message, "old_value_integer": before, "new_value_integer": stage}
    world.put("mail.tracking.value", number, at, **values)
