"""Nights in processes of their own that have imported everything already, so that a kill meets work and not imports."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from features.settings import Workspace

DRIVER = """
import gc, os, sys
import foresell
foresell.silence_telemetry()
import feast, great_expectations, mlflow
import feast.infra.offline_stores.duckdb, feast.infra.online_stores.sqlite, feast.infra.registry.sql
import great_expectations.core.expectation_suite, great_expectations.execution_engine
import mlflow.artifacts, mlflow.store.tracking.sqlalchemy_store, mlflow.store.model_registry.sqlalchemy_store
import features.repo.opening, features.repo.schema, ibis.backends.duckdb, serving.nightly.job

gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        sys.argv = ["foresell", "nightly", "--workspace", line.strip()]
        try:
            foresell.main()
        except SystemExit as end:
            os._exit(end.code)  # taking down what was imported costs seconds
        finally:
            os._exit(70)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nights:
    """Runs `foresell nightly`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, workspace: Workspace, killed_after: float | None = None) -> tuple[int, float]:
        """The exit code, -9 where the process was killed after so many seconds, and how long it took."""
        began, child = time.monotonic(), self.begin(workspace)
        if killed_after is not None:
            time.sleep(killed_after)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return self.end(), time.monotonic() - began

    def begin(self, workspace: Workspace) -> int:
        """The process that runs it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{workspace.root}\n")
        self._process.stdin.flush()
        return int(self._line())

    def end(self) -> int:
        """The exit code, once it has ended."""
        return int(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


@contextmanager
def forking(log: Path) -> Iterator[Nights]:
    with log.open("w") as errors, _started(errors) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", log.read_text()
        yield Nights(process)
        assert process.stdin is not None
        process.stdin.close()


def _started(errors: IO[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", DRIVER]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
