"""A service in a process of its own: started, waited for, asked, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest


@contextmanager
def running(
    command: Sequence[str], address: str, log: Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Iterator[httpx.Client]:
    """A client of a service that is ready; it is stopped with SIGTERM, and must end well and without complaint."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=folder, start_new_session=True
        )
    try:
        with httpx.Client(base_url=address, timeout=60) as client:
            _wait(client, process, log)
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, log.read_text()
    finally:
        with suppress(ProcessLookupError):  # its workers, too, which would outlive it
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in log.read_text() and "leaked" not in log.read_text(), log.read_text()


def eventually(holds: Callable[[], bool], seconds: float = 20) -> None:
    """Wait until something holds; fail when it never does."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, "it never came about"
        time.sleep(0.1)


def _wait(client: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    began = time.monotonic()
    while not _ready(client):
        if process.poll() is not None or time.monotonic() - began > 300:
            pytest.fail(log.read_text())
        time.sleep(0.2)


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
