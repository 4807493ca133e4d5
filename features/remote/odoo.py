"""Odoo's door: methods of its models, by JSON-RPC up to version 18 and by `/json/2` from 19 on.

JSON-RPC answers an error with status 200. Sources: odoo.com/documentation, "External API" of 18.0 and "External JSON-2 API" of
19.0; `http_status` in odoo/exceptions.py. No client is used: OdooRPC brings XML-RPC's habits and nothing that one POST does not
do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from features.errors import WorkspaceError
from features.remote.credential import credential
from features.remote.environment import filled
from features.remote.failure import Busy, Denied, Refused
from features.remote.wire import Wire, parsed
from features.settings import Workspace

FIRST_OF_JSON_2 = 19
GONE = "MissingError"


class Access(Protocol):
    """What the settings say of an Odoo database."""

    @property
    def url(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def database(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def password(self) -> str: ...


class OdooDoor:
    """The models of an Odoo database.

    Args:
        workspace: a file with the password must lie outside it.
        wire: to Odoo.
        where: its table in the settings, for errors.
        access: the settings.

    Raises:
        WorkspaceError: the password is not there or stands in the settings, or the user lacks.
    """

    def __init__(self, workspace: Workspace, wire: Wire, where: str, access: Access) -> None:
        self._wire, self._access = wire, access
        self._url = filled(access.url, f"{where} url").rstrip("/")
        self._user = filled(access.user, f"{where} user")
        self._password = credential(workspace, access.password, f"{where} password")
        self._uid: int | None = None
        wire.secrets.append(self._password)
        if not self.is_json_2 and not self._user:
            raise WorkspaceError(
                f"{where} user", expected="the login of Odoo's user", received="nothing", repair="write it, or `${NAME}`"
            )

    @property
    def is_json_2(self) -> bool:
        """Whether `/json/2` is spoken."""
        return self._access.version >= FIRST_OF_JSON_2

    def ask(self, model: str, method: str, options: Mapping[str, Any]) -> Any:
        """What a method of the model answers.

        Raises:
            Refused: Odoo does not do it.
            Busy: it does not answer, asks to wait, or its database failed.
            Denied: it lets nobody in, or something else than Odoo answers.
        """
        return self._json_2(model, method, options) if self.is_json_2 else self._execute(model, method, [], options)

    def write(self, model: str, ids: Sequence[int], values: Mapping[str, Any], context: Mapping[str, Any]) -> None:
        """Give records these values, all of them or none.

        Raises:
            Refused, Busy, Denied: as `ask`; refused is also a record that is not there.
        """
        if not self.is_json_2:
            self._execute(model, "write", [ids, values], {"context": context})
        elif self._json_2(model, "write", {"ids": ids, "vals": values, "context": context}) is not True:
            raise Denied("the answer to a write is not `true`: something else than Odoo answers")

    def _execute(self, model: str, method: str, arguments: list[Any], options: Mapping[str, Any]) -> Any:
        if self._uid is None:
            self._uid = self._log_in()
        login = [self._access.database, self._uid, self._password]
        return self._rpc("object", "execute_kw", [*login, model, method, arguments, options])

    def _json_2(self, model: str, method: str, body: Mapping[str, Any]) -> Any:
        headers = {"Authorization": f"bearer {self._password}", "X-Odoo-Database": self._access.database}
        try:
            return parsed(self._wire.call("POST", f"{self._url}/json/2/{model}/{method}", json=body, headers=headers))
        except Refused as refused:
            name = refused.body.get("name", "") if isinstance(refused.body, dict) else ""
            refused.is_gone = str(name).endswith(GONE)
            if refused.status == 404 and not refused.is_gone:
                raise Denied(f"{refused.told}; is it Odoo {FIRST_OF_JSON_2} or later, and is there a model {model}?") from None
            raise

    def _log_in(self) -> int:
        uid = self._rpc("common", "authenticate", [self._access.database, self._user, self._password, {}])
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
        return Busy(told, broken=True) if name.startswith("psycopg2") else Refused(told, body=data, is_gone=name.endswith(GONE))
