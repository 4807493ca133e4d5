"""Servers started for the occasion on free ports, which may be killed and started again: Redis, alone or as a cluster, MLflow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from serving.http.address import free_port, url

HOST = "127.0.0.1"
PATIENCE = 300.0  # seconds; MLflow imports for half a minute on a busy machine


class Server:
    """A server and whatever it starts, until the end of the block.

    Attributes:
        address: where it is asked.
    """

    def __init__(self, command: Sequence[str], folder: Path, address: str, answers: Callable[[], bool]) -> None:
        """Start it.

        Args:
            command: what starts it.
            folder: where it runs, and where `servers.log` gets what it prints.
            address: where it will be asked.
            answers: tells whether it answers.

        Raises:
            RuntimeError: it does not.
        """
        self.address = address
        self._command, self._folder, self._answers = command, folder, answers
        self.start()

    def start(self) -> None:
        """Start it, once more after `kill`, and wait until it answers."""
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # six processes that nothing here needs
        with (self._folder / "servers.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._folder, env=environment, start_new_session=True
            )
        ends = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends:
                self.kill()
                raise RuntimeError(f"{self._command[0]} does not answer: {(self._folder / 'servers.log').read_text()}")
            time.sleep(0.05)

    def signal(self, number: int) -> None:
        """Send a signal to all of its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it without a warning; twice is once."""
        self.signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def redis(folder: Path, password: str = "", keeps: bool = False, options: Sequence[str] = ()) -> Server:
    """A Redis, which keeps what it holds in the folder or nowhere; its `address` is without the password.

    The options are more of the command line's.
    """
    from redis import Redis, RedisError

    port = free_port(HOST)

    def pings() -> bool:
        with suppress(RedisError), Redis(port=port, password=password or None) as client:
            return bool(client.ping())
        return False

    command = ["redis-server", "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "yes" if keeps else "no"]
    return Server([*command, "--dir", ".", "--requirepass", password, *options], folder, f"redis://{HOST}:{port}", pings)


@contextmanager
def redis_cluster(folder: Path, replicas: int = 0) -> Iterator[list[Server]]:
    """A Redis Cluster of three that share the keys, each with so many replicas; it takes two seconds to see that one is gone."""
    with ExitStack() as stack:
        nodes = []
        for number in range(3 + 3 * replicas):
            place = folder / f"node-{number}"
            place.mkdir(parents=True)
            options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port(HOST)), "--cluster-node-timeout", "2000"]
            nodes.append(stack.enter_context(redis(place, options=options)))
        addresses = [node.address.removeprefix("redis://") for node in nodes]
        create = ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", str(replicas), "--cluster-yes"]
        subprocess.run(create, check=True, capture_output=True)
        ends = time.monotonic() + PATIENCE
        while not all(_is_in_cluster(node.address, replicas) for node in nodes):
            if time.monotonic() > ends:
                raise RuntimeError("the nodes do not agree on a cluster")
            time.sleep(0.05)
        yield nodes


def tracking(folder: Path, backend: str) -> Server:
    """An MLflow tracking server over a database, which hands out the artifacts below the folder itself."""
    port = free_port(HOST)
    address = url(HOST, port)
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--workers", "1",
               "--artifacts-destination", str(folder / "artifacts"), "--host", HOST, "--port", str(port)]  # fmt: skip
    return Server(command, folder, address, lambda: _is_healthy(address))


def _is_healthy(address: str) -> bool:
    with suppress(OSError), urlopen(f"{address}/health", timeout=5) as response:
        return bool(response.status == 200)
    return False


def _is_in_cluster(address: str, replicas: int) -> bool:
    """Whether it knows three that share the keys, and all of their replicas."""
    from redis import Redis

    with Redis.from_url(address) as client:
        shares = [len(nodes) for _, _, *nodes in client.cluster("SLOTS")]
        return client.cluster("INFO")["cluster_state"] == "ok" and shares == [1 + replicas] * 3
