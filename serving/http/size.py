"""The size of a request and the time it may take to come: a body that is too large is refused and never held in memory."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.flaw import Flaw
from serving.http.problem import BadRequest

SECONDS_TO_COME = 60.0
MOST_BYTES = 4 * 1024 * 1024  # a thousand records with every attribute take less than a quarter of it

FORGOTTEN_BYTES = 4 * MOST_BYTES  # of what is too large, so much is read and thrown away before it is refused


async def whole(request: Request) -> bytes:
    """The body of a request.

    Raises:
        BadRequest: it takes too long to come, or the service ends before it is whole.
        HTTPException: it is too large.
    """
    try:
        async with asyncio.timeout(SECONDS_TO_COME):
            return await request.body()
    except (TimeoutError, asyncio.CancelledError):  # cancelled by nobody but a server that ends: tell the caller, and be done
        flaw = Flaw(
            where="body",
            expected=f"all of it within {SECONDS_TO_COME:g} seconds",
            received="a part of it",
            repair="send it again over a new connection",
        )
        raise BadRequest([flaw], HTTPStatus.REQUEST_TIMEOUT) from None


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
    length, streamed = int(announced) if announced.isdigit() else 0, 0

    async def counted() -> Message:
        nonlocal streamed
        if length > MOST_BYTES:
            await _forget(receive, length)
            raise _too_large()
        message = await receive()
        streamed += len(message.get("body", b""))
        if streamed > MOST_BYTES:
            await _forget(receive, streamed if message.get("more_body") else FORGOTTEN_BYTES)
            raise _too_large()
        return message

    return counted


async def _forget(receive: Receive, size: int) -> None:
    """Read on, up to `FORGOTTEN_BYTES`: who is cut off while it sends may never read the answer (RFC 9112, section 9.6)."""
    more, read = size < FORGOTTEN_BYTES, 0
    while more:
        message = await receive()
        read += len(message.get("body", b""))
        more = bool(message.get("more_body")) and read < FORGOTTEN_BYTES


def _too_large() -> HTTPException:
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_BYTES:,} bytes")
