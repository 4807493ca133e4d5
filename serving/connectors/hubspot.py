"""HubSpot: objects by batch update, or upsert, of a hundred inputs a call; every value is text, and nothing is empty text.

A call that is partly taken is answered with 207: `errors` name the ids that were not in their `context`. An answer that accounts
for fewer records than were sent, which HubSpot gives too, is taken as a refusal, so that the core finds out which one it is.

Sources: developers.hubspot.com, "CRM objects: batch update", "batch upsert" and "API usage guidelines"; HubSpot's OpenAPI
description of objects. `hubspot-api-client` is not used: its models hide `context`, and it brings its own retries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from features.errors import WorkspaceError
from features.remote.credential import credential
from features.remote.environment import filled
from features.remote.failure import Refused
from features.remote.wire import Wire, parsed
from features.settings import Workspace
from features.target import HubspotTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.connectors.record import own_names
from serving.connectors.rest import require_fields

GONE = "OBJECT_NOT_FOUND"


class Hubspot:
    """One kind of object.

    Args:
        workspace: a file with the token must lie outside it.
        wire: to HubSpot.
        where: the target's table in the settings, for errors.
        target: the settings.
        fields: what is written.

    Raises:
        WorkspaceError: the token is not there or stands in the settings, `create` lacks an `id_property`, or nothing says which
            fields are written.
    """

    limit = 100
    groups = False

    def __init__(
        self, workspace: Workspace, wire: Wire, where: str, target: HubspotTarget, fields: Mapping[str, str]
    ) -> None:  # fmt: skip
        require_fields(where, target.fields)
        if target.create and not target.id_property:
            raise WorkspaceError(
                f"{where} create",
                expected="an `id_property`, by which HubSpot knows what is there",
                received="none",
                repair="make a property with unique values in HubSpot and name it, or remove `create`",
            )
        token = credential(workspace, target.token, f"{where} token")
        wire.secrets.append(token)
        self._wire, self._target, self._fields = wire, target, fields
        self._headers = {"Authorization": f"Bearer {token}"}
        self._path = f"/crm/v3/objects/{target.object}/batch"
        self._url = filled(target.url, f"{where} url").rstrip("/") + self._path

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The call, without the token."""
        return [Call("POST", f"{self._target.url.rstrip('/')}{self._path}/{self._verb}", self._body(chunk))]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Update or upsert in one call."""
        answer = parsed(self._wire.call("POST", f"{self._url}/{self._verb}", json=self._body(chunk), headers=self._headers))
        answer = answer if isinstance(answer, dict) else {}
        named = self._named(answer.get("errors") or (), {one.id for one in chunk})
        if len(named) + len(answer.get("results") or ()) < len(chunk):
            told = next((str(error.get("message")) for error in answer.get("errors") or ()), "the answer leaves records out")
            raise Refused(self._wire.clean(told), body=answer)
        return list(named.values())

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The properties of those objects that there are."""
        own, key = list(own_names(self._fields, propensity)), self._target.id_property
        body: dict[str, Any] = {
            "inputs": [{"id": one} for one in ids], "properties": [*own, *([key] if key else [])], "propertiesWithHistory": [],
        }  # fmt: skip
        if key:
            body["idProperty"] = key
        answer = parsed(self._wire.call("POST", f"{self._url}/read", json=body, headers=self._headers))
        results = answer.get("results") or () if isinstance(answer, dict) else ()
        return {str(one["properties"].get(key) if key else one["id"]): one["properties"] for one in results}

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    @property
    def _verb(self) -> str:
        return "upsert" if self._target.create else "update"

    def _body(self, chunk: Sequence[Record]) -> dict[str, Any]:
        key = {"idProperty": self._target.id_property} if self._target.id_property else {}
        return {"inputs": [{"id": one.id, **key, "properties": _texts(one.values)} for one in chunk]}

    def _named(self, errors: Iterable[Any], among: set[str]) -> dict[str, Rejection]:
        """What was said of each record that an error names."""
        found: dict[str, Rejection] = {}
        for error in errors:
            ids = (error.get("context") or {}).get("ids") or ()
            told = self._wire.clean(f"{error.get('category', '')}: {error.get('message', '')}")
            cause: Literal["gone", "refused"] = "gone" if error.get("category") == GONE else "refused"
            found |= {str(one): Rejection(str(one), told, cause) for one in ids if str(one) in among}
        return found


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: "" if value is None else str(value) for name, value in values.items()}
