"""Nights to write back: a workspace with a target and partitions of scores, a clock that does not wait, CRMs over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from features.settings import SETTINGS_FILE, Workspace
from serving.connectors.write_back import Outcome, write_back
from serving.partition import folder, publish
from serving.score import Score
from tests.serving.tables import table

NOW = datetime(2026, 11, 26, 3, tzinfo=UTC)
FIRST = datetime(2026, 11, 25, tzinfo=UTC)
DAY = timedelta(days=1)


class Time:
    """A clock that stands still unless somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def open_workspace(root: Path, **target: object) -> Workspace:
    """A workspace with one target, `crm`."""
    root.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"{name} = {_toml(value)}" for name, value in {"entity": "customer", **target}.items())
    (root / SETTINGS_FILE).write_text(f"[write_back.crm]\n{lines}\n", encoding="utf-8")
    return Workspace.open(root)


def score(entity_id: str, points: int | None, as_of: datetime = FIRST, propensity: str = "churn", **other: Any) -> Score:
    """A score; None is one that policy withholds."""
    probability = None if points is None else points / 100
    told: dict[str, Any] = {
        "why": None, "policy": "holdout" if points is None else None, "score": points, "probability": probability,
        "percentile": probability, "grade": None if points is None else "DCBA"[min(points // 26, 3)], "expected_value": None,
        "reasons": (), "missing": (), "unseen": (), "stale": (), "feature_as_of": as_of, "scored_at": as_of, "model_version": "3",
    }  # fmt: skip
    return Score(entity_id=entity_id, propensity=propensity, eligible=True, **{**told, **other})


def night(
    workspace: Workspace, points: Mapping[str, int | Score | None], as_of: datetime = FIRST, propensity: str = "churn"
) -> None:
    """A partition with these scores by id."""
    facts = {
        "propensity": propensity, "as_of": as_of.isoformat(), "model_version": "3", "catalog_version": "a", "known": 1,
        "ineligible": {},
    }  # fmt: skip
    made = [one if isinstance(one, Score) else score(name, one, as_of, propensity) for name, one in sorted(points.items())]
    publish(folder(workspace, propensity, as_of), [table(made)], facts)


def run(workspace: Workspace, time: Time | None = None, now: datetime = NOW, **options: Any) -> Outcome:
    """Write back to `crm`, without waiting."""
    at = time or Time()
    return write_back(workspace, "crm", options.pop("as_of", None), now, clock=at.clock, sleep=at.sleep, **options)


@dataclass
class Asked:
    """One call that a CRM got."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]


@dataclass
class Crm:
    """A CRM over HTTP; `answer` holds its documented behaviour.

    Attributes:
        faults: how the next calls are answered, whatever they are: a reply, seconds of silence, or None for the usual answer.
    """

    answer: Callable[[Asked], Reply]
    url: str = ""
    got: list[Asked] = field(default_factory=list)
    faults: list[Reply | float | None] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Asked], Reply]) -> Iterator[Crm]:
    """A CRM on the loopback."""
    crm, lock = Crm(answer), Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                asked = Asked(self.command, self.path, self.headers, body)
                crm.got.append(asked)
                fault = crm.faults.pop(0) if crm.faults else None
                told = fault if isinstance(fault, tuple) else crm.answer(asked)
            if isinstance(fault, float):
                time.sleep(fault)
                self.close_connection = True
                return
            content = b"" if told[1] is None else told[1].encode() if isinstance(told[1], str) else json.dumps(told[1]).encode()
            self.send_response_only(told[0])
            for name, value in (told[2] if len(told) > 2 else {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = reply

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    crm.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield crm
    finally:
        server.shutdown()
        server.server_close()


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items()) + "}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)
