"""Deliveries: a score as the HTTP request that takes it to its CRM, as `[hooks.SOURCE.write_back]` says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from features.errors import WorkspaceError, nearest
from features.hook import WriteBack
from features.remote.environment import filled
from serving.hooks.signature import secrets, signed
from serving.ledger import Letter
from serving.score import Score

if TYPE_CHECKING:
    import httpx


def require_sendable(source: str, write_back: WriteBack) -> None:
    """Check, before anything is received, what is sent and with what.

    Raises:
        WorkspaceError: `fields` names something that a score does not have, or an environment variable is not set.
    """
    known = Score.__struct_fields__
    for name in write_back.fields.values():
        if name not in known:
            raise _no_field(source, name, known)
    _filled(write_back.url)
    _headers(write_back, b"")


def request(client: httpx.Client, write_back: WriteBack, letter: Letter) -> httpx.Request:
    """What is sent for a letter.

    Raises:
        WorkspaceError: an environment variable is not set.
        ValueError, KeyError: the letter cannot be sent: its score holds NaN or lacks a field, or its id is no part of an address.
    """
    url = address(_filled(write_back.url), letter.entity_id, letter.propensity, letter.entity)
    body = _body(write_back, letter.document)
    headers = {**_headers(write_back, body), "Idempotency-Key": letter.id}
    return client.build_request(write_back.method, url, content=body, headers=headers)


def address(url: str, entity_id: str, propensity: str, entity: str) -> str:
    """An address with `{id}`, `{propensity}` and `{entity}` filled in.

    Raises:
        ValueError: the id is no part of an address.
    """
    if entity_id in (".", ".."):
        raise ValueError("an id that would lead to another address")
    for name, value in {"id": entity_id, "propensity": propensity, "entity": entity}.items():
        url = url.replace(f"{{{name}}}", quote(value, safe=""))
    return url


def _body(write_back: WriteBack, document: bytes) -> bytes:
    """The score as it was served, or those of its fields that the CRM wants, by the CRM's names."""
    score: dict[str, Any] = json.loads(document, parse_constant=_refuse)
    told = {name: score[of] for name, of in write_back.fields.items()} if write_back.fields else score
    return json.dumps(told, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON")


def _headers(write_back: WriteBack, body: bytes) -> dict[str, str]:
    headers = {"Content-Type": "application/json", **{name: _filled(value) for name, value in write_back.headers.items()}}
    if write_back.secret:
        headers["X-Foresell-Signature"] = signed(body, secrets(write_back.secret)[0])
    return headers


def _filled(setting: str) -> str:
    return filled(setting, "write_back in [hooks]")


def _no_field(source: str, name: str, known: Sequence[str]) -> WorkspaceError:
    near = nearest(name, known)
    return WorkspaceError(
        f"[hooks.{source}.write_back] fields",
        expected=f"CRM_FIELD = SCORE_FIELD, a field of a score: {', '.join(known)}",
        received=f"`{name}`",
        repair=f"write `{near}`" if near else "write the CRM's field first, then the score's",
    )
