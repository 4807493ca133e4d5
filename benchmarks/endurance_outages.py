"""The outages of an endurance run: the registry is killed and started again, then the online store."""

from __future__ import annotations

import time
from threading import Event

from benchmarks.servers import Server

FIRST, REGISTRY_AWAY = "versions change", "registry away"
PHASES = {FIRST: 1 / 3, REGISTRY_AWAY: 1 / 6, "registry back": 1 / 6, "store away": 1 / 12, "store back": 1 / 4}  # of the time
BETWEEN, GRACE = "between", 5.0  # seconds after a change of phase that belong to neither


class Outages:
    """What goes on.

    Attributes:
        phase: which one is on, for whoever looks.
        ended: set when all are over.
    """

    def __init__(self, store: Server, registry: Server) -> None:
        self.phase, self.ended = FIRST, Event()
        self._acts = {
            REGISTRY_AWAY: registry.kill, "registry back": registry.start, "store away": store.kill, "store back": store.start,
        }  # fmt: skip

    def play(self, seconds: float) -> None:
        """Go through the phases, which take so long together, besides what killing and starting takes."""
        for phase, share in PHASES.items():
            if phase in self._acts:
                self.phase = BETWEEN
                self._acts[phase]()
                time.sleep(min(GRACE, seconds / 60))
            self.phase = phase
            time.sleep(share * seconds)
        self.ended.set()
