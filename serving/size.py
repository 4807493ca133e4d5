"""The size of a request: a body that is too large is refused before it is read into memory."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 4 * 1024 * 1024  # a thousand records with every attribute take less than a quarter of it


@dataclass(frozen=True)
class LimitedSize:
    """ASGI middleware: whoever reads a body of more than `MOST_BYTES`, announced or streamed, gets an HTTPException 413.

    It is raised where the body is read and not here, because only there are errors told as problems.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, _counted(scope, receive) if scope["type"] == "http" else receive, send)


def _counted(scope: Scope, receive: Receive) -> Receive:
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    whole, streamed = int(announced) if announced.isdigit() else 0, 0

    async def counted() -> Message:
        nonlocal streamed
        _require_small(whole)
        message = await receive()
        streamed += len(message.get("body", b""))
        _require_small(streamed)
        return message

    return counted


def _require_small(size: int) -> None:
    if size > MOST_BYTES:
        raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_BYTES:,} bytes")
