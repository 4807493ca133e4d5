"""Problems: what is wrong with a request, or why nothing can be answered, told as RFC 9457 documents.

Every flaw says where, what was expected, what was received and how to mend it, as every error of Foresell does.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from features.errors import CallError, ForesellError

MEDIA_TYPE = "application/problem+json"
MOST_FLAWS = 20


class Flaw(BaseModel):
    """One thing that is wrong."""

    where: str
    expected: str
    received: str
    repair: str

    @classmethod
    def of(cls, error: ForesellError) -> Flaw:
        """What an error of ours says."""
        return cls(where=error.where, expected=error.expected, received=error.received, repair=error.repair)


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457); `detail` is the first flaw in one sentence."""

    title: str
    status: int
    detail: str
    flaws: list[Flaw]


def tell_problems(app: Starlette, described: FastAPI) -> None:
    """Have an application tell its errors as problem documents.

    Args:
        app: the application, or one that it is mounted in.
        described: the application whose paths are named to whoever asks for another one.
    """
    app.add_exception_handler(RequestValidationError, _tell_validation)
    app.add_exception_handler(ForesellError, _tell_error)
    app.add_exception_handler(HTTPException, partial(_tell_refused, described))


def problem(status: HTTPStatus, title: str, flaws: list[Flaw], headers: Mapping[str, str] | None = None) -> Response:
    """The response that tells a problem."""
    first = flaws[0]
    detail = f"{first.where}: expected {first.expected}, received {first.received}; {first.repair}"
    document = Problem(title=title, status=status, detail=detail, flaws=flaws)
    return Response(document.model_dump_json(), status, headers, media_type=MEDIA_TYPE)


def near(name: str, names: Sequence[str]) -> str:
    """A question whether a similar name was meant; empty when none is similar."""
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean `{close[0]}`?" if close else ""


async def _tell_error(request: Request, error: Exception) -> Response:
    """An error of ours: the caller's fault if it is a CallError, otherwise something that cannot be done now."""
    assert isinstance(error, ForesellError)
    if isinstance(error, CallError):
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is wrong", [Flaw.of(error)])
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "No score can be given now", [Flaw.of(error)])


async def _tell_refused(described: FastAPI, request: Request, error: Exception) -> Response:
    """What was refused before anybody looked into the body: no such path or method, a body that is too large or no text."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.BAD_REQUEST:
        return problem(status, "The body is not JSON", [_not_json({"ctx": {"error": error.detail}})])
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return problem(status, "The body is too large", [_too_large(error.detail)], {"Connection": "close"})
    return problem(status, status.phrase, [_not_there(described, request)], error.headers)


async def _tell_validation(request: Request, error: Exception) -> Response:
    """What is wrong with a body, field by field."""
    assert isinstance(error, RequestValidationError)
    found, media_type = error.errors()[:MOST_FLAWS], request.headers.get("content-type", "")
    if any(one["type"] == "json_invalid" for one in found):
        return problem(HTTPStatus.BAD_REQUEST, "The body is not JSON", [_not_json(found[0])])
    if "json" not in media_type:
        return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not marked as JSON", [_not_marked(media_type)])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "The request is wrong", [_flaw(one) for one in found])


def _not_json(error: Mapping[str, Any]) -> Flaw:
    received = error.get("ctx", {}).get("error", "something else")
    return Flaw(where="body", expected="a JSON document", received=str(received), repair='send for example {"ids": ["1001"]}')


def _too_large(received: str) -> Flaw:
    repair = "ask about up to 1,000 entities at a time, with no more than their ids and attributes"
    return Flaw(where="body", expected="a request of up to 1,000 entities", received=received, repair=repair)


def _not_there(described: FastAPI, request: Request) -> Flaw:
    """A path that is none, or a method that the path does not answer; names those there are."""
    paths = [f"POST {path}" for path in described.openapi()["paths"]]
    return Flaw(
        where=request.url.path,
        expected="one of " + ", ".join([*paths, "GET /docs"]),
        received=f"{request.method} {request.url.path}",
        repair="the page /docs shows every path with an example",
    )


def _not_marked(media_type: str) -> Flaw:
    return Flaw(
        where="header Content-Type",
        expected="application/json",
        received=media_type or "nothing",
        repair="send `Content-Type: application/json`",
    )


def _flaw(error: Mapping[str, Any]) -> Flaw:
    told = error.get("ctx", {})
    return Flaw(
        where=_where(error["loc"]),
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
