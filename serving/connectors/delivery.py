"""The delivery: takes records to one target, halves what is refused down to the bad record, waits for who is busy, keeps books.

A record is rejected for its own sake only. Where the first ones of a propensity are all refused in the same words, and none was
taken, it is the settings or the rights that are wrong: nobody is given up, and the rest of the propensity waits. That records are
gone from the target is no such sign.

What is about to be sent is noted before it is, and what became of it afterwards. So whoever is killed in between leaves one chunk
waiting, which the next run sends again; for every target that is the same as sending it once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from features.remote.failure import Busy, Denied, Refused
from features.remote.pace import Sleep
from serving.connectors.connector import Connector, Record, Rejection
from serving.connectors.record import flaw
from serving.ledger import Ledger, Written

WINDOW = 50_000  # records among which equal ones are looked for
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(minutes=15)
ATTEMPTS_OF_HALVES = 2
MOST_BROKEN = 3  # records in a row on which the target fails: it is the target, then
MOST_ALIKE = 50  # records of a propensity refused in the same words before any was taken: it is not the records, then


class Stopped(Exception):
    """Why a run goes no further; what is left waits."""


class Refusing(Exception):
    """Why nothing of a propensity is taken; what is left of it waits."""


class Delivery:
    """One run to one target.

    Attributes:
        window: how many records at once `chunks` should be given.
        sent: records that were taken.
        rejected: propensity and rejection of those that were not.

    Args:
        name: the target's.
        settings: their digest.
        connector: how it is reached.
        ledger: where the books are kept.
        now: what they say of the time.
        limit: records a chunk.
        attempts: how often a chunk is tried while the target is busy or broken.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        name: str,
        settings: str,
        connector: Connector,
        ledger: Ledger,
        now: datetime,
        limit: int,
        attempts: int,
        sleep: Sleep,
    ) -> None:
        self._settings = settings
        self._name, self._connector, self._ledger, self._now = name, connector, ledger, now
        self._limit, self._attempts, self._sleep = limit, attempts, sleep
        self.window = WINDOW if connector.groups else limit
        self.sent = 0
        self.rejected: list[tuple[str, Rejection]] = []
        self._broken = 0
        self._takes: set[str] = set()  # propensities of which something was taken
        self._alike = defaultdict[tuple[str, str], list[Rejection]](list)  # by propensity and words, until something was

    def chunks(self, records: Sequence[Record]) -> Iterator[list[Record]]:
        """Records of one propensity, so many a call; those of equal values together where the target takes them so."""
        if not self._connector.groups:
            yield from _batched(records, self._limit)
            return
        groups: dict[str, list[Record]] = {}
        for record in records:
            groups.setdefault(repr(sorted(record.values.items())), []).append(record)
        for key in sorted(groups):
            yield from _batched(groups[key], self._limit)

    def deliver(self, chunk: Sequence[Record]) -> None:
        """Take one chunk.

        Raises:
            Stopped: the target takes nothing more for now; what of the chunk was not settled waits.
            Refusing: the same, of this propensity alone.
            StoreError: the ledger does not answer.
        """
        self._ledger.intend(self._intent(record) for record in chunk)
        flaws = [Rejection(record.id, found) for record in chunk if (found := flaw(record.change))]
        bad = {rejection.id for rejection in flaws}
        self._settle([record for record in chunk if record.id in bad], flaws)
        left, attempt = [record for record in chunk if record.id not in bad], 0
        while left and attempt < self._attempts:
            if attempt:
                self._sleep(_wait(attempt - 1).total_seconds())
            left, attempt = self._halve(left), attempt + 1

    def _halve(self, chunk: Sequence[Record]) -> list[Record]:
        """Depth first and in order, so that what comes out settled is settled at once. Returns those that are locked."""
        locked: list[Record] = []
        left = [chunk]
        while left:
            part = left.pop()
            try:
                rejections = self._patiently(part, self._attempts if part is chunk else ATTEMPTS_OF_HALVES)
            except Refused as refused:
                if len(part) > 1:
                    left += [part[len(part) // 2 :], part[: len(part) // 2]]
                    continue
                rejections = [Rejection(part[0].id, refused.told, "gone" if refused.is_gone else "refused")]
            except Busy as broken:
                self._note(part, broken.told)
                if len(part) > 1:
                    left += [part[len(part) // 2 :], part[: len(part) // 2]]
                    continue
                self._broken += 1
                if self._broken >= MOST_BROKEN:
                    raise Stopped(f"the target fails: {broken.told}") from None
                continue
            self._broken = 0
            locked += self._settle(part, rejections)
            self._compare(part[0].propensity, rejections)
        return locked

    def _patiently(self, part: Sequence[Record], attempts: int) -> list[Rejection]:
        """Try until the target answers.

        Raises:
            Refused: of what was sent.
            Busy: it goes on failing, and not for being away.
            Stopped: it is away, or lets nobody in.
        """
        for attempt in range(attempts):
            try:
                return self._connector.send(part)
            except Busy as busy:
                wait = _wait(attempt) if busy.wait is None else busy.wait
                last = attempt + 1 == attempts
                if last and busy.broken:
                    raise
                if last or wait > LONGEST_WAIT:
                    self._note(part, busy.told)
                    told = f", and wants to be left alone for {wait}" if wait > LONGEST_WAIT else ""
                    raise Stopped(f"the target does not answer: {busy.told}{told}") from None
                self._sleep(wait.total_seconds())
            except Denied as denied:
                self._note(part, denied.told)
                raise Stopped(f"the target lets nobody in: {denied.told}") from None
        raise AssertionError("attempts is 1 or more")

    def _settle(self, part: Sequence[Record], rejections: Sequence[Rejection]) -> list[Record]:
        """Note what became of records. Returns those that are locked, which wait."""
        if not part:
            return []
        propensity, of = part[0].propensity, {rejection.id: rejection for rejection in rejections}
        rejected = {record.id: of[record.id].error for record in part if record.id in of and not _is_taken(record, of[record.id])}
        locked = [record for record in part if record.id in of and of[record.id].cause == "locked"]
        waiting = {record.id: rejected.pop(record.id) for record in locked}
        taken = [record.id for record in part if record.id not in rejected and record.id not in waiting]
        self._ledger.settle(self._name, propensity, taken, "sent", self._now)
        self._ledger.settle(self._name, propensity, rejected, "rejected", self._now, rejected)
        self._ledger.settle(self._name, propensity, waiting, "waiting", self._now, waiting)
        self.sent += len(taken)
        self.rejected += [(propensity, of[identity]) for identity in rejected]
        if set(taken) - set(of):
            self._takes.add(propensity)
        return locked

    def _compare(self, propensity: str, rejections: Sequence[Rejection]) -> None:
        """Go no further where everybody is refused alike, and give nobody up for it."""
        if propensity in self._takes:
            return
        for rejection in rejections:
            if rejection.cause == "refused":
                self._alike[propensity, _words(rejection)].append(rejection)
        for (refused, _), alike in self._alike.items():
            if refused == propensity and len(alike) >= MOST_ALIKE:
                told = dict.fromkeys((one.id for one in alike), alike[0].error)
                self._ledger.settle(self._name, propensity, told, "waiting", self._now, told)
                self.rejected = [found for found in self.rejected if found[0] != propensity or found[1].id not in told]
                raise Refusing(f"the first {len(told)} were all refused: {alike[0].error}")

    def _note(self, part: Sequence[Record], told: str) -> None:
        ids = [record.id for record in part]
        self._ledger.settle(self._name, part[0].propensity, ids, "waiting", self._now, dict.fromkeys(ids, told))

    def _intent(self, record: Record) -> Written:
        change = record.change
        return Written(
            self._name, change.propensity, change.entity_id, change.entity, change.settings(self._settings), change.state,
            change.score, change.grade, change.version, change.as_of, "waiting", None, 1, self._now,
        )  # fmt: skip


def _is_taken(record: Record, rejection: Rejection) -> bool:
    """Whether there is nothing left to do: a record that is gone needs no emptying."""
    return rejection.cause == "gone" and record.change.state != "scored"


def _words(rejection: Rejection) -> str:
    """What was said, whoever it was said of."""
    return re.sub(rf"\b{re.escape(rejection.id)}\b", "", rejection.error)


def _wait(attempt: int) -> timedelta:
    return min(FIRST_WAIT * 2**attempt, LONGEST_WAIT)


def _batched(records: Sequence[Record], size: int) -> Iterator[list[Record]]:
    left = iter(records)
    while batch := list(islice(left, size)):
        yield batch
