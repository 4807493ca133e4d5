"""`foresell serve` whose clock stands in a file, for a world whose weeks pass faster than ours.

    .venv/bin/python -m benchmarks.year_service WORKSPACE PORT CLOCK

Everything else is the service's own: it answers in this very process, and keeps what it answered in the workspace's ledger.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from features.catalog import write_atomically
from features.settings import Workspace
from serving.http.address import free_port, url

HOST = "127.0.0.1"
PATIENCE = 240.0  # seconds until it has to answer
TAKES_UP = 30.0  # seconds within which it has to have taken up a version that was promoted


@dataclass(frozen=True)
class Service:
    """A service that runs: where it is asked, and the file of its clock."""

    address: str
    clock: Path

    def ask(self, propensity: str, ids: Sequence[str], at: datetime) -> list[str]:
        """Ask about some entities at an instant; the version of each answer that is a score.

        Raises:
            OSError: it does not answer, or not with 200.
        """
        write_atomically(self.clock, at.isoformat().encode())
        body = json.dumps({"ids": list(ids)}).encode()
        asked = Request(f"{self.address}/v1/{propensity}", body, {"Content-Type": "application/json"})
        with urlopen(asked, timeout=60) as response:
            scores = json.loads(response.read())["scores"]
        return [one["model_version"] for one in scores if one.get("probability") is not None]

    def ask_of(self, propensity: str, ids: Sequence[str], at: datetime, version: str) -> int:
        """The same, once this version answers; how many scores there were."""
        ends = time.monotonic() + TAKES_UP
        while set(self.ask(propensity, ids[:1], at)) - {version} and time.monotonic() < ends:
            time.sleep(0.5)
        return len(self.ask(propensity, ids, at))


@contextmanager
def running(root: Path, at: datetime) -> Iterator[Service]:
    """A service over a workspace with a champion, until the end of the block.

    Raises:
        RuntimeError: it does not start.
    """
    port, clock = free_port(HOST), root / "clock"
    write_atomically(clock, at.isoformat().encode())
    command = [sys.executable, "-m", "benchmarks.year_service", str(root), str(port), str(clock)]
    with (root / "service.log").open("ab") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait(process, f"{url(HOST, port)}/readyz")
            yield Service(url(HOST, port), clock)
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], address: str) -> None:
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends and process.poll() is None:
        with suppress(URLError, OSError), urlopen(address, timeout=5):
            return
        time.sleep(0.3)
    raise RuntimeError(f"the service does not answer at {address}; service.log says why")


def main(root: Path, port: int, clock: Path) -> None:
    """Serve."""
    from serving.http import api

    api.now = lambda: datetime.fromisoformat(clock.read_text(encoding="utf-8"))
    from serving.service import run

    run(Workspace.open(root), HOST, port, 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
