"""REST: one call for each record, for EspoCRM, BottleCRM and whatever else has an address for each of its records."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from features.errors import WorkspaceError
from features.remote.environment import filled
from features.remote.failure import Denied, Refused
from features.remote.wire import Wire, parsed
from features.target import RestTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import own_names
from serving.hooks.delivery import address

if TYPE_CHECKING:
    import httpx

GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class Rest:
    """An address for each record, and perhaps its fields inside objects: `{"custom_fields": {"score": 42}}`.

    Args:
        wire: to the target.
        where: the target's table in the settings, for errors.
        target: the settings.
        fields: what is written.
        headers: with their credentials.

    Raises:
        WorkspaceError: the address has no place for an id, nothing says which fields are written, or one is inside another.
    """

    limit = 1
    groups = False

    def __init__(
        self, wire: Wire, where: str, target: RestTarget, fields: Mapping[str, str], headers: Mapping[str, str]
    ) -> None:  # fmt: skip
        if "{id}" not in target.url:
            raise WorkspaceError(
                f"{where} url",
                expected="an address with `{id}` in it",
                received="one without",
                repair="write it such as https://crm.example/api/v1/Lead/{id}",
            )
        require_fields(where, target.fields)
        _require_apart(where, target.fields)
        self._wire, self._target, self._fields, self._headers = wire, target, fields, headers
        self._url = filled(target.url, f"{where} url")

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The calls, with the address as the settings have it."""
        return [Call(self._target.method, self._address(self._target.url, one), _nested(one.values)) for one in chunk]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Write the record."""
        (one,) = chunk
        try:
            url = self._address(self._url, one)
        except ValueError as problem:
            return [Rejection(one.id, str(problem))]
        try:
            self._call(self._target.method, url, _nested(one.values))
        except Refused as refused:
            return [Rejection(one.id, refused.told, "gone" if refused.status in GONE else "refused")]
        return []

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """What a GET of each address answers."""
        found: dict[str, Mapping[str, Any]] = {}
        for one in ids:
            try:
                url = address(self._url, one, propensity, self._target.entity)
                body = _inside(parsed(self._call("GET", url)), self._target.record)
            except (Refused, ValueError):
                continue
            if isinstance(body, dict):
                wanted = own_names(self._fields, propensity)
                found[one] = {field: _inside(body, field) for field in wanted}
        return found

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def _call(self, method: str, url: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return self._wire.call(method, url, json=body, headers=self._headers)
        except Refused as refused:
            if refused.status in self._target.denied:
                raise Denied(refused.told, refused.status) from None
            raise

    def _address(self, url: str, record: Record) -> str:
        return address(url, record.id, record.propensity, record.change.entity)


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a call: `a.b` is inside the object `a`."""
    body: dict[str, Any] = {}
    for name, value in values.items():
        *objects, last = name.split(".")
        inner = body
        for one in objects:
            inner = inner.setdefault(one, {})
        inner[last] = value
    return body


def _inside(body: Any, path: str) -> Any:
    """What is at the end of a path such as `a.b`; the whole where there is no path, None where there is nothing."""
    for name in path.split(".") if path else ():
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _require_apart(where: str, fields: Collection[str]) -> None:
    """A field that has a value has no fields inside it.

    Raises:
        WorkspaceError: one has.
    """
    for name in fields:
        if inside := [other for other in fields if other.startswith(f"{name}.")]:
            raise WorkspaceError(
                f"{where} fields",
                expected="fields beside one another",
                received=f"`{name}`, and `{inside[0]}` inside it",
                repair="remove one of the two",
            )


def require_fields(where: str, fields: Mapping[str, str]) -> None:
    """A CRM's record has fields of its own, so somebody has to say which are written.

    Raises:
        WorkspaceError: nobody does.
    """
    if not fields:
        raise WorkspaceError(
            f"{where} fields",
            expected='CRM_FIELD = SCORE_FIELD, such as `x_{propensity}_score = "score"`',
            received="nothing",
            repair="make the fields in the CRM, and name them",
        )
