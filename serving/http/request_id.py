"""The id of a request: given when it comes in, and sent back as `X-Request-ID` with whatever answer it gets."""

from __future__ import annotations

from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Request-ID"
_KEY, _RAW = "foresell.request", HEADER.lower().encode()


def given(scope: Scope) -> str:
    """The id of a request; it is given one if it has none."""
    if _KEY not in scope:
        scope[_KEY] = uuid4().hex
    found: str = scope[_KEY]
    return found


class Identified:
    """ASGI middleware around everything else: sends each answer, also to a probe or at a path that is none, with an id."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap an application."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, _identified(scope, send) if scope["type"] == "http" else send)


def _identified(scope: Scope, send: Send) -> Send:
    """What sends an answer with the request's id, also if it has that already."""
    its_id = given(scope).encode()

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            others = [(name, value) for name, value in message.get("headers", ()) if name != _RAW]
            message["headers"] = [*others, (_RAW, its_id)]
        await send(message)

    return sent
