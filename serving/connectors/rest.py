"""REST: one call for each record, for EspoCRM, BottleCRM and whatever else has an address for each of its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from features.errors import WorkspaceError
from features.remote.environment import filled
from features.remote.failure import Refused
from features.remote.wire import Wire, parsed
from features.target import RestTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import own_names
from serving.hooks.delivery import address

GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)


class Rest:
    """An address for each record.

    Args:
        wire: to the target.
        where: the target's table in the settings, for errors.
        target: the settings.
        fields: what is written.
        headers: with their credentials.

    Raises:
        WorkspaceError: the address has no place for an id, or nothing says which fields are written.
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
        self._wire, self._target, self._fields, self._headers = wire, target, fields, headers
        self._url = filled(target.url, f"{where} url")

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The calls, with the address as the settings have it."""
        return [Call(self._target.method, self._address(self._target.url, one), dict(one.values)) for one in chunk]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Write the record."""
        (one,) = chunk
        try:
            url = self._address(self._url, one)
        except ValueError as problem:
            return [Rejection(one.id, str(problem))]
        try:
            self._wire.call(self._target.method, url, json=dict(one.values), headers=self._headers)
        except Refused as refused:
            return [Rejection(one.id, refused.told, "gone" if refused.status in GONE else "refused")]
        return []

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """What a GET of each address answers."""
        found: dict[str, Mapping[str, Any]] = {}
        for one in ids:
            try:
                url = address(self._url, one, propensity, self._target.entity)
                body = parsed(self._wire.call("GET", url, headers=self._headers))
            except (Refused, ValueError):
                continue
            if isinstance(body, dict):
                wanted = own_names(self._fields, propensity)
                found[one] = {field: body.get(field) for field in wanted}
        return found

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def _address(self, url: str, record: Record) -> str:
        return address(url, record.id, record.propensity, record.change.entity)


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
