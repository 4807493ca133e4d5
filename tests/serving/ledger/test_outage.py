"""A PostgreSQL server that stops, restarts or stands still, for real."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.errors import StoreError
from serving.http.address import free_port
from serving.ledger import Ledger
from serving.recorder import Recorder
from tests.serving.ledger.conftest import open_workspace
from tests.serving.ledger.entries import entry, received

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


class Server:
    """A PostgreSQL server of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port("127.0.0.1")
        self._bin = max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4])).parent
        self._folder = folder
        self._user: dict[str, Any] = {"user": "postgres"} if os.getuid() == 0 else {}  # PostgreSQL refuses to run as root
        if self._user:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", "data", "-U", "postgres", "--auth=trust")
        self.start()

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self._folder}"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def signal(self, number: int) -> None:
        first = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for process in [first, *map(int, children)]:
            os.kill(process, number)

    def _run(self, name: str, *words: str) -> None:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([self._bin / name, *words], cwd=self._folder, check=True, **quiet, **self._user)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to the user postgres
    server = Server(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture
def remote(server: Server, tmp_path: Path) -> Iterator[Ledger]:
    """A ledger on that server."""
    address = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
    ledger = Ledger.open(open_workspace(tmp_path, ledger=address, ledger_deadline_ms=1_000), write_ms=1_000)
    ledger.keep([entry("1")])
    assert len(ledger.latest("churn", ["1"])) == 1
    yield ledger
    ledger.close()


def test_a_server_that_was_stopped_is_told_and_used_again_at_once(server: Server, remote: Ledger) -> None:
    recorder = Recorder(remote, every_seconds=0.01)
    server.stop()
    for use in (lambda: remote.latest("churn", ["1"]), lambda: remote.receive([received(1, "1")])):
        with pytest.raises(StoreError):
            use()
    recorder.put([entry(f"while away {i}") for i in range(50)])
    server.start()
    assert len(remote.latest("churn", ["1"])) == 1
    remote.receive([received(2, "1")])
    assert recorder.stop(60) and recorder.dropped == 0
    assert len(remote.latest("churn", [f"while away {i}" for i in range(50)])) == 50


def test_a_server_that_restarted_unnoticed_costs_nobody_an_answer(server: Server, remote: Ledger) -> None:
    server.stop()
    server.start()
    assert len(remote.latest("churn", ["1"])) == 1
    remote.keep([entry("2")])


def test_a_server_that_stands_still_is_given_up(server: Server, remote: Ledger) -> None:
    server.signal(signal.SIGSTOP)
    try:
        for use in (lambda: remote.latest("churn", ["1"]), lambda: remote.receive([received(3, "1")])):
            with pytest.raises(StoreError, match=r"no answer|timeout"):
                use()
    finally:
        server.signal(signal.SIGCONT)
    assert len(remote.latest("churn", ["1"])) == 1
    remote.receive([received(3, "1")])
