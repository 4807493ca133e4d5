"""Services that a test starts, loads and ends, each with a workspace of its own, and what to check their answers against."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import httpx
import psutil

from features import storage, store
from features.catalog import Catalog
from features.settings import SETTINGS_FILE, Workspace
from features.views import views
from serving.http.address import free_port, url
from serving.ledger import Ledger
from serving.scorer import scorer_of
from tests.serving.shop import NOW
from training import registry

LONGEST_START = 600.0
SERVE = (sys.executable, "-m", "foresell", "serve")


def copied(
    shop: Workspace, root: Path, settings: str = "", serving: str = "", online: str = "sqlite", keys: str = "off"
) -> Workspace:
    """A copy of a shop with a registry and a filled online store of its own, and without what its service was asked."""
    shutil.copytree(shop.root, root, ignore=shutil.ignore_patterns("scores", "latest", "serving"))
    project = f'[store]\nonline = "{online}"\nproject = "{storage.project(shop)}"\n'
    text = f'adapter = "canonical"\n{project}[serving]\nkeys = "{keys}"\n{serving}\n{settings}\n'
    (root / SETTINGS_FILE).write_text(text, encoding="utf-8")
    workspace = Workspace.open(root)
    if online != "sqlite":
        store.apply(workspace)
        store.materialize(workspace, NOW)
    return workspace


@dataclass
class Running:
    """A service that runs."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers=headers, timeout=60)

    def ask(self, name: str, **body: Any) -> list[dict[str, Any]]:
        """The answers of a propensity, which must be there."""
        response = self.post(name, **body)
        assert response.status_code == 200, response.text
        scores: list[dict[str, Any]] = response.json()["scores"]
        return scores

    def post(self, name: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.address}/v1/{name}", json=body, timeout=30)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", headers=headers, timeout=30)

    def metric(self, line: str, headers: Mapping[str, str] | None = None) -> float:
        """The value of one line of /metrics; 0 where there is none."""
        found = [text for text in self.get("/metrics", headers).text.splitlines() if text.startswith(line)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def workers(self) -> list[psutil.Process]:
        """The processes that answer."""
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if _is_worker(child)] or [psutil.Process(self.process.pid)]

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def told(self) -> str:
        """All it has printed, request log and complaints."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """The request log."""
        return [json.loads(line) for line in self.told().splitlines() if line.startswith('{"at"')]

    def complaints(self) -> str:
        """All but the request log."""
        return "\n".join(line for line in self.told().splitlines() if not line.startswith('{"at"'))

    def end(self) -> None:
        """SIGTERM; it must end well."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=120) == 0, self.complaints()


def _is_worker(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False


@contextmanager
def running(
    workspace: Workspace, log: Path, workers: int = 1, stdout: IO[bytes] | None = None, **environment: str
) -> Iterator[Running]:
    """A service of a workspace, as `started` has it, on a free port.

    Args:
        workspace: whose.
        log: a file for what it says.
        workers: how many.
        stdout: where the request log goes; None is the log, too.
        environment: of the process, besides this one's.
    """
    port = free_port("127.0.0.1")
    options = ["--workspace", str(workspace.root), "--port", str(port), "--workers", str(workers)]
    with started([*SERVE, *options], url("127.0.0.1", port), log, {**os.environ, **environment}, stdout=stdout) as found:
        yield found


@contextmanager
def started(
    command: Sequence[str], address: str, log: Path, environment: Mapping[str, str] | None = None,
    folder: Path | None = None, stdout: IO[bytes] | None = None,
) -> Iterator[Running]:  # fmt: skip
    """A service that a command starts, ready; after the block it must have ended well, without a traceback or a leak."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, stdout=stdout or file, stderr=file, env=environment, cwd=folder, start_new_session=True
        )
    found = Running(address, process, log)
    try:
        until(lambda: is_ready(address) or process.poll() is not None, LONGEST_START)
        assert process.poll() is None, found.complaints()
        yield found
        found.end()
    finally:
        with suppress(ProcessLookupError):  # its workers, too, which would outlive it
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "Traceback" not in found.complaints() and "leaked" not in found.complaints(), found.complaints()


def is_ready(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until a condition is true; the time is only there to end a test that fails."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.05)


def probabilities(workspace: Workspace, name: str, versions: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """What each version says of everybody in the online store, computed here: by version and id."""
    declared, found = views(workspace, Catalog.load(workspace)), {}
    for version in versions:
        scorer = scorer_of(workspace, declared, registry.load(workspace, name, version))
        prefix, number = ("C", 400) if scorer.propensity.entity == "customer" else ("L", 300)
        ids = [f"{prefix}{position:04d}" for position in range(number)]
        records = [record for record in store.Online(workspace).read(scorer.propensity.entity, ids) if record is not None]
        found[version] = {score.entity_id or "": score.probability for score in scorer.score(records, NOW)}
    return found


@dataclass
class Load:
    """Callers who ask without a pause. `answers` holds what they got: seconds, status, request id, and the scores."""

    address: str
    ids: Sequence[str]
    names: tuple[str, ...] = ("churn",)
    callers: int = 4
    pause: float = 0.0
    answers: list[tuple[float, float, int, str, list[dict[str, Any]]]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._call, args=(number,), daemon=True) for number in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(60)

    def versions(self) -> set[str]:
        """Which versions answered, of the requests so far."""
        return {score["model_version"] for *_, scores in list(self.answers) for score in scores}

    def _call(self, seed: int) -> None:
        rng = random.Random(seed)
        with httpx.Client(base_url=self.address, timeout=30) as client:
            while not self._ending.is_set():
                some = rng.sample(list(self.ids), rng.choice([1, 1, 1, 3, 20]))
                path, body = ("scores", {"propensities": list(self.names), "ids": some}) if rng.random() < 0.3 else (
                    self.names[0], {"ids": some})  # fmt: skip
                began = time.monotonic()
                try:
                    response = client.post(f"/v1/{path}", json=body)
                except httpx.TransportError as problem:
                    self.lost.append(type(problem).__name__)
                    time.sleep(0.05)
                    continue
                scores = response.json().get("scores", [])
                spent = time.monotonic() - began
                self.answers.append((began, spent, response.status_code, response.headers.get("x-request-id", ""), scores))
                time.sleep(self.pause)


def wrong(answers: Sequence[tuple[float, float, int, str, list[dict[str, Any]]]], said: Mapping[str, Any]) -> list[Any]:
    """The answers that are not 200, that no version gives, or that mix versions of one propensity."""
    found: list[Any] = []
    for _, _, status, _, scores in answers:
        if status != 200 or len({(score["propensity"], score["model_version"]) for score in scores}) > 1:
            found.append((status, scores[:2]))
        found += [score for score in scores if score["probability"] != said[score["model_version"]][score["entity_id"]]]
    return found


def end_under_load(workspace: Workspace, service: Running, said: Mapping[str, Mapping[str, float | None]]) -> None:
    """End a service that is asked about churn without a pause: what it accepted is answered, and what it answered is stored.

    Args:
        workspace: the service's.
        service: with one version or more, and no canary.
        said: what each version says of everybody, by version and id.
    """
    with Load(service.address, sorted(next(iter(said.values()))), pause=0.005) as load:
        until(lambda: len(load.answers) > 200)
        service.end()
    assert not wrong(load.answers, said)
    assert set(load.lost) <= {"ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}
    with closing(Ledger.open(workspace)) as ledger:
        kept = {one.request_id for one in ledger.audit(limit=10_000_000)}
    assert {one[3] for one in load.answers} <= kept
