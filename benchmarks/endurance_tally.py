"""The tally of an endurance run: what the callers got, phase by phase, and what an answer is worth."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

GOOD = ("fresh", "degraded", "503")  # 503 as a problem document
KINDS = (*GOOD, "wrong", "other 5xx", "refused", "lost")
MOST_SAMPLES = 20
Said = Mapping[str, Mapping[str, float]]  # what each version says of everybody, by version and id


@dataclass
class Tally:
    """Answers by phase: how many of each kind, how long each took, and samples of those that are not good."""

    kinds: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    samples: list[str] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)

    def add(self, phase: str, kind: str, seconds: float, sample: str) -> None:
        """Count one answer, from any thread."""
        with self._lock:
            self.kinds[phase][kind] += 1
            self.milliseconds[phase].append(1_000 * seconds)
            if kind not in GOOD and len(self.samples) < MOST_SAMPLES:
                self.samples.append(f"{phase}: {kind}: {sample[:300]}")

    def told(self) -> dict[str, dict[str, Any]]:
        """By phase the number of answers of each kind, and the latency in milliseconds."""
        found = {}
        for phase, kinds in self.kinds.items():
            taken = np.array(self.milliseconds[phase])
            p50, p99 = np.percentile(taken, (50, 99)).tolist()
            found[phase] = {**kinds, "p50_ms": round(p50, 2), "p99_ms": round(p99, 2), "max_ms": round(float(taken.max()), 1)}
        return found


def kind_of(status: int, body: bytes, ids: Sequence[str], said: Said) -> str:
    """What an answer is worth: one of `KINDS`.

    Args:
        status, body: as received.
        ids: who was asked about.
        said: what must be answered.
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
