"""Problems: what is wrong with a request, or why nothing can be answered, told as RFC 9457 documents.

Every flaw says where, what was expected, what was received and how to mend it, as every error of Foresell does.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
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


def tell_problems(app: FastAPI) -> None:
    """Have an application tell its errors as problem documents."""
    app.add_exception_handler(RequestValidationError, _tell_validation)
    app.add_exception_handler(ForesellError, _tell_error)
    app.add_exception_handler(HTTPException, _tell_unreadable)


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


async def _tell_unreadable(request: Request, error: Exception) -> Response:
    """A body that could not even be read, such as one that is not text."""
    assert isinstance(error, HTTPException)
    return problem(HTTPStatus(error.status_code), "The body is not JSON", [_not_json({"ctx": {"error": error.detail}})])


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
