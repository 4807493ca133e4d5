"""The archive: the ledger as the service uses it, left alone for a while when it fails, and the recorder that fills it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime

from features.errors import ForesellError, StoreError
from features.forgetting.forgotten import Forgotten
from features.tables import ENTITIES
from serving.action import Diary, Logged, Told, keep
from serving.answer import Call
from serving.breaker import Breaker
from serving.desk import Said
from serving.flaw import Flaw
from serving.ledger import Entry, Ledger, Stored
from serving.recorder import Recorder

SECONDS_TO_STORE = 5.0


class Archive:
    """What was said, read and done, in one ledger. Threads may share it."""

    def __init__(self, ledger: Ledger, entities: Mapping[str, str], forgotten: Forgotten) -> None:
        """Begin to record.

        Args:
            ledger: where.
            entities: the propensities, each with the kind of its entities.
            forgotten: of whom nothing is kept any more.
        """
        self.ledger, self._entities, self._forgotten = ledger, entities, forgotten
        self.recorder, self._breaker = Recorder(ledger, kept=self._kept), Breaker()

    def _kept(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those about nobody who is forgotten, whatever kind they are of where no propensity tells it, as of a webhook's."""
        gone = {kind: self._forgotten.among(kind, (one.entity_id for one in entries)) for kind in ENTITIES}
        if not any(gone.values()):
            return entries
        kinds = {one: gone[entity] for one, entity in self._entities.items()}
        either = set().union(*gone.values())
        return [one for one in entries if one.entity_id not in kinds.get(one.propensity, either)]

    def _gone(self, propensity: str, ids: Sequence[str | None]) -> set[str]:
        entity = self._entities.get(propensity)
        return set().union(*(self._forgotten.among(kind, ids) for kind in ([entity] if entity else ENTITIES)))

    @property
    def failure(self) -> StoreError | None:
        """Why the ledger is left alone; None while it works."""
        return self._breaker.failure

    def guarding(self) -> AbstractContextManager[None]:
        """Ask the ledger inside the block.

        Raises:
            StoreError: it fails, or has failed just now.
        """
        return self._breaker.guarding()

    def log(self, diary: Diary, told: Sequence[Told], wheres: Sequence[str], now: datetime, call: Call) -> list[Logged | Flaw]:
        """Keep what a CRM did.

        Args:
            diary: what may be told.
            told: what it tells.
            wheres: the place of each in its request.
            now: the instant of the request.
            call: who tells it.

        Returns:
            For each, in order, what is kept, or what is wrong with it.

        Raises:
            StoreError: the ledger does not answer; nothing was kept.
        """
        made = [diary.action(one, where, now, call.request_id, call.caller) for one, where in zip(told, wheres, strict=True)]
        with self.guarding():
            return keep(self.ledger, made, wheres)

    def store(self, entries: Sequence[Entry], is_waited_for: bool) -> None:
        """Have answers stored, once it is certain that all of them are given.

        What answers a webhook is waited for: its record leaves the inbox next, and the one behind it may bring only what has
        changed since.

        Raises:
            StoreError: the ledger does not store what is waited for.
        """
        self.recorder.put(entries)
        if is_waited_for and not self.recorder.flush(SECONDS_TO_STORE):
            raise StoreError(
                "the ledger",
                expected=f"the answer to a webhook stored within {SECONDS_TO_STORE:g} seconds",
                received="it is not stored yet",
                repair="nothing is lost: its record waits; see the log for what keeps the ledger",
            )

    def withheld(self, entity: str, ids: Sequence[str | None]) -> Mapping[str, Stored]:
        """The last answers that withheld a score of entities, by id; none where the ledger does not answer."""
        names = [name for name, its in self._entities.items() if its == entity]
        with suppress(ForesellError), self.guarding():
            return self.ledger.withheld(names, [one for one in dict.fromkeys(ids) if one is not None])
        return {}

    def beside(self, propensity: str, said: Sequence[Said]) -> Mapping[str, Stored]:
        """The last stored scores, to be compared with what is said now; none where the ledger does not answer, for a score is
        worth more than its trend.
        """
        scores = [one.score for one in said if one.score.entity_id is not None and one.score.score is not None]
        told = dict.fromkeys((score.entity_id or "", score.model_version, score.probability) for score in scores)
        now = {who: (version, probability) for who, version, probability in told}
        if len(now) < len(told):  # somebody is asked about twice, and two things are said
            return self.before(propensity, list(now))
        with suppress(ForesellError), self.guarding():
            return self.ledger.latest_beside(propensity, now)
        return {}

    def before(self, propensity: str, ids: Sequence[str]) -> Mapping[str, Stored]:
        """The last stored scores of entities; none where the ledger does not answer."""
        gone = self._gone(propensity, ids)
        with suppress(ForesellError), self.guarding():
            return self.ledger.latest(propensity, [one for one in ids if one not in gone])
        return {}
