"""Traces, as a real collector on the loopback receives them."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from threading import Thread
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from features.console import COLLECTOR
from serving.http.tracing import Traces, opened
from serving.http.witness import NOTES, Witness
from serving.metrics import Metrics

TOKEN = "fs_3f9a1c07_" + "s" * 43
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(HTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        super().__init__(("127.0.0.1", 0), Receiver)

    @property
    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        sent = [ExportTraceServiceRequest.FromString(body) for body in self.bodies]
        return [span for one in sent for resource in one.resource_spans for scope in resource.scope_spans for span in scope.spans]


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200 if self.path == "/v1/traces" else 404)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the environment names."""
    with Collector() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
        yield server
        server.shutdown()


def client(traces: Traces | None) -> TestClient:
    """An application whose hooks' paths hold a key."""

    async def hook(request: Request) -> Response:
        notes = request.scope[NOTES]
        notes.route, notes.caller, notes.entities = "/v1/hooks/{source}/{token}", "3f9a1c07", 2
        notes.versions["churn"] = "3"
        for stage in ("validate", "fetch", "predict", "fetch"):
            notes.lap(stage)
        return Response(status_code=503 if b"fail" in await request.body() else 202)

    metrics = Metrics()
    witness = Middleware(Witness, metrics=lambda: metrics, clock=lambda: datetime.now(UTC), traces=lambda: traces)
    routes = [Route("/v1/hooks/{source}/{token}", hook, methods=["POST"])]
    return TestClient(Starlette(routes=routes, middleware=[witness]))


def test_a_collector_receives_a_request_and_its_stages(collector: Collector) -> None:
    traces = opened()
    assert traces is not None
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "Authorization": f"Bearer {TOKEN}"}
    body = {"email": "ada@example.org", "id": "C0001"}
    assert client(traces).post(f"/v1/hooks/crm/{TOKEN}?token={TOKEN}", json=body, headers=headers).status_code == 202
    traces.stop(60)
    *stages, request = sorted(collector.spans, key=lambda span: (span.parent_span_id.hex() == PARENT, span.start_time_unix_nano))
    assert request.name == "POST /v1/hooks/{source}/{token}" and request.trace_id.hex() == TRACE
    assert [span.name for span in stages] == ["validate", "fetch", "predict"]
    assert {span.parent_span_id for span in stages} == {request.span_id}
    for before, after in pairwise(stages):
        assert before.end_time_unix_nano == after.start_time_unix_nano
    assert request.start_time_unix_nano == stages[0].start_time_unix_nano
    assert request.end_time_unix_nano >= stages[-1].end_time_unix_nano
    told = {one.key: one.value.string_value or one.value.int_value for one in request.attributes}
    assert told["http.response.status_code"] == 202 and told["foresell.entities"] == 2
    assert told["foresell.version.churn"] == "3" and told["http.route"] == "/v1/hooks/{source}/{token}"


def test_no_trace_holds_a_key_or_what_was_sent(collector: Collector) -> None:
    traces = opened()
    assert traces is not None
    asking = client(traces)
    asking.post(f"/v1/hooks/crm/{TOKEN}", json={"email": "ada@example.org"}, headers={"X-API-Key": TOKEN, "User-Agent": "Ada"})
    asking.post(f"/v1/elsewhere/{TOKEN}", json={})
    asking.request(TOKEN, f"/v1/hooks/crm/{TOKEN}")
    traces.stop(60)
    sent = b"".join(collector.bodies)
    assert len([span for span in collector.spans if not span.parent_span_id]) == 3
    assert not [word for word in (TOKEN, TOKEN.upper(), "s" * 43, "ada@", "Ada", "C0001") if word.encode() in sent]


def test_an_answer_that_failed_is_an_error(collector: Collector) -> None:
    traces = opened()
    assert traces is not None
    client(traces).post(f"/v1/hooks/crm/{TOKEN}", content=b"fail")
    traces.stop(60)
    assert [span.status.code for span in collector.spans if span.kind == 2] == [2]


def test_a_collector_that_is_away_costs_no_answer(monkeypatch: pytest.MonkeyPatch, collector: Collector) -> None:
    collector.server_close()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    traces = opened()
    assert traces is not None
    assert client(traces).post(f"/v1/hooks/crm/{TOKEN}", json={}).status_code == 202
    traces.stop(60)


@pytest.mark.parametrize("disabled", [None, "true", "TRUE"])
def test_nothing_is_opened_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, disabled: str | None) -> None:
    for variable in COLLECTOR:
        monkeypatch.delenv(variable, raising=False)
    if disabled:
        monkeypatch.setenv(COLLECTOR[0], "http://127.0.0.1:9")
        monkeypatch.setenv("OTEL_SDK_DISABLED", disabled)
    assert opened() is None


def test_nothing_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import os, sys; [os.environ.pop(name, None) for name in ('OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_SDK_DISABLED')]\n"
        "from features.console import silence_telemetry; silence_telemetry()\n"
        "import serving.http.witness; from serving.http.tracing import opened\n"
        "assert opened() is None and not [m for m in sys.modules if m.startswith('opentelemetry')]\n"
        "print(os.environ['OTEL_SDK_DISABLED'])\n"
        "os.environ.pop('OTEL_SDK_DISABLED'); os.environ['OTEL_EXPORTER_OTLP_ENDPOINT'] = 'http://127.0.0.1:9'\n"
        "silence_telemetry(); print(os.environ.get('OTEL_SDK_DISABLED'))\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["true", "None"]


def test_the_service_has_no_middleware_that_traces_paths() -> None:
    from serving.service import Foresell

    assert "OpenTelemetryMiddleware" not in [one.cls.__name__ for one in Foresell.to_asgi().user_middleware]


def test_a_collector_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://{}:{}".format(*silent.getsockname()))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60")
        monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
        traces = opened()
        assert traces is not None
        client(traces).post(f"/v1/hooks/crm/{TOKEN}", json={})
        traces.stop(0.01)
        assert [thread.name for thread in threading.enumerate() if thread.name == "traces"] == ["traces"], "it has not ended"
