"""Odoo: `search_read` of the standard models, archived records too, for a lost lead is an archived one.

Over its API a time has no fraction of a second, though the database has one, so the unit is a second. A many2one comes as id and
display name, of which the id is kept: names of persons are none of our business. What was deleted leaves no trace in Odoo.
`probability`, `automated_probability` and `won_status` are not asked for: they are Odoo's own score, and the outcome.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from features.remote.failure import Denied
from features.remote.odoo import OdooDoor
from features.remote.wire import Wire
from features.settings import Workspace
from features.sources.settings import OdooSource
from features.sources.source import Kind, Record, Row, Window, chosen, instant, text

PAGE = 1_000
_FIELDS = {
    "crm.lead": (
        "type", "create_date", "active", "stage_id", "team_id", "user_id", "source_id", "medium_id", "campaign_id", "country_id",
        "priority", "date_closed", "lost_reason_id",
    ),
    "crm.stage": ("name", "is_won"),
    "crm.lost.reason": ("name",),
    "utm.source": ("name",),
    "utm.medium": ("name",),
    "utm.campaign": ("name",),
    "res.country": ("code",),
    "res.partner": ("create_date", "commercial_partner_id"),
    "mail.message": ("create_date", "date", "model", "res_id", "message_type", "is_internal"),
    "mail.tracking.value": ("create_date", "field_id", "mail_message_id", "old_value_integer", "new_value_integer"),
    "ir.model.fields": ("name", "model"),
    "sale.order": ("create_date", "date_order", "partner_id", "state", "amount_untaxed"),
    "account.move": ("create_date", "invoice_date", "commercial_partner_id", "move_type", "state", "amount_untaxed_signed"),
}  # fmt: skip
_DOMAINS: Mapping[str, list[Any]] = {
    "mail.message": [["model", "=", "crm.lead"]],
    "ir.model.fields": [["model", "=", "crm.lead"]],
    "account.move": [["move_type", "in", ["out_invoice", "out_refund"]]],
}
_FLAGS = {"active", "is_won", "is_internal"}
_RENAMED = {"lost_reason_id": (16, "lost_reason"), "field_id": (17, "field")}  # since which version, and from what


class OdooRecords:
    """The models of an Odoo database.

    Args:
        workspace: a file with the password must lie outside it.
        wire: to Odoo.
        where: the source's table in the settings, for errors.
        settings: the source.

    Raises:
        WorkspaceError: the password is not there or stands in the settings, or the user lacks.
    """

    unit = timedelta(seconds=1)
    versions = True

    def __init__(self, workspace: Workspace, wire: Wire, where: str, settings: OdooSource) -> None:
        self._door = OdooDoor(workspace, wire, where, settings)
        self._wire, self._where, self._settings = wire, where, settings
        self.limit = min(settings.page or PAGE, PAGE)

    def kinds(self, stems: frozenset[str]) -> list[Kind]:
        """The models whose files, such as `crm_lead`, are read."""
        every = [
            Kind(name.replace(".", "_"), name, ("id", "write_date", *own), ("id",), "write_date") for name, own in _FIELDS.items()
        ]
        return chosen(every, stems, self._settings.skip, self._settings.fields, self._where)

    def count(self, kind: Kind, low: datetime | None) -> int:
        """How many records changed since."""
        options = {"domain": _domain(kind, Window(low)), "context": {"active_test": False}}
        found = self._door.ask(kind.name, "search_count", options)
        if not isinstance(found, int):
            raise Denied("the answer to `search_count` is no number: something else than Odoo answers")
        return found

    def page(self, kind: Kind, window: Window) -> list[Record]:
        """The first records of a window."""
        options = {
            "domain": _domain(kind, window),
            "fields": [self._own(name) for name in kind.columns],
            "order": "write_date, id" if window.high is None else "id",
            "limit": self.limit,
            "context": {"active_test": False},
        }
        found = self._door.ask(kind.name, "search_read", options)
        if not isinstance(found, list):
            raise Denied("the answer to `search_read` is no list: something else than Odoo answers")
        return [self._record(kind, told) for told in found]

    def gone(self, kind: Kind, after: str | None) -> tuple[list[Record], str | None]:
        """None: Odoo does not know what was deleted."""
        return [], None

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def _own(self, name: str) -> str:
        """What this version calls a field."""
        since, before = _RENAMED.get(name, (0, name))
        return name if self._settings.version >= since else before

    def _record(self, kind: Kind, told: Mapping[str, Any]) -> Record:
        row: Row = {name: _value(name, told.get(self._own(name))) for name in kind.columns}
        return Record(told["id"], instant(row["write_date"]), row)


def _domain(kind: Kind, window: Window) -> list[Any]:
    domain = [*_DOMAINS.get(kind.name, ())]
    if window.low is not None:
        domain.append(["write_date", ">=", _time(window.low)])
    if window.high is not None:
        domain.append(["write_date", "<", _time(window.high)])
    if window.after is not None:
        domain.append(["id", ">", window.after])
    return domain


def _time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _value(name: str, value: Any) -> str | None:
    """A field's value: Odoo's `false` is nothing, except where yes or no is asked."""
    if isinstance(value, list):
        return text(value[0]) if value else None
    if value is False and name not in _FLAGS:
        return None
    return text(value)
