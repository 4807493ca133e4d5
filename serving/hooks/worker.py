"""The worker: scores what webhooks brought, after their calls were answered, and queues the scores for their CRMs.

Each record is scored at least once. It leaves the inbox only when its scores wait in the outbox; a worker that is killed in
between leaves a claim that grows stale, and the next one scores the record again. Its letter then takes the place of the one that
waits, or is sent once more if that one is gone already; both have one id.

A record that brings about an error is left claimed, and so is tried again when the claim is stale: it is never lost, it does not
keep the others waiting, and newer fields of it may mend it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Protocol

from features.errors import ForesellError, StoreError
from features.hook import Hook
from serving.hooks.kept import given
from serving.ledger import Claimed, Letter
from serving.reader import Ask
from serving.score import Score

ENTITIES_A_ROUND = 200
STALE_AFTER = timedelta(minutes=5)
_LOG = logging.getLogger(__name__)


class Inbox(Protocol):
    """What the worker needs of the ledger."""

    def claim(self, worker: str, limit: int, now: datetime, stale_after: timedelta) -> list[Claimed]: ...

    def done(self, ids: Sequence[str]) -> None: ...

    def release(self, ids: Sequence[str]) -> None: ...

    def send_later(self, letters: Sequence[Letter], now: datetime) -> None: ...


class Answered(Protocol):
    """What the worker needs of an answer: the score, and its JSON as it was stored."""

    @property
    def score(self) -> Score: ...

    @property
    def document(self) -> bytes: ...


IsForgotten = Callable[[str, str], bool]


def nobody(entity: str, entity_id: str) -> bool:
    """Where nobody is forgotten."""
    return False


Scores = Callable[[str, tuple[str, ...], Sequence[Ask], datetime], Sequence[Answered]]


class Worker:
    """One worker; several, in one process or many, share an inbox.

    Args:
        name: tells its claims from those of others.
        inbox: the ledger.
        hooks: how each source's records are read, and where its scores go.
        score: called with an entity, the propensities that are wanted of it (none means all), who is asked about, and the
            instant; it stores what it answers, also why there is no score, and raises StoreError while nothing can be scored.
        is_forgotten: told an entity and an id; what waits of such a one goes unscored.
    """

    def __init__(
        self, name: str, inbox: Inbox, hooks: Mapping[str, Hook], score: Scores, is_forgotten: IsForgotten = nobody
    ) -> None:
        self._name, self._inbox, self._hooks, self._score, self._is_forgotten = name, inbox, hooks, score, is_forgotten

    def work(self, now: datetime) -> int:
        """Score what waits, up to 200 entities.

        Returns:
            How many entities are done.

        Raises:
            StoreError: the ledger or the online store does not answer; what was claimed is given back.
        """
        claimed = self._inbox.claim(self._name, ENTITIES_A_ROUND, now, STALE_AFTER)
        gone = [one for one in claimed if self._is_forgotten(one.entity, one.entity_id)]
        if gone:
            self._inbox.done(_ids(gone))
        groups: dict[tuple[str, str], list[Claimed]] = {}
        for one in (one for one in claimed if one not in gone):
            groups.setdefault((one.source, one.entity), []).append(one)
        try:
            return sum(self._score_all(group, now) for group in groups.values())
        except StoreError:
            with suppress(StoreError):  # then the claims grow stale
                self._inbox.release(_ids(claimed))
            raise

    def _score_all(self, group: Sequence[Claimed], now: datetime) -> int:
        """How many of the entities are done; one that brings about an error is found by halves, so that no other waits for it."""
        try:
            self._score_together(group, now)
            return len(group)
        except StoreError:
            raise
        except Exception as error:
            if len(group) == 1:
                _tell(group[0], error)
                return 0
            half = len(group) // 2
            return self._score_all(group[:half], now) + self._score_all(group[half:], now)

    def _score_together(self, group: Sequence[Claimed], now: datetime) -> None:
        hook = self._hooks.get(group[0].source)
        asks = [Ask(one.entity_id, given(one.given), may_be_new=one.entity == "lead") for one in group]
        answers = self._score(group[0].entity, hook.propensities if hook else (), asks, now)
        if any(answer.score.degraded for answer in answers):
            raise _only_stored_scores()
        if hook and hook.write_back:
            last = {one.entity_id: one for one in group}
            self._inbox.send_later([_letter(last[answer.score.entity_id or ""], answer) for answer in answers], now)
        self._inbox.done(_ids(group))


def _ids(claimed: Sequence[Claimed]) -> list[str]:
    return [number for one in claimed for number in one.ids]


def _letter(claimed: Claimed, answer: Answered) -> Letter:
    """The letter of a score, or of why there is none, so that the CRM does not go on showing an old one as if it held.

    Scored again after a kill, the same records give a letter with the same id.
    """
    propensity = answer.score.propensity
    identity = f"{claimed.ids[-1]}/{propensity}"
    return Letter(identity, claimed.source, claimed.entity, claimed.entity_id, propensity, answer.document)


def _only_stored_scores() -> StoreError:
    """A stored score knows nothing of what the record brought: the record waits for the store."""
    return StoreError(
        "records that webhooks brought",
        expected="an online store that answers",
        received="stored scores only",
        repair="start the online store again; the records wait",
    )


def _tell(claimed: Claimed, error: Exception) -> None:
    """Without the record, its id and whatever the error says of them: the id of the call finds both in the ledger."""
    told = f"{type(error).__name__}, expected {error.expected}" if isinstance(error, ForesellError) else type(error).__name__
    _LOG.warning(
        "record %s of %s cannot be scored, and is tried again in %s: %s", claimed.ids[-1], claimed.source, STALE_AFTER, told
    )
