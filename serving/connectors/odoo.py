"""Odoo: `write` of all records with equal values in one call, by JSON-RPC up to version 18 and by `/json/2` from 19 on.

One `write` of a thousand ids costs Odoo little more than one of a single id, and scores take few values. But one id that was
deleted, or that the user may not write, fails the whole call; so the core halves it. Chatter is kept quiet: no tracked change is
posted for a score. Nothing is Odoo's `false`, which a number field shows as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from features.remote.credential import MASK
from features.remote.odoo import OdooDoor
from features.remote.wire import Wire
from features.settings import Workspace
from features.target import OdooTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import own_names
from serving.connectors.rest import require_fields

MODELS = {"lead": "crm.lead", "customer": "res.partner"}
QUIET = {"tracking_disable": True}


class Odoo:
    """A model of an Odoo database.

    Args:
        workspace: a file with the password must lie outside it.
        wire: to Odoo.
        where: the target's table in the settings, for errors.
        target: the settings.
        fields: what is written.

    Raises:
        WorkspaceError: the password is not there or stands in the settings, the user lacks, or nothing says which fields are
            written.
    """

    limit = 1_000
    groups = True

    def __init__(
        self, workspace: Workspace, wire: Wire, where: str, target: OdooTarget, fields: Mapping[str, str]
    ) -> None:  # fmt: skip
        require_fields(where, target.fields)
        self._wire, self._target, self._fields = wire, target, fields
        self._door = OdooDoor(workspace, wire, where, target)
        self._model = target.model or MODELS[target.entity]

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The call, without the password."""
        ids, values = [number for one in chunk if (number := _number(one.id)) is not None], _values(chunk[0])
        if self._door.is_json_2:
            return [
                Call("POST", f"{self._target.url}/json/2/{self._model}/write", {"ids": ids, "vals": values, "context": QUIET})
            ]
        arguments = [self._target.database, self._target.user, MASK, self._model, "write", [ids, values], {"context": QUIET}]
        return [Call("POST", f"{self._target.url}/jsonrpc", {"execute_kw": arguments})]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Write records of equal values in one call."""
        numbers = {one.id: _number(one.id) for one in chunk}
        ids = [number for number in numbers.values() if number is not None]
        if ids:
            self._door.write(self._model, ids, _values(chunk[0]), QUIET)
        return [Rejection(one, "Odoo's ids are whole numbers") for one, number in numbers.items() if number is None]

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The fields of those records that there are, archived ones too."""
        numbers = [number for one in ids if (number := _number(one)) is not None]
        wanted = list(own_names(self._fields, propensity))
        asked = {"domain": [["id", "in", numbers]], "fields": wanted, "context": {"active_test": False}}
        return {str(row["id"]): row for row in self._door.ask(self._model, "search_read", asked)}

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()


def _values(record: Record) -> dict[str, Any]:
    return {field: False if value is None else value for field, value in record.values.items()}


def _number(identity: str) -> int | None:
    return int(identity) if identity.isascii() and identity.isdigit() and 0 < int(identity) < 2**31 else None
