"""One line in the request log for each request, without anybody's name, whatever becomes of the request or of the log."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from io import StringIO
from typing import Any, TextIO

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serving.http.request_id import Identified
from serving.http.witness import NOTES, Notes, Witness
from serving.metrics import Metrics
from tests.serving.test_metrics import read

NOW = datetime(2018, 5, 15, tzinfo=UTC)


async def noted(request: Request) -> Response:
    notes: Notes = request.scope[NOTES]
    notes.route, notes.caller, notes.entities, notes.versions = "/v1/churn", "3f9a1c07", 2, {"churn": "3"}
    notes.lap("fetch")
    notes.lap("predict")
    notes.lap("fetch")
    return JSONResponse({"id": notes.request_id})


async def broken(request: Request) -> Response:
    raise ZeroDivisionError("secret of C0815")


def ask(metrics: Metrics, log: TextIO | None, path: str, **more: Any) -> httpx.Response:
    app = Starlette(routes=[Route("/v1/churn/{token}", noted, methods=["POST"]), Route("/broken", broken)])
    witness = Identified(Witness(app, lambda: metrics, lambda: NOW, log))

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(witness, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(more.pop("method", "POST"), path, **more)

    return asyncio.run(call())


def test_a_line_says_what_happened_and_names_nobody() -> None:
    log, metrics = StringIO(), Metrics()
    headers = {"Authorization": "Bearer fs_3f9a1c07_secret"}
    answer = ask(metrics, log, "/v1/churn/fs_3f9a1c07_token?name=Ada", json={"ids": ["C0815"]}, headers=headers)
    (line,) = log.getvalue().splitlines()
    told = json.loads(line)
    assert told["request"] == answer.headers["x-request-id"] == answer.json()["id"]
    assert (told["at"], told["method"], told["route"], told["status"]) == (NOW.isoformat(), "POST", "/v1/churn", 200)
    assert (told["key"], told["entities"], told["versions"]) == ("3f9a1c07", 2, {"churn": "3"})
    assert set(told["stages"]) == {"fetch", "predict"} and sum(told["stages"].values()) <= told["ms"] + 0.01
    assert not any(secret in line for secret in ("C0815", "Ada", "secret", "token"))
    found = read(metrics)
    assert found["foresell_requests_total", ("/v1/churn", "200")] == 1.0
    assert found["foresell_request_seconds_count", ("/v1/churn",)] == 1.0
    assert found["foresell_stage_seconds_count", ("predict",)] == 1.0


def test_every_request_has_an_id_of_its_own() -> None:
    assert len({ask(Metrics(), StringIO(), "/v1/churn/x").headers["x-request-id"] for _ in range(3)}) == 3


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/C0815", "GET", 404), ("/v1/churn/C0815", "GET", 405), ("/broken", "GET", 500)]
)
def test_a_request_that_nobody_noted_is_told_without_its_path(path: str, method: str, status: int) -> None:
    log, metrics = StringIO(), Metrics()
    assert ask(metrics, log, path, method=method).status_code == status
    told = json.loads(log.getvalue())
    assert (told["route"], told["status"], told["key"]) == ("elsewhere", status, None) and "C0815" not in log.getvalue()
    assert read(metrics)["foresell_requests_total", ("elsewhere", str(status))] == 1.0


class Full(StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_or_a_closed_log_costs_the_line_and_not_the_answer() -> None:
    closed = StringIO()
    closed.close()
    for log in (Full(), closed):
        metrics = Metrics()
        assert ask(metrics, log, "/v1/churn/x").status_code == 200
        assert read(metrics)["foresell_lost_total", ("log",)] == 1.0


def test_without_a_log_of_its_own_it_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    ask(Metrics(), None, "/v1/churn/x")
    assert json.loads(capsys.readouterr().out)["route"] == "/v1/churn"
