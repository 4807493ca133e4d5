"""The service as a process: started with `foresell serve`, stopped with SIGTERM."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from features import store
from features.settings import SETTINGS_FILE, Workspace
from serving.http.address import free_port, url
from tests.serving.shop import NOW


@dataclass(frozen=True)
class Running:
    """A service that is ready: where it is, its process, and the file with all that it prints."""

    address: str
    pid: int
    log: Path

    def told(self) -> str:
        """All it has printed, request log and complaints."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def complaints(self) -> str:
        """All but the request log."""
        return "\n".join(line for line in self.told().splitlines() if not line.startswith('{"at"'))

    def lines(self) -> list[dict[str, Any]]:
        """The request log."""
        return [json.loads(line) for line in self.told().splitlines() if line.startswith('{"at"')]

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


@contextmanager
def running(workspace: Workspace, log: Path) -> Iterator[Running]:
    """A workspace's service until the end of the block; afterwards it must have ended well, without a traceback or a leak."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "foresell", "serve", "--workspace", str(workspace.root), "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    found = Running(url("127.0.0.1", port), process.pid, log)
    try:
        _wait(process, found)
        yield found
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0, found.complaints()
    finally:
        process.kill()
        process.wait()
    told = found.complaints()
    assert "Traceback" not in told and "leaked" not in told, told


def _wait(process: subprocess.Popen[bytes], found: Running) -> None:
    began = time.monotonic()
    while not is_ready(found.address):
        if process.poll() is not None or time.monotonic() - began > 300:
            pytest.fail(found.complaints())
        time.sleep(0.2)


def is_ready(address: str) -> bool:
    """Whether a service can score now."""
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def until(holds: Any, seconds: float = 60) -> None:
    """Wait until something holds; the time is only there to end a test that fails."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.1)


def copied(shop: Workspace, root: Path, settings: str) -> Workspace:
    """A copy of a shop with other settings and its own online store; its models stay where they are."""
    shutil.copytree(shop.root, root, ignore=shutil.ignore_patterns("mlruns", "scores", "serving", "store"))
    (root / SETTINGS_FILE).write_text(settings, encoding="utf-8")
    workspace = Workspace.open(root)
    store.apply(workspace)
    store.materialize(workspace, NOW)
    return workspace


@contextmanager
def own_redis(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A Redis server on a free port, which a test may stop; its process and its port."""
    port = free_port("127.0.0.1")
    command = [
        "redis-server",
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    ]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log)
    try:
        until(lambda: b"Ready to accept connections" in (folder / "redis.log").read_bytes())
        yield process, port
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait()
