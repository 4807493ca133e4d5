"""Odoo: `write` of all records with equal values in one call, by JSON-RPC up to version 18 and by `/json/2` from 19 on.

One `write` of a thousand ids costs Odoo little more than one of a single id, and scores take few values. But one id that was
deleted, or that the user may not write, fails the whole call; so the core halves it. JSON-RPC answers an error with status 200.
Chatter is kept quiet: no tracked change is posted for a score. Nothing is Odoo's `false`, which a number field shows as 0.

Sources: odoo.com/documentation, "External API" of 18.0 and "External JSON-2 API" of 19.0; `http_status` in odoo/exceptions.py. No
client is used: OdooRPC brings XML-RPC's habits and nothing that one POST does not do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from features.errors import WorkspaceError
from features.remote.credential import MASK, credential
from features.remote.environment import filled
from features.remote.failure import Busy, Denied, Refused
from features.remote.wire import Wire, parsed
from features.settings import Workspace
from features.target import OdooTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import own_names
from serving.connectors.rest import require_fields

FIRST_OF_JSON_2 = 19
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
        self._url = filled(target.url, f"{where} url").rstrip("/")
        self._user = filled(target.user, f"{where} user")
        self._password = credential(workspace, target.password, f"{where} password")
        self._model = target.model or MODELS[target.entity]
        self._uid: int | None = None
        wire.secrets.append(self._password)
        if not self._is_json_2 and not self._user:
            raise WorkspaceError(
                f"{where} user", expected="the login of Odoo's user", received="nothing", repair="write it, or `${NAME}`"
            )

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The call, without the password."""
        ids, values = [number for one in chunk if (number := _number(one.id)) is not None], _values(chunk[0])
        if self._is_json_2:
            return [
                Call("POST", f"{self._target.url}/json/2/{self._model}/write", {"ids": ids, "vals": values, "context": QUIET})
            ]
        arguments = [self._target.database, self._user, MASK, self._model, "write", [ids, values], {"context": QUIET}]
        return [Call("POST", f"{self._target.url}/jsonrpc", {"execute_kw": arguments})]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Write records of equal values in one call."""
        numbers = {one.id: _number(one.id) for one in chunk}
        ids = [number for number in numbers.values() if number is not None]
        if ids:
            self._write(ids, _values(chunk[0]))
        return [Rejection(one, "Odoo's ids are whole numbers") for one, number in numbers.items() if number is None]

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The fields of those records that there are, archived ones too."""
        numbers = [number for one in ids if (number := _number(one)) is not None]
        wanted = list(own_names(self._fields, propensity))
        asked = {"domain": [["id", "in", numbers]], "fields": wanted, "context": {"active_test": False}}
        rows = self._json_2("search_read", asked) if self._is_json_2 else self._execute("search_read", [], asked)
        return {str(row["id"]): row for row in rows}

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    @property
    def _is_json_2(self) -> bool:
        return self._target.version >= FIRST_OF_JSON_2

    def _write(self, ids: list[int], values: Mapping[str, Any]) -> None:
        if self._is_json_2:
            if self._json_2("write", {"ids": ids, "vals": values, "context": QUIET}) is not True:
                raise Denied("the answer to a write is not `true`: something else than Odoo answers")
        else:
            self._execute("write", [ids, values], {"context": QUIET})

    def _json_2(self, method: str, body: Mapping[str, Any]) -> Any:
        headers = {"Authorization": f"bearer {self._password}", "X-Odoo-Database": self._target.database}
        try:
            return parsed(self._wire.call("POST", f"{self._url}/json/2/{self._model}/{method}", json=body, headers=headers))
        except Refused as refused:
            name = refused.body.get("name", "") if isinstance(refused.body, dict) else ""
            if refused.status == 404 and not str(name).endswith("MissingError"):
                raise Denied(
                    f"{refused.told}; is it Odoo {FIRST_OF_JSON_2} or later, and is there a model {self._model}?"
                ) from None
            raise

    def _execute(self, method: str, arguments: list[Any], options: Mapping[str, Any]) -> Any:
        if self._uid is None:
            self._uid = self._log_in()
        return self._rpc(
            "object", "execute_kw",
            [self._target.database, self._uid, self._password, self._model, method, arguments, options],
        )  # fmt: skip

    def _log_in(self) -> int:
        uid = self._rpc("common", "authenticate", [self._target.database, self._user, self._password, {}])
        if not isinstance(uid, int) or isinstance(uid, bool):
            raise Denied("Odoo knows no such user, or another password")
        return uid

    def _rpc(self, service: str, method: str, arguments: list[Any]) -> Any:
        params = {"service": service, "method": method, "args": arguments}
        body = {"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}
        answer = parsed(self._wire.call("POST", f"{self._url}/jsonrpc", json=body))
        if not isinstance(answer, dict) or not {"result", "error"} & set(answer):
            raise Denied("the answer is no JSON-RPC; is the address that of Odoo?")
        if "error" in answer:
            raise self._failure(answer["error"])
        return answer["result"]

    def _failure(self, error: Any) -> Exception:
        data = error.get("data") if isinstance(error, dict) else None
        data = data if isinstance(data, dict) else {}
        name, told = str(data.get("name", "")), self._wire.clean(str(data.get("message") or error))
        if name.endswith("AccessDenied") or (isinstance(error, dict) and error.get("code") == 404):
            return Denied(told)
        return Busy(told, broken=True) if name.startswith("psycopg2") else Refused(told, body=data)


def _values(record: Record) -> dict[str, Any]:
    return {field: False if value is None else value for field, value in record.values.items()}


def _number(identity: str) -> int | None:
    return int(identity) if identity.isascii() and identity.isdigit() and 0 < int(identity) < 2**31 else None
