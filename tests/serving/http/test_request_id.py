"""Whatever answer a request gets, it has the id under which the log tells of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from serving.http.problem import tell_problems
from serving.http.request_id import HEADER, Identified, given
from serving.http.witness import Witness
from serving.metrics import Metrics

NOW = datetime(2018, 5, 15, tzinfo=UTC)


async def well(request: Request) -> Response:
    return JSONResponse(given(request.scope))


async def broken(request: Request) -> Response:
    raise ZeroDivisionError("secret of C0815")


@pytest.fixture
def log() -> StringIO:
    return StringIO()


@pytest.fixture
def client(log: StringIO) -> TestClient:
    """The service's two applications, as `serving.service` puts one into the other."""
    metrics = Metrics()
    witness = Middleware(Witness, metrics=lambda: metrics, clock=lambda: NOW, log=log)
    inner = Starlette(routes=[Route("/well", well), Route("/broken", broken)], middleware=[witness])
    outer = Starlette(routes=[Route("/probe", broken), Mount("/v1", inner)], middleware=[Middleware(Identified)])
    for app in (inner, outer):
        tell_problems(app, list)
    return TestClient(outer, raise_server_exceptions=False)


def test_an_answer_has_the_id_that_the_log_has(client: TestClient, log: StringIO) -> None:
    answer = client.get("/v1/well")
    assert answer.headers[HEADER] == answer.json() == json.loads(log.getvalue())["request"]


def test_a_mistake_of_ours_is_told_with_the_id_that_the_log_has(
    client: TestClient, log: StringIO, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.get("/v1/broken")
    line = json.loads(log.getvalue())
    assert answer.status_code == line["status"] == 500 and answer.headers.get_list(HEADER) == [line["request"]]
    assert f"request {line['request']} in the service's log" in answer.json()["flaws"][0]["repair"]
    assert f"request {line['request']}: ZeroDivisionError" in caplog.text and "C0815" not in answer.text


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/v1/nowhere", 404), ("/probe", 500)])
def test_what_is_answered_before_or_beside_the_routes_has_one_too(client: TestClient, path: str, status: int) -> None:
    answers = [client.get(path) for _ in range(2)]
    ids = [one for answer in answers for one in answer.headers.get_list(HEADER)]
    assert [answer.status_code for answer in answers] == [status] * 2 and len(set(ids)) == len(ids) == 2
