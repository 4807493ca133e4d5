"""The witness: one line in the request log for each request, and its figures.

No line holds an entity's id, a name, a body or a key's secret; who asked about whom is in the ledger, where it can be looked up
by those who may, and forgotten.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TextIO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.request_id import given
from serving.http.tracing import Traces
from serving.metrics import Metrics

NOTES = "foresell.notes"


@dataclass(slots=True)
class Notes:
    """What is noted of a request while it is answered.

    Attributes:
        request_id: sent back with the answer, kept with the scores.
        route: the path's pattern, never the path: a webhook's holds a key.
        caller: the id of the key.
        entities: how many were asked about.
        versions: which version answered, by propensity.
        stages: seconds by stage.
    """

    request_id: str
    route: str = "elsewhere"
    caller: str | None = None
    entities: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        """The end of a stage, which began at the end of the one before."""
        now = time.perf_counter()
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self.last
        self.last = now


class Witness:
    """ASGI middleware: takes notes of each request, writes the line and counts when the answer has gone out."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Callable[[], Metrics],
        clock: Callable[[], datetime],
        log: TextIO | None = None,
        traces: Callable[[], Traces | None] = lambda: None,
    ) -> None:
        """Wrap an application.

        Args:
            app: the application.
            metrics: of this process, once there are any.
            clock: the wall clock, for the log.
            log: where lines go; None is standard output as it is then.
            traces: what sends spans, if anything does.
        """
        self._app, self._metrics, self._clock, self._log, self._traces = app, metrics, clock, log, traces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        notes = Notes(given(scope))
        scope[NOTES], began, status = notes, notes.last, 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            seconds = time.perf_counter() - began
            self._tell(scope["method"], notes, status, seconds)
            if traces := self._traces():
                ended = round(self._clock().timestamp() * 1_000_000_000)
                traces.tell(scope, notes, status, ended - round(seconds * 1_000_000_000), ended)

    def _tell(self, method: str, notes: Notes, status: int, seconds: float) -> None:
        metrics = self._metrics()
        metrics.requests.labels(notes.route, status).inc()
        metrics.seconds.labels(notes.route).observe(seconds)
        metrics.timed(notes.stages)
        line = {
            "at": self._clock().isoformat(),
            "request": notes.request_id,
            "method": method,
            "route": notes.route,
            "status": status,
            "ms": round(1000 * seconds, 3),
            "stages": {stage: round(1000 * spent, 3) for stage, spent in notes.stages.items()},
            "key": notes.caller,
            "entities": notes.entities,
            "versions": notes.versions,
        }
        try:
            print(json.dumps(line), file=self._log or sys.stdout, flush=True)
        except (OSError, ValueError):  # a full disk or a closed pipe: the answer was more important
            metrics.lost.labels("log").inc()
