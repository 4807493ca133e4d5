"""How large a request may be, and how long it may take to come (the limits of a running service: tests/serving/contract)."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

import pytest
from starlette.requests import Request
from starlette.types import Message

from serving.http import size
from serving.http.problem import BadRequest


def request(*messages: Message) -> Request:
    """A request whose body comes as these messages, after which its caller says no more."""
    coming = iter(messages)

    async def receive() -> Message:
        for message in coming:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return Request({"type": "http", "method": "POST", "path": "/", "headers": []}, receive)


def part(body: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_that_does_not_come_to_its_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size, "SECONDS_TO_COME", 0.05)
    with pytest.raises(BadRequest) as refused:
        asyncio.run(size.whole(request(part(b'{"ids":', more=True))))
    assert refused.value.status == HTTPStatus.REQUEST_TIMEOUT


def test_a_whole_body_is_read_at_once() -> None:
    assert asyncio.run(size.whole(request(part(b'{"ids":', more=True), part(b'["1"]}', more=False)))) == b'{"ids":["1"]}'
