"""Webhook: scores as one signed call, for whoever writes the receiver.

The body is `{"target": ..., "scores": [{"entity", "entity_id", "propensity", and the fields}]}`. It carries an `Idempotency-Key`,
the same for the same body, and with a secret `X-Foresell-Signature: sha256=HMAC`. Any answer of success takes all of them, except
those it lists: `{"rejected": [{"entity_id": ..., "error": ...}]}`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from features.errors import CallError
from features.remote.credential import credential
from features.remote.environment import filled
from features.remote.wire import Wire, parsed
from features.settings import Workspace
from features.target import WebhookTarget
from serving.connectors.connector import Call, Record, Rejection
from serving.hooks.signature import signed


class Webhook:
    """An address that takes many scores a call.

    Args:
        workspace: a file with the secret must lie outside it.
        wire: to the target.
        where: the target's table in the settings, for errors.
        name: the target's.
        target: the settings.
        headers: with their credentials.

    Raises:
        WorkspaceError: the secret is not there, or stands in the settings.
    """

    limit = 100
    groups = False

    def __init__(
        self, workspace: Workspace, wire: Wire, where: str, name: str, target: WebhookTarget, headers: Mapping[str, str]
    ) -> None:
        self._wire, self._name, self._target, self._headers = wire, name, target, headers
        self._url = filled(target.url, f"{where} url")
        self._secret = credential(workspace, target.secret, f"{where} secret") if target.secret else ""
        wire.secrets.append(self._secret)

    def show(self, chunk: Sequence[Record]) -> list[Call]:
        """The call, with the address as the settings have it."""
        return [Call("POST", self._target.url, self._body(chunk))]

    def send(self, chunk: Sequence[Record]) -> list[Rejection]:
        """Send them in one call."""
        body = json.dumps(self._body(chunk), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json", **self._headers, "Idempotency-Key": _key(body, chunk),
        }  # fmt: skip
        if self._secret:
            headers["X-Foresell-Signature"] = signed(body, self._secret.encode())
        answer = parsed(self._wire.call("POST", self._url, content=body, headers=headers))
        told = answer.get("rejected") if isinstance(answer, dict) else None
        among = {one.id for one in chunk}
        return [
            Rejection(str(one["entity_id"]), self._wire.clean(str(one.get("error") or "rejected")))
            for one in (told if isinstance(told, list) else [])
            if isinstance(one, dict) and str(one.get("entity_id")) in among
        ]

    def read(self, propensity: str, ids: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """A webhook cannot be read.

        Raises:
            CallError: always.
        """
        raise CallError(
            f"target {self._name!r}",
            expected="a target that can be read",
            received="a webhook, which only takes",
            repair="compare in the system behind it; the ledger says what it was sent",
        )

    def close(self) -> None:
        """Close its connections."""
        self._wire.close()

    def _body(self, chunk: Sequence[Record]) -> dict[str, Any]:
        scores = [
            {"entity": one.change.entity, "entity_id": one.id, "propensity": one.propensity, **one.values} for one in chunk
        ]  # fmt: skip
        return {"target": self._name, "scores": scores}


def _key(body: bytes, chunk: Sequence[Record]) -> str:
    """The same for the same scores of the same night, and for nothing else: a score may come back to what it was."""
    nights = repr([(one.change.as_of.isoformat(), one.change.version) for one in chunk])
    return hashlib.sha256(body + nights.encode()).hexdigest()
