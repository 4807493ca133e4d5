"""The shadow: what the challenger would have said of those the champion answered for, asked after the answer."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Sequence
from datetime import datetime

from features.errors import ForesellError
from features.forgetting.forgotten import Forgotten
from serving.deadline import Deadline
from serving.desk import Desk, Said
from serving.ledger import Compared, Ledger

MOST_WAITING = 200  # requests of up to 1,000 entities; beyond them an answer is left out
_log = logging.getLogger("foresell")
_Task = tuple[Desk, Sequence[Said], datetime]


class Shadow:
    """One thread that asks challengers; when it cannot keep up, it leaves requests out and counts them."""

    def __init__(self, ledger: Ledger, forgotten: Forgotten | None = None) -> None:
        """Take the ledger that keeps the comparisons, and who is forgotten; `start` begins."""
        self._ledger, self._forgotten = ledger, forgotten
        self._waiting: queue.Queue[_Task | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._work, name="shadow", daemon=True)
        self.left_out = 0

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Finish what waits, for at most so many seconds."""
        if self._thread.is_alive():
            deadline = Deadline(timeout)
            try:
                self._waiting.put(None, timeout=timeout)
            except queue.Full:
                return
            self._thread.join(deadline.left)

    def hear(self, desk: Desk, answers: Sequence[Said], now: datetime) -> None:
        """Have the challenger of a desk asked about those who got a score from its champion; never waits."""
        if not desk.is_shadowed or desk.challenger is None:
            return
        try:
            self._waiting.put_nowait((desk, answers, now))
        except queue.Full:
            self.left_out += 1

    def _keep(self, entity: str, rows: Sequence[Compared]) -> None:
        gone = self._forgotten.among(entity, [row.entity_id for row in rows]) if self._forgotten else set()
        self._ledger.keep_shadow([row for row in rows if row.entity_id not in gone])

    def _work(self) -> None:
        while (task := self._waiting.get()) is not None:
            try:
                self._keep(task[0].entity, compared(*task))
            except Exception as problem:  # whatever it is, the next comparison must not wait for it for ever
                self.left_out += 1
                told = problem.received if isinstance(problem, ForesellError) else type(problem).__name__
                _log.warning("a comparison with the challenger is lost: %s", told)


def compared(desk: Desk, answers: Sequence[Said], now: datetime) -> list[Compared]:
    """Champion and challenger side by side, about those who got a score from the champion and whom the challenger can score.

    Raises:
        ContractError: a value is of a type that the challenger cannot read.
    """
    challenger = desk.challenger
    assert challenger is not None
    mine = [said for said in answers if said.scorer is desk.scorer and said.values is not None]
    able = [(said, said.values) for said in mine if said.values and said.values.keys() >= challenger.needed]
    if not able:
        return []
    probabilities = challenger.model.probability(challenger.model.rows([values for _, values in able])).tolist()
    return [
        Compared(now, challenger.propensity.name, said.score.entity_id, desk.scorer.version, said.score.probability or 0.0,
                 challenger.version, probability)
        for (said, _), probability in zip(able, probabilities, strict=True)
    ]  # fmt: skip
