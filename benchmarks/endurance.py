"""Endurance: one service under load for minutes while versions change, its registry goes away, and its store is killed.

Two workers answer customers with 60 features from a Redis of its own. Every answer is compared with what both versions' models
say, computed here beforehand. A third of the way the tracking server is killed for a sixth of the time; at two thirds Redis is,
for a twelfth, and starts again from its own file. Versions change every few seconds, but while the registry is away.

    .venv/bin/python -m benchmarks.endurance --minutes 10
    .venv/bin/python -m benchmarks.endurance --minutes 1 --json FILE
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil

from benchmarks.serving_world import NAME, World, fit, make_world
from features.settings import SETTINGS_FILE, Workspace
from serving.http.address import free_port
from training import registry
from training.registry import Signature

ENTITIES, TREES = 5_000, 200
PHASES = (
    (0.0, "versions change"),
    (1 / 3, "registry away"),
    (1 / 2, "registry back"),
    (2 / 3, "store away"),
    (3 / 4, "store back"),
)
GRACE = 5.0  # seconds after a change of phase that belong to neither
Said = Mapping[str, Mapping[str, float]]


@dataclass
class Tally:
    """What the callers got. Kinds: fresh, degraded, 503 as a problem, wrong, other 5xx, refused, lost."""

    kinds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    samples: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, phase: str, kind: str, seconds: float, sample: str = "") -> None:
        with self.lock:
            self.kinds[phase][kind] += 1
            self.milliseconds[phase].append(1_000 * seconds)
            if kind not in ("fresh", "degraded", "503") and len(self.samples) < 20:
                self.samples.append(f"{phase}: {kind}: {sample[:300]}")


@dataclass
class Run:
    """One run: where the service is, what it should say, and how far it has come."""

    world: World
    port: int
    said: Said
    tally: Tally = field(default_factory=Tally)
    phase: str = PHASES[0][1]
    ended: threading.Event = field(default_factory=threading.Event)
    memory: list[tuple[float, str, list[float]]] = field(default_factory=list)

    def call(self, seed: int) -> None:
        """One caller, one request at a time, for 1 to 20 customers."""
        dice, connection = random.Random(seed), http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Content-Type": "application/json", "X-API-Key": self.world.secret}
        while not self.ended.is_set():
            ids = dice.sample(self.world.ids, dice.choice((1, 1, 1, 1, 5, 20)))
            phase, began = self.phase, time.perf_counter()
            try:
                connection.request("POST", f"/v1/{NAME}", json.dumps({"ids": ids}), headers)
                response = connection.getresponse()
                status, body = response.status, response.read()
                kind, sample = kind_of(status, body, ids, self.said), body[:300].decode("utf-8", "replace")
            except (OSError, http.client.HTTPException) as problem:
                connection.close()
                kind, sample = "lost", repr(problem)
            self.tally.add(phase, kind, time.perf_counter() - began, sample)


def kind_of(status: int, body: bytes, ids: Sequence[str], said: Said) -> str:
    """What an answer is worth.

    Args:
        status, body: as received.
        ids: who was asked about.
        said: what each version says of everybody, by version and id.
    """
    document = json.loads(body)
    if status == 503 and document.get("flaws"):
        return "503"
    if status >= 400:
        return "other 5xx" if status >= 500 else "refused"
    scores = document["scores"]
    fresh = {score["model_version"] for score in scores if not score["degraded"]}
    given = [score for score in scores if score["probability"] is not None]
    right = all(score["probability"] == said[score["model_version"]].get(score["entity_id"]) for score in given)
    if not right or len(fresh) > 1 or [score["entity_id"] for score in scores] != list(ids):
        return "wrong"
    if any(score["degraded"] for score in scores):
        return "degraded"
    return "fresh" if len(given) == len(scores) else "wrong"


class Server:
    """A server of this run's own, which is killed and started again."""

    def __init__(self, command: list[str], folder: Path, answers: Callable[[], bool]) -> None:
        self._command, self._folder, self._answers = command, folder, answers
        self.start()

    def start(self) -> None:
        with (self._folder / "servers.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=log, stderr=log, cwd=self._folder, start_new_session=True,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )  # fmt: skip
        until(self._answers)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it does not come true.
    """
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError("what was started does not answer")
        time.sleep(0.2)


def answers(address: str) -> bool:
    """Whether an HTTP address says 200."""
    with suppress(OSError), urlopen(address, timeout=5) as response:
        return bool(response.status == 200)
    return False


def _redis(folder: Path, port: int) -> Server:
    from redis import Redis, RedisError

    def pings() -> bool:
        with suppress(RedisError):
            return bool(Redis(port=port).ping())
        return False

    command = [
        "redis-server",
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
        "--appendonly",
        "yes",
        "--dir",
        str(folder),
    ]
    return Server(command, folder, pings)


def _tracking(folder: Path, world: World) -> tuple[Server, World]:
    """A tracking server over the world's own store, and the world as it is with it."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", registry.store_uri(world.workspace),
               "--workers", "1", "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1",
               "--port", str(port)]  # fmt: skip
    server = Server(command, folder, lambda: answers(f"http://127.0.0.1:{port}/health"))
    with (world.workspace.root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
        settings.write(f'[mlflow]\ntracking_uri = "http://127.0.0.1:{port}"\n')
    return server, replace(world, workspace=Workspace.open(world.workspace.root))


def _second_version(world: World) -> dict[str, dict[str, float]]:
    """Register another version; what each of the two says of everybody."""
    contract = world.model.contract
    other = fit(dict(contract.propensity), list(contract.features), world.rows, TREES // 2)
    record = registry.Record({}, {}, {"verdict": "pass"}, {"gates": []}, {"report/report.html": "<html>"})
    registry.register(world.workspace, other, record)
    models = {"1": world.model, "2": other}
    return {name: dict(zip(world.ids, model.probability(world.rows).tolist(), strict=True)) for name, model in models.items()}


@contextmanager
def _service(workspace: Workspace, port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "foresell",
        "serve",
        "--workspace",
        str(workspace.root),
        "--port",
        str(port),
        "--workers",
        "2",
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/readyz"))
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def _change_versions(run: Run, seconds: float) -> int:
    """Promote one and the other in turn; how often."""
    moves = 0
    while not run.ended.wait(seconds):
        if run.phase != "registry away":
            with suppress(Exception):  # the registry may go away meanwhile
                signature = Signature("endurance", datetime.now(UTC))
                registry.promote(run.world.workspace, NAME, signature, "2" if moves % 2 == 0 else "1")
                moves += 1
    return moves


def _watch(run: Run, parent: psutil.Process, began: float) -> None:
    """Note the workers' memory every few seconds."""
    while not run.ended.wait(5):
        with suppress(psutil.Error):  # one has just ended
            workers = [one for one in parent.children() if "spawn_main" in " ".join(one.cmdline())]
            run.memory.append((time.monotonic() - began, run.phase, [one.memory_full_info().uss / 2**20 for one in workers]))


def _play(run: Run, seconds: float, redis: Server, tracking: Server) -> None:
    """Go through the phases."""
    acts = {"registry away": tracking.kill, "registry back": tracking.start, "store away": redis.kill, "store back": redis.start}
    began = time.monotonic()
    for (_, phase), end in zip(PHASES, [*(start for start, _ in PHASES[1:]), 1.0], strict=True):
        if phase in acts:
            run.phase = "between"
            acts[phase]()
            time.sleep(min(GRACE, seconds / 60))
        run.phase = phase
        time.sleep(max(0.0, began + end * seconds - time.monotonic()))
    run.ended.set()


def measure(minutes: float, connections: int, every: float) -> dict[str, Any]:
    """One run.

    Args:
        minutes: of load.
        connections: callers at once.
        every: seconds between two changes of version.

    Returns:
        `phases`: by phase the number of answers of each kind, and the latency in milliseconds; `promotions`; `memory`: the
        workers' own megabytes at the start, after each tenth and at the end; `exit`: the service's exit code; `samples` of
        what was wrong.
    """
    now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with tempfile.TemporaryDirectory() as name:
        folder, store_port, port = Path(name), free_port("127.0.0.1"), free_port("127.0.0.1")
        redis = _redis(folder, store_port)
        world = make_world(folder / "workspace", f"redis://127.0.0.1:{store_port}", ENTITIES, TREES, now)
        said = _second_version(world)
        tracking, world = _tracking(folder, world)
        try:
            with _service(world.workspace, port, folder / "service.log") as process:
                run, moves = Run(world, port, said), list[int]()
                workers = [threading.Thread(target=run.call, args=(seed,)) for seed in range(connections)]
                workers += [threading.Thread(target=lambda: moves.append(_change_versions(run, every)))]
                workers += [threading.Thread(target=_watch, args=(run, psutil.Process(process.pid), time.monotonic()))]
                for worker in workers:
                    worker.start()
                _play(run, 60 * minutes, redis, tracking)
                for worker in workers:
                    worker.join()
        finally:
            redis.kill()
            tracking.kill()
        mistakes = (folder / "service.log").read_text().count("Traceback")
    return {**_told(run), "promotions": moves[0], "exit": process.returncode, "tracebacks": mistakes}


def _told(run: Run) -> dict[str, Any]:
    phases = {}
    for phase, kinds in run.tally.kinds.items():
        taken = np.array(run.tally.milliseconds[phase])
        p50, p99 = np.percentile(taken, (50, 99)).tolist()
        phases[phase] = {**kinds, "p50_ms": round(p50, 2), "p99_ms": round(p99, 2), "max_ms": round(float(taken.max()), 1)}
    step = max(1, len(run.memory) // 10)
    memory = [[round(at), phase, *(round(one, 1) for one in each)] for at, phase, each in [*run.memory[::step], run.memory[-1]]]
    return {"phases": phases, "memory": memory, "samples": run.tally.samples}


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    kinds = ("fresh", "degraded", "503", "wrong", "other 5xx", "refused", "lost")
    lines = ["| phase | " + " | ".join(kinds) + " | p50 ms | p99 ms | longest ms |", "| --- |" + " ---: |" * (len(kinds) + 3)]
    for phase, found in result["phases"].items():
        numbers = " | ".join(f"{found.get(kind, 0):,}" for kind in kinds)
        lines.append(f"| {phase} | {numbers} | {found['p50_ms']} | {found['p99_ms']} | {found['max_ms']} |")
    memory = "; ".join(f"{at} s: {' and '.join(f'{one:.0f}' for one in each)}" for at, _, *each in result["memory"])
    return "\n".join([*lines, "", f"{result['promotions']} changes of version. Workers' own memory in MB: {memory}."])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--every", type=float, default=6.0, help="seconds between two changes of version")
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    asked = parser.parse_args()
    result = measure(asked.minutes, asked.connections, asked.every)
    print(table(result))
    print("\n".join(result["samples"]))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
