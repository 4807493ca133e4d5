"""Traces through OpenTelemetry: a span for each request and one for each of its stages, sent to a collector over OTLP/HTTP.

Where the environment names no collector (`OTEL_EXPORTER_OTLP_ENDPOINT`), nothing is imported and nothing is done. Otherwise
OpenTelemetry's own variables say the rest: `OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, `OTEL_EXPORTER_OTLP_HEADERS` and so on.

Spans tell what the request log tells, and no more: the pattern of a path, never the path, for a webhook's holds a key; no id of
an entity, no header and no body.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any

from features.console import COLLECTOR

if TYPE_CHECKING:
    from serving.http.witness import Notes

NAME = "foresell"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PARENT = (b"traceparent", b"tracestate")
NANOSECONDS = 1_000_000_000
_log = logging.getLogger("foresell")


class Traces:
    """What sends spans, from a thread of its own; a collector that is away costs spans, never an answer."""

    def __init__(self) -> None:
        """Take what the environment says of the collector; nothing is connected to yet.

        Raises:
            ImportError: the extra `otel` is not installed.
        """
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = Resource.create({SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", NAME)})
        self._provider = TracerProvider(resource=named, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer(NAME)
        self._propagator = TraceContextTextMapPropagator()

    def tell(self, scope: Mapping[str, Any], notes: Notes, status: int, began: int, ended: int) -> None:
        """One request, once it is answered. It continues the trace that its header `traceparent` names.

        Args:
            scope: of the request.
            notes: what was noted of it; its stages are laid one after another, those of several propensities summed up.
            status: of the answer.
            began: nanoseconds since 1970.
            ended: nanoseconds since 1970.
        """
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

        method = scope["method"] if scope["method"] in METHODS else "_OTHER"
        span = self._tracer.start_span(
            f"{method} {notes.route}",
            context=self._propagator.extract(dict(_parent(scope))),
            kind=SpanKind.SERVER,
            attributes=_attributes(method, notes, status),
            start_time=began,
        )
        inside, at = set_span_in_context(span), began
        for stage, seconds in notes.stages.items():
            child = self._tracer.start_span(stage, context=inside, start_time=at)
            at += round(seconds * NANOSECONDS)
            child.end(at)
        if status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end(ended)

    def stop(self, patience_seconds: float) -> None:
        """Send what is left, for at most so many seconds; OpenTelemetry itself would wait for half a minute."""
        ending = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        ending.start()
        ending.join(patience_seconds)


def opened() -> Traces | None:
    """What sends spans, where the environment asks for it and the extra `otel` is installed."""
    if not any(os.environ.get(variable) for variable in COLLECTOR) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        return Traces()
    except ImportError as problem:
        _log.warning("no traces: %s; `pip install foresell[otel]` brings what sends them", problem)
        return None


def _parent(scope: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((name.decode(), value.decode("latin-1")) for name, value in scope["headers"] if name in PARENT)


def _attributes(method: str, notes: Notes, status: int) -> dict[str, str | int]:
    return {
        "http.request.method": method,
        "http.route": notes.route,
        "http.response.status_code": status,
        "foresell.request": notes.request_id,
        "foresell.key": notes.caller or "",
        "foresell.entities": notes.entities,
        **{f"foresell.version.{name}": version for name, version in notes.versions.items()},
    }
