"""The BentoML service, and the one door to BentoML. Thin: the routes are in serving.api, the scores in serving.scorer.

`foresell serve` runs it; so does `FORESELL_WORKSPACE=DIR bentoml serve serving.service:Foresell`.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool

from features.console import silence_telemetry
from features.errors import ForesellError
from features.settings import Workspace
from features.store import Online
from serving.api import Api
from serving.problem import tell_problems

silence_telemetry()
import bentoml  # noqa: E402

WORKSPACE, WORKERS = "FORESELL_WORKSPACE", "FORESELL_WORKERS"
NAME = "foresell"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
SECONDS_TO_IMPORT = 60  # a worker that says nothing for so long is replaced; uvicorn's 5 killed those that still imported
ENVIRONMENT = {  # a service would rather hear that MLflow is away than wait for it
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
}

api = Api()


@bentoml.service(name=NAME, traffic={"timeout": 60}, logging={"access": {"enabled": False}}, metrics={"enabled": False})
@bentoml.asgi_app(api.app)
class Foresell:
    """Scores of leads and customers, with reasons: one route for each propensity of the workspace."""

    def __init__(self) -> None:
        """Open the workspace that the environment names, and load its champions.

        Raises:
            WorkspaceError: there is no such workspace, or its file of keys is damaged.
            TableError: nothing has been ingested.
            StoreError: the online store has not been set up.
        """
        from serving.gate import Gate
        from serving.metrics import Metrics
        from serving.office import Office

        workspace = Workspace.open(Path(os.environ.get(WORKSPACE, ".")))
        for variable, value in ENVIRONMENT.items():
            os.environ.setdefault(variable, value)
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        metrics = Metrics()
        self.office = Office(workspace, metrics.seated)
        api.open(self.office, Gate.open(workspace, int(os.environ.get(WORKERS, "1"))), metrics)
        self.office.start()
        _tame_garbage_collection()

    @bentoml.on_shutdown
    def release(self) -> None:
        """Store what was answered, close, and let everything be collected again, so that libraries can close what they hold."""
        self.office.stop()
        gc.unfreeze()

    async def __is_ready__(self) -> bool:
        """Whether somebody can be scored now: a version is loaded, and the online store answers."""
        try:
            await run_in_threadpool(self.office.require_ready)
        except ForesellError:
            return False
        return True


def asgi() -> Any:
    """The service as an ASGI application; a worker process calls this."""
    bentoml.server_context.service_name = bentoml.server_context.bento_name = NAME
    outer = Foresell.to_asgi()  # type: ignore[attr-defined]
    tell_problems(outer, lambda: api.paths)  # a path that nobody has is refused there
    return outer


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

    os.environ[WORKSPACE], os.environ[WORKERS] = str(workspace.root), str(workers)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn drains first, then hands the signal on
    with tempfile.TemporaryDirectory() as metrics:
        if workers > 1:
            os.environ[MULTIPROCESS] = metrics  # where they add up what /metrics tells; this process is none of them
        Online(workspace)  # what is wrong with it is said here in a sentence, before every worker says it in a traceback
        uvicorn.run(
            "serving.service:asgi", factory=True, host=host, port=port, workers=workers, access_log=False,
            timeout_worker_healthcheck=SECONDS_TO_IMPORT,
        )  # fmt: skip


def _tame_garbage_collection() -> None:
    """Leave what was loaded at start-up out of every later collection: pauses of 90 ms become 1 ms (STACK.md)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
