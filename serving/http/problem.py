"""Problems: what is wrong with a request, or why nothing can be answered, told as RFC 9457 documents.

Every flaw says where, what was expected, what was received and how to mend it, as every error of Foresell does.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from features.errors import CallError, ForesellError
from serving.flaw import Flaw
from serving.hooks.refusal import Refusal
from serving.http.gate import Refused
from serving.http.request_id import HEADER, given
from serving.limits import MOST_ENTITIES

_log = logging.getLogger("foresell")
MEDIA_TYPE = "application/problem+json"
KIND = "urn:foresell:problem:"
MOST_FLAWS = 20
LONGEST_NAME = 100
BAD = {
    HTTPStatus.BAD_REQUEST: "The body is not JSON",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not come to its end",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is not marked as JSON",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request is wrong",
}


class BadRequest(Exception):
    """A request of which nothing can be answered; `flaws` say why, and `status` what kind of mistake it is."""

    def __init__(self, flaws: Sequence[Flaw], status: HTTPStatus = HTTPStatus.UNPROCESSABLE_ENTITY) -> None:
        super().__init__(flaws[0].where)
        self.flaws, self.status = list(flaws[:MOST_FLAWS]), status


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457).

    Attributes:
        type: the kind of problem, by which a program can tell it from others.
        title: the kind of problem, for people.
        status: the HTTP status.
        detail: the first flaw in one sentence.
        flaws: everything that is wrong, up to 20 things.
    """

    type: str
    title: str
    status: int
    detail: str
    flaws: list[Flaw]


def tell_problems(app: Starlette, paths: Callable[[], Sequence[str]]) -> None:
    """Have an application tell its errors as problem documents.

    Args:
        app: the application, or one that it is mounted in.
        paths: names those there are to whoever asks for another one, such as `POST /v1/churn`.
    """
    app.add_exception_handler(ForesellError, _tell_error)
    app.add_exception_handler(BadRequest, _tell_bad)
    app.add_exception_handler(ClientDisconnect, _tell_nobody)
    app.add_exception_handler(HTTPException, partial(_tell_refused, paths))
    app.add_exception_handler(Exception, _tell_unexpected)


def problem(status: HTTPStatus, title: str, flaws: list[Flaw], headers: Mapping[str, str] | None = None) -> Response:
    """The response that tells a problem."""
    return Response(document(status, title, flaws).model_dump_json(), status, headers, media_type=MEDIA_TYPE)


def document(status: HTTPStatus, title: str, flaws: list[Flaw]) -> Problem:
    """The document itself."""
    first = flaws[0]
    detail = f"{first.where}: expected {first.expected}, received {first.received}; {first.repair}"
    kind = KIND + re.sub(r"\W+", "-", title.lower())
    return Problem(type=kind, title=title, status=status, detail=detail, flaws=flaws)


def shown_path(path: str) -> str:
    """A path fit to be told: what is below `/v1/hooks/` may hold a key."""
    return "/v1/hooks/..." if path.startswith("/v1/hooks/") else path[:200]


def near(name: str, names: Sequence[str]) -> str:
    """A question whether a similar name was meant; empty when none is similar."""
    if len(name) > LONGEST_NAME:
        return ""  # comparing costs the square of the length
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean `{close[0]}`?" if close else ""


def told(error: ForesellError, undone: str = "No score can be given now") -> Response:
    """An error of ours: the caller's fault if it is a CallError, otherwise something that cannot be done now: `undone`."""
    if isinstance(error, Refused):
        return problem(error.status, error.status.phrase, [Flaw.of(error)], error.headers)
    if isinstance(error, Refusal):
        return problem(error.status, "The webhook's call is not taken", [Flaw.of(error)])
    if isinstance(error, CallError):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is wrong", [Flaw.of(error)])
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, undone, [Flaw.of(error)], {"Retry-After": "1"})


async def _tell_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ForesellError)
    return told(error)


async def _tell_bad(request: Request, error: Exception) -> Response:
    assert isinstance(error, BadRequest)
    headers = {"Connection": "close"} if error.status == HTTPStatus.REQUEST_TIMEOUT else None
    return problem(error.status, BAD[error.status], error.flaws, headers)


async def _tell_nobody(request: Request, error: Exception) -> Response:
    """The caller has gone in the middle of its body: no mistake of ours, and nobody listens."""
    flaw = Flaw(where="body", expected="a whole body", received="a part of one", repair="send it again")
    return problem(HTTPStatus.BAD_REQUEST, "The body broke off", [flaw])


async def _tell_unexpected(request: Request, error: Exception) -> Response:
    """A mistake of ours, told without its inner parts; the log has them. Nobody behind this gives the answer its id."""
    its_id = given(request.scope)
    _log.error("request %s: %s", its_id, type(error).__name__)
    flaw = Flaw(
        where=shown_path(request.url.path),
        expected="an answer",
        received="a mistake in Foresell",
        repair=f"look for request {its_id} in the service's log, and report it",
    )
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here", [flaw], {HEADER: its_id})


async def _tell_refused(paths: Callable[[], Sequence[str]], request: Request, error: Exception) -> Response:
    """What was refused before anybody looked into the body: no such path or method, or a body that is too large."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem(status, "The body is too large", [_too_large(error.detail)], {"Connection": "close"})
    return problem(status, status.phrase, [_not_there(paths(), request)], error.headers)


def flaws_of(errors: Sequence[Mapping[str, Any]]) -> list[Flaw]:
    """What is wrong with a body, field by field, as pydantic tells it."""
    return [_not_json(one) if one["type"] == "json_invalid" else _flaw(one) for one in errors[:MOST_FLAWS]]


def _not_json(error: Mapping[str, Any]) -> Flaw:
    received = error.get("ctx", {}).get("error", "something else")
    return Flaw(where="body", expected="a JSON document", received=str(received), repair='send for example {"ids": ["1001"]}')


def _too_large(received: str) -> Flaw:
    repair = f"ask about up to {MOST_ENTITIES:,} entities at a time, with no more than their ids and attributes"
    return Flaw(where="body", expected=f"a request of up to {MOST_ENTITIES:,} entities", received=received, repair=repair)


def _not_there(paths: Sequence[str], request: Request) -> Flaw:
    """A path that is none, or a method that the path does not answer; names those there are."""
    return Flaw(
        where=shown_path(request.url.path),
        expected="one of " + ", ".join([*paths, "GET /docs"]),
        received=f"{request.method} {shown_path(request.url.path)}",
        repair="the page /docs shows every path with an example",
    )


def not_marked(media_type: str) -> BadRequest:
    """The error of a body whose type nobody said."""
    flaw = Flaw(
        where="header Content-Type",
        expected="application/json",
        received=_short(media_type) if media_type else "nothing",
        repair="send `Content-Type: application/json`",
    )
    return BadRequest([flaw], HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def _flaw(error: Mapping[str, Any]) -> Flaw:
    told = error.get("ctx", {})
    return Flaw(
        where=_where(("body", *error["loc"])),
        expected=str(told.get("expected_names") or _expectation(error["msg"])),
        received="nothing" if error["type"] == "missing" else _short(error.get("input")),
        repair=str(told.get("repair") or "the page /docs shows the request with an example"),
    )


def _where(location: Sequence[str | int]) -> str:
    """For example `body.records[0].attributes.lead_origin`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")


def _expectation(message: str) -> str:
    for prefix in ("Input should be ", "Value error, "):
        message = message.removeprefix(prefix)
    return message[:1].lower() + message[1:]


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."
