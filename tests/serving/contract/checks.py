"""What schemathesis checks beside its own: run by `schemathesis` itself, which reads this through SCHEMATHESIS_HOOKS."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import schemathesis
from schemathesis.specs.openapi.checks import negative_data_rejection

PROBLEM = "application/problem+json"


@schemathesis.check
def wrong_records_are_told(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """What the schema does not allow is refused, but for a request of which some records are right: the others have a problem."""
    if response.status_code == HTTPStatus.OK and any("problem" in one for one in _scores(response)):
        return
    negative_data_rejection(ctx, response, case)


@schemathesis.check
def errors_are_problems(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """Every refusal is a problem document, and nothing fails but a propensity without a champion."""
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return
    assert response.headers["content-type"] == [PROBLEM], response.headers
    if case.method == "HEAD":
        return
    problem = response.json()
    assert problem["status"] == response.status_code and problem["type"] and problem["flaws"], problem
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE, problem
        assert problem["flaws"][0]["expected"] == "a champion", problem


def _scores(response: schemathesis.Response) -> list[Any]:
    is_json = response.headers["content-type"] == ["application/json"] and response.content
    return [one for name in ("scores", "actions") for one in response.json().get(name, [])] if is_json else []
