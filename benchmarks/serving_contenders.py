"""The contenders, each in processes of its own: ours, the floor, and two peers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd

from benchmarks.serving_feast import KEY, VIEW, make_repo
from benchmarks.serving_world import NAME, World
from features.settings import REPOSITORY
from serving.http.address import free_port, url

HOST = "127.0.0.1"
OURS, FLOOR, MLFLOW, FEAST = "foresell serve", "the floor", "mlflow models serve", "feast serve"
PATIENCE = 240.0  # seconds until a contender has to answer; two of them import for half a minute on a busy machine
JSON = {"Content-Type": "application/json"}


@dataclass
class Contender:
    """One server: how it is started, and what it is asked.

    Attributes:
        name: which.
        workers: its processes that answer.
        command: what starts it; `{port}` is filled in.
        path: where it is asked.
        body: the request about some customers, on one line.
        headers: of the request.
        environment: beyond the present one.
        log: where its output goes, once it was started.
        port: where it listens, once it was started.
        trouble: why it does not answer; empty while it does.
    """

    name: str
    workers: int
    command: Sequence[str]
    path: str
    body: Callable[[Sequence[int]], str]
    headers: Mapping[str, str] = field(default_factory=lambda: JSON)
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path = Path(os.devnull)
    port: int = 0
    trouble: str = ""
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The whole address of its one question."""
        return url(HOST, self.port) + self.path

    def start(self, folder: Path) -> None:
        """Start it; whether it answers is found out by `wait`."""
        self.port = free_port(HOST)
        self.log = folder / f"{self.name.replace(' ', '-')}-{self.workers}.log"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # MLflow looks for uvicorn there
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PATH": path, **self.environment}
        command = [part.format(port=self.port) for part in self.command]
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env=environment, cwd=folder, start_new_session=True
            )

    def wait(self, patience: float = PATIENCE) -> None:
        """Until it answers; what it does not within the patience is its `trouble`."""
        ends = time.monotonic() + patience
        while not self.trouble:
            try:
                self.ask([0])
                return
            except (OSError, urllib.error.URLError) as problem:
                if self.process is None or self.process.poll() is not None:
                    self.trouble = "ended at once"
                elif time.monotonic() > ends:
                    self.trouble = f"no answer after {patience:.0f} s: {problem}"
            time.sleep(0.3)

    def ask(self, customers: Sequence[int]) -> Any:
        """One answer, as JSON.

        Raises:
            URLError: it is no 2xx, or there is none.
        """
        request = urllib.request.Request(self.address, self.body(customers).encode(), dict(self.headers))
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def stop(self) -> None:
        """End it and whatever it started."""
        if self.process is None:
            return
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # workers that outlived it; the group is its own
        self.process.wait()

    def cpu_seconds(self) -> float:
        """Processor seconds that its processes have used, children included."""
        import psutil

        if self.process is None:
            return 0.0
        family = psutil.Process(self.process.pid)
        return sum(sum(one.cpu_times()[:2]) for one in (family, *family.children(recursive=True)))


@contextmanager
def running(contenders: Sequence[Contender], folder: Path) -> Iterator[Sequence[Contender]]:
    """All of them at once, so that they can be asked in turn; those that do not answer say why in `trouble`."""
    try:
        for one in contenders:
            one.start(folder)
        for one in contenders:
            one.wait()
        yield contenders
    finally:
        for one in contenders:
            one.stop()


def contenders(world: World, folder: Path, workers: Sequence[int], peers: bool) -> list[Contender]:
    """Everybody, for each number of workers; Feast's server with one."""
    model = folder / "model"
    world.model.save(model)
    found = [one for count in workers for one in (ours(world, count), _floor(world, model, count))]
    if peers:
        found += [_mlflow(world, folder, count) for count in workers]
        found.append(_feast(world, folder))
    return found


def _ids(world: World) -> Callable[[Sequence[int]], str]:
    return lambda customers: json.dumps({"ids": [world.ids[one] for one in customers]})


def ours(world: World, workers: int) -> Contender:
    """What this repository is about."""
    command = [sys.executable, "-m", "foresell", "serve", "--workspace", str(world.workspace.root)]
    headers = {**JSON, "Authorization": f"Bearer {world.secret}"}
    return Contender(
        OURS, workers, [*command, "--port", "{port}", "--workers", str(workers)], f"/v1/{NAME}", _ids(world), headers
    )


def _floor(world: World, model: Path, workers: int) -> Contender:
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "benchmarks.serving_floor:app",
        "--factory",
        "--no-access-log",
        "--port",
        "{port}",
    ]
    environment = {"FLOOR_WORKSPACE": str(world.workspace.root), "FLOOR_MODEL": str(model)}
    options = ["--loop", "uvloop", "--http", "httptools", "--workers", str(workers)]
    return Contender(FLOOR, workers, [*command, *options], "/score", _ids(world), environment=environment)


def _mlflow(world: World, folder: Path, workers: int) -> Contender:
    """The same booster with its signature; its caller sends the row by its columns' names, so that nothing is looked up."""
    import lightgbm
    import mlflow

    kept = folder / "mlflow"
    if not kept.exists():
        booster = lightgbm.Booster(model_str=world.model.files["model.txt"])
        example = pd.DataFrame(world.rows[:10], columns=world.model.columns)
        signature = mlflow.models.infer_signature(example, booster.predict(example))
        mlflow.lightgbm.save_model(booster, str(kept), pip_requirements=["lightgbm"], signature=signature)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(kept), "--env-manager", "local"]
    options = ["--host", HOST, "--port", "{port}", "--workers", str(workers)]
    return Contender(
        MLFLOW, workers, [*command, *options], "/invocations",
        lambda customers: _split(world, world.rows[list(customers)]),
    )  # fmt: skip


def _split(world: World, rows: np.ndarray) -> str:
    """Rows as MLflow's documentation sends them; JSON has no NaN."""
    data = [[None if value != value else value for value in row] for row in rows.tolist()]
    return json.dumps({"dataframe_split": {"columns": list(world.model.columns), "data": data}})


def _feast(world: World, folder: Path) -> Contender:
    """The look-up alone, of the same features, as Feast's own users keep them."""
    repo = make_repo(world, _for_feast(world), folder / "feast")
    command = [str(Path(sys.executable).with_name("feast")), "-c", str(repo), "serve"]
    options = ["--host", HOST, "--port", "{port}", "--no-access-log", "--max-requests", "0"]
    features = [f"{VIEW}:{name}" for name in world.model.columns]
    return Contender(
        FEAST, 1, [*command, *options], "/get-online-features",
        lambda customers: json.dumps({"features": features, "entities": {KEY: [world.ids[one] for one in customers]}}),
    )  # fmt: skip


def _for_feast(world: World) -> str:
    """The next database of the world's Redis, as Feast writes an address."""
    found = urlsplit(world.workspace.settings.store.online)
    return f"{found.hostname}:{found.port},db={int(found.path.strip('/') or 0) + 1}"
