"""The callers of an endurance run: each asks about 1 to 20 customers, one request at a time, and checks what it gets."""

from __future__ import annotations

import http.client
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.endurance_outages import Outages
from benchmarks.endurance_tally import Said, Tally, kind_of
from benchmarks.serving_contenders import HOST, Contender

SIZES = (1, 1, 1, 1, 5, 20)  # customers in one request
LATE = 30.0  # seconds after which an answer is lost


@dataclass(frozen=True)
class Callers:
    """Whom they ask, about whom, what must be said of them, what goes on meanwhile, and where they count."""

    service: Contender
    ids: Sequence[str]
    said: Said
    outages: Outages
    tally: Tally

    def call(self, seed: int) -> None:
        """One caller, until all outages are over."""
        dice, connection = random.Random(seed), http.client.HTTPConnection(HOST, self.service.port, timeout=LATE)
        while not self.outages.ended.is_set():
            asked = dice.sample(range(len(self.ids)), dice.choice(SIZES))
            phase, began = self.outages.phase, time.perf_counter()
            try:
                kind, sample = self._answered(connection, asked)
            except (OSError, http.client.HTTPException) as problem:
                connection.close()
                kind, sample = "lost", repr(problem)
            self.tally.add(phase, kind, time.perf_counter() - began, sample)

    def _answered(self, connection: http.client.HTTPConnection, asked: Sequence[int]) -> tuple[str, str]:
        """The kind of one answer, and its beginning."""
        connection.request("POST", self.service.path, self.service.body(asked), dict(self.service.headers))
        response = connection.getresponse()
        body = response.read()
        return kind_of(response.status, body, [self.ids[one] for one in asked], self.said), body[:300].decode("utf-8", "replace")
