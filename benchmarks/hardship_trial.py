"""What goes through the hardships of `benchmarks.hardship`: a target that holds what it was given, and a night written to it."""

from __future__ import annotations

import multiprocessing
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from features.errors import ForesellError
from features.settings import Workspace
from serving.connectors.write_back import write_back
from tests.serving.connectors.worlds import NOW, Asked, Reply

MOST_RUNS = 500
TROUBLES = 0.1  # the share of calls that go wrong


@dataclass
class Target:
    """A CRM that holds what it was given, and whose mood says what becomes of a call.

    Attributes:
        rng: every accident comes from it.
        mood: gets the scores of a call by id, may take some or all of them, and answers; None is the usual answer.
        held: the scores, by id.
        times: how often each was given.
        calls: that came.
    """

    rng: random.Random
    mood: Callable[[dict[str, int]], Reply | None] = lambda scores: None
    held: dict[str, int] = field(default_factory=dict)
    times: Counter[str] = field(default_factory=Counter)
    calls: int = 0

    def answer(self, asked: Asked) -> Reply:
        """One call of either kind of target."""
        self.calls += 1
        body = asked.json
        scores = body.get("scores") or [{"entity_id": asked.path[1:], **body}]
        given = {one["entity_id"]: one["score"] for one in scores}
        told = self.mood(given)
        if told is None:
            self.take(given)
        return told or (200, {})

    def take(self, scores: dict[str, int]) -> None:
        """Hold these scores."""
        self.held.update(scores)
        self.times.update(list(scores))

    def happens(self) -> bool:
        """Whether this call is one that goes wrong."""
        return self.rng.random() < TROUBLES

    def part(self, scores: dict[str, int]) -> dict[str, int]:
        """The first of them, none or all."""
        return dict(list(scores.items())[: self.rng.randint(0, len(scores))])


@dataclass
class Trial:
    """One night under one hardship: the workspace, the target, how often it was run and killed."""

    workspace: Workspace
    target: Target
    runs: int = 0
    kills: int = 0

    def run(self, now: datetime = NOW, replay: bool = False) -> bool:
        """Write back once. Whether that was complete."""
        self.runs += 1
        with suppress(ForesellError):
            return write_back(self.workspace, "crm", None, now, replay=replay, sleep=_at_once).is_complete
        return False

    def go_on(self) -> None:
        """Write back until it is complete."""
        while self.runs < MOST_RUNS and not self.run():
            pass

    def begin(self) -> multiprocessing.process.BaseProcess:
        """Write back in a process of its own."""
        self.runs += 1
        process = FORKS.Process(target=_in_a_process, args=(self.workspace.root,))
        process.start()
        return process


FORKS = multiprocessing.get_context("forkserver")


def _in_a_process(root: Path) -> None:
    with suppress(ForesellError):
        write_back(Workspace.open(root), "crm", None, NOW, sleep=_at_once)


def _at_once(seconds: float) -> None:
    """Waits are not waited for."""
