"""Commands in processes of their own that have imported everything already, so that a kill meets work and not imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

DRIVER = """
import gc, json, os, sys, traceback
import foresell
foresell.silence_telemetry()
import feast, great_expectations, mlflow
import feast.infra.offline_stores.duckdb, feast.infra.online_stores.sqlite, feast.infra.registry.sql
import great_expectations.core.expectation_suite, great_expectations.execution_engine
import great_expectations.render.renderer.site_builder, matplotlib.backends.backend_svg, matplotlib.figure
import mlflow.artifacts, mlflow.store.tracking.sqlalchemy_store, mlflow.store.model_registry.sqlalchemy_store
import features.repo.opening, features.repo.schema, ibis.backends.duckdb, serving.nightly.job

gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    words, *files = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, file in enumerate(files, start=1):
            os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
        sys.argv = ["foresell", *words]
        code = 70
        try:
            foresell.main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # taking down what was imported costs seconds
    print("began", child, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """Runs `foresell`, one command at a time."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log

    def run(self, *words: str, killed_after: float | None = None, **files: Path) -> tuple[int, float]:
        """The exit code, -9 where the process was killed after so many seconds, and how long it took."""
        began, child = time.monotonic(), self.begin(*words, **files)
        if killed_after is not None:
            time.sleep(killed_after)
            kill(child)
        return self.end(), time.monotonic() - began

    def begin(self, *words: str, stdout: Path | None = None, stderr: Path | None = None) -> int:
        """The process that runs it; what it says goes into these files, or else into a log."""
        assert self._process.stdin is not None
        files = [file or self._log for file in (stdout, stderr)]
        for file in files:
            file.touch()
        self._process.stdin.write(json.dumps([words, *map(str, files)]) + "\n")
        self._process.stdin.flush()
        return self._told("began")

    def end(self) -> int:
        """The exit code, once it has ended."""
        return self._told("ended")

    def _told(self, wanted: str) -> int:
        """What is told of a child next; the end of one that a failed test left behind is not taken for it."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, number = line.split()
            if word == wanted:
                return int(number)
        raise AssertionError(self._log.read_text())


def kill(child: int) -> None:
    """SIGKILL to a process that may have ended."""
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def runs(child: int) -> bool:
    return psutil.pid_exists(child)


@contextmanager
def forking(log: Path, environment: Mapping[str, str] | None = None) -> Iterator[Forks]:
    """Processes with this environment, or else with our own; what they say goes into a file."""
    with log.open("a") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
        )  # fmt: skip
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", log.read_text()
        yield Forks(process, log)
        assert process.stdin is not None
        process.stdin.close()
