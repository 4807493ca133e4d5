"""The BentoML service, and the one door to BentoML. Thin: the routes are in serving.http.api, the scores in serving.scorer.

`foresell serve` runs it; so does `FORESELL_WORKSPACE=DIR bentoml serve serving.service:Foresell`, there or in a Bento.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware

from features.console import silence_telemetry
from features.errors import ForesellError
from features.settings import Workspace
from features.store import Online
from serving.http.address import listening, require_loopback
from serving.http.api import Api, now
from serving.http.problem import tell_problems
from serving.http.request_id import Identified

silence_telemetry()
import bentoml  # noqa: E402
from _bentoml_sdk import Service  # type: ignore[import-untyped]  # noqa: E402

WORKSPACE, WORKERS, HOST = "FORESELL_WORKSPACE", "FORESELL_WORKERS", "FORESELL_HOST"
NAME = "foresell"
MEMORY = Path("/dev/shm")  # a mapped file on a disk that is full kills the worker that writes to it
EVERYWHERE = "0.0.0.0"  # where BentoML listens unless it is told
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS_TO_IMPORT = 60  # a worker that says nothing for so long is replaced; uvicorn's 5 killed those that still imported
SECONDS_TO_DRAIN = 6  # for the requests under way; then the office stops, and then spans are sent
SECONDS_FOR_SPANS = 2.0
ENVIRONMENT = {  # a service would rather hear that MLflow is away than wait for it
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}

api = Api()


class Bare(Service[Any]):
    """A service as BentoML builds it, with our problem documents and ids of requests in place of its middleware.

    The one for traces would put whole paths into spans, and a webhook's path holds a key; spans of our own are in
    serving.http.tracing. The one for timeouts keeps a timer for a minute after each answer, tens of thousands of them under load;
    everything here has a deadline of its own. The one for contexts is for the methods of BentoML's own kind of service.
    """

    def to_asgi(self, is_main: bool = True) -> Any:
        """The whole application; every worker process calls this."""
        outer: Any = super().to_asgi(is_main)
        outer.user_middleware = [Middleware(Identified)]
        tell_problems(outer, lambda: api.paths)  # a path that nobody has is refused there
        return outer


@bentoml.service(
    name=NAME,
    service_class=Bare,
    workers=int(os.environ.get(WORKERS, "1")),
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
@bentoml.asgi_app(api.app)
class Foresell:
    """Scores of leads and customers, with reasons: one route for each propensity of the workspace."""

    def __init__(self) -> None:
        """Open the workspace that the environment names, and load its champions.

        Raises:
            WorkspaceError: there is no such workspace, or its file of keys is damaged.
            CallError: API keys are off, and others than this machine may reach the service.
            TableError: nothing has been ingested.
            StoreError: the online store has not been set up.
        """
        from serving.http.gate import Gate
        from serving.http.tracing import opened
        from serving.metrics import Metrics
        from serving.office import Office

        workspace = _workspace()
        _require_loopback(workspace, listening() or {os.environ.get(HOST, EVERYWHERE)})
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        metrics = Metrics()
        self.office = Office(workspace, metrics.seated)
        api.open(self.office, Gate.open(workspace, int(os.environ.get(WORKERS, "1"))), metrics, opened())
        self.office.start(now, metrics)
        _tame_garbage_collection()

    @bentoml.on_deployment
    @staticmethod
    def refuse() -> None:
        """Have `bentoml serve` end before it starts a worker, where one would refuse to serve others without keys."""
        from click import get_current_context

        command = get_current_context(silent=True)
        _require_loopback(_workspace(), {(command and command.params.get("host")) or os.environ.get(HOST, EVERYWHERE)})

    @bentoml.on_shutdown
    def release(self) -> None:
        """Store what was answered, close, and let everything be collected again, so that libraries can close what they hold."""
        self.office.stop()
        if api.traces:
            api.traces.stop(SECONDS_FOR_SPANS)
        gc.unfreeze()

    async def __is_ready__(self) -> bool:
        """Whether somebody can be scored now: a version is loaded, and the online store answers."""
        try:
            await run_in_threadpool(self.office.require_ready)
        except ForesellError:
            return False
        return True


def asgi() -> Any:
    """The service as an ASGI application; a worker process of `foresell serve` calls this."""
    bentoml.server_context.service_name = bentoml.server_context.bento_name = NAME
    return Foresell.to_asgi()  # type: ignore[attr-defined]


def run(workspace: Workspace, host: str, port: int, workers: int) -> None:
    """Serve in the foreground until interrupted or terminated; requests that were accepted are answered first.

    Args:
        workspace: with at least one champion.
        host: the address to listen at.
        port: a port that is free.
        workers: one answers in this very process, more in processes of their own.

    Raises:
        StoreError: the online store has not been set up.
    """
    import uvicorn

    os.environ[WORKSPACE], os.environ[WORKERS], os.environ[HOST] = str(workspace.root), str(workers), host
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn drains first, then hands the signal on
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as metrics:
        if workers > 1:
            os.environ[MULTIPROCESS] = metrics  # where they add up what /metrics tells; this process is none of them
        Online(workspace)  # what is wrong with it is said here in a sentence, before every worker says it in a traceback
        uvicorn.run(
            "serving.service:asgi", factory=True, host=host, port=port, workers=workers, access_log=False,
            timeout_worker_healthcheck=SECONDS_TO_IMPORT, timeout_graceful_shutdown=SECONDS_TO_DRAIN,
        )  # fmt: skip


def _workspace() -> Workspace:
    return Workspace.open(Path(os.environ.get(WORKSPACE, ".")))


def _require_loopback(workspace: Workspace, addresses: Iterable[str]) -> None:
    """See to it that nobody else reaches a service without keys."""
    if workspace.settings.serving.keys == "off":
        for address in addresses:
            require_loopback(address)


def _tame_garbage_collection() -> None:
    """Leave what was loaded at start-up out of every later collection: pauses of 90 ms become 1 ms (STACK.md)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
