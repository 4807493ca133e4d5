"""The BentoML service, and the one door to BentoML. Thin: the routes are in serving.api, the scores in serving.scorer.

`foresell serve` runs it; so does `FORESELL_WORKSPACE=DIR bentoml serve serving.service:Foresell`.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from features.console import silence_telemetry
from features.settings import Workspace
from features.store import Online
from serving.api import application, open_routes
from serving.desk import Desk, open_desks
from serving.problem import tell_problems

silence_telemetry()
import bentoml  # noqa: E402

WORKSPACE = "FORESELL_WORKSPACE"
NAME = "foresell"

app = application()


@bentoml.service(name=NAME, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
@bentoml.asgi_app(app)
class Foresell:
    """Scores of leads and customers, with reasons: one route for each propensity of the workspace."""

    def __init__(self) -> None:
        """Open the workspace that the environment names, and load its champions.

        Raises:
            WorkspaceError: there is no such workspace.
            TableError: nothing has been ingested.
            StoreError: the online store has not been set up.
        """
        self.desks = open_desks(Workspace.open(Path(os.environ.get(WORKSPACE, "."))))
        open_routes(app, self.desks)
        _tame_garbage_collection()

    @bentoml.on_shutdown
    def release(self) -> None:
        """Let everything be collected again, so that libraries can close what they hold."""
        gc.unfreeze()

    async def __is_ready__(self) -> bool:
        """Whether at least one propensity can be answered."""
        return any(isinstance(desk, Desk) for desk in self.desks.values())


def asgi() -> Any:
    """The service as an ASGI application; a worker process calls this."""
    bentoml.server_context.service_name = bentoml.server_context.bento_name = NAME  # labels of every metric
    outer = Foresell.to_asgi()  # type: ignore[attr-defined]
    tell_problems(outer, app)  # a path that nobody has is refused there
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

    os.environ[WORKSPACE] = str(workspace.root)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))  # uvicorn drains first, then hands the signal on
    with tempfile.TemporaryDirectory() as metrics:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics  # where workers add up what /metrics tells; Feast reads it too
        Online(workspace)  # what is wrong with it is said here in a sentence, before every worker says it in a traceback
        uvicorn.run("serving.service:asgi", factory=True, host=host, port=port, workers=workers, access_log=False)


def _tame_garbage_collection() -> None:
    """Leave what was loaded at start-up out of every later collection: pauses of 90 ms become 1 ms (STACK.md)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
