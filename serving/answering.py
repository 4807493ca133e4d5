"""Answering: what is asked about is read once from the online store, each propensity's desk answers, and the last stored score is
put beside it. Only once all of it is said it is stored, and a challenger heard.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from features.errors import ForesellError, RegistryError, StoreError
from features.settings import Workspace
from serving.answer import Answer, Call, answered, entry, written
from serving.archive import Archive
from serving.desk import Desk, Known, Said
from serving.fallback import Fallback, says_something
from serving.ledger import Entry, Stored
from serving.lineup import Lineup
from serving.objection import objected, shown
from serving.policy import Policy
from serving.reader import Ask, Reader
from serving.scorer import Lap, untimed
from serving.shadow import Shadow


class Answering:
    """The desks, with all that an answer takes."""

    def __init__(
        self, workspace: Workspace, readers: Mapping[str, Reader], lineup: Lineup, archive: Archive, shadow: Shadow
    ) -> None:
        """Take what is open: readers by kind of entity, desks by propensity, what was said before, and who hears it later."""
        self._workspace, self._readers, self._lineup, self._archive, self._shadow = workspace, readers, lineup, archive, shadow
        policy = workspace.settings.policy
        self._policies = {"lead": Policy(policy, "lead"), "customer": Policy(policy, "customer")}

    def desk(self, name: str) -> Desk:
        """The desk of a propensity.

        Raises:
            ForesellError: there is none, for the reason it gives.
        """
        found = self._lineup.desks[name]
        if isinstance(found, ForesellError):  # whatever it is, it is not the caller's mistake
            raise RegistryError(found.where, expected=found.expected, received=found.received, repair=found.repair)
        return found

    def answer(
        self, names: Sequence[str], asks: Sequence[Ask], now: datetime, call: Call, lap: Lap = untimed
    ) -> list[list[Answer]]:
        """The answers of several propensities of one kind of entity.

        Args:
            names: the propensities.
            asks: who is asked about.
            now: the instant of the request.
            call: who asks.
            lap: told the end of each stage: `fetch`, `predict`, `reasons`, `change`.

        Returns:
            For each propensity a list of answers, in the order of the entities.

        Raises:
            ForesellError: a propensity has no champion.
            StoreError: the online store does not answer, and nobody has a stored score; or the answer to a webhook is not stored.
        """
        desks = [self.desk(name) for name in names]
        reader = self._readers[desks[0].entity]
        try:
            known = self._objected(reader.entity, asks, reader.known(asks, now))
        except StoreError as failure:
            return self._last_stored(desks, asks, now, call, failure)
        lap("fetch")
        said = [desk.answer(asks, known, now, lap) for desk in desks]
        answers = [
            answered(part, self._archive.beside(desk.scorer.propensity.name, part))
            for desk, part in zip(desks, said, strict=True)
        ]
        spoken = zip(said, answers, strict=True)
        entries = [entry(*pair, now, call) for part in spoken for pair in zip(*part, strict=True)]
        self._archive.store(entries, is_waited_for=call.road == "hook")
        for desk, part in zip(desks, said, strict=True):
            self._shadow.hear(desk, part, now)
        lap("change")
        return answers

    def _last_stored(
        self, desks: Sequence[Desk], asks: Sequence[Ask], now: datetime, call: Call, failure: StoreError
    ) -> list[list[Answer]]:
        """Without the online store: who needs it gets the last stored score, and is told so; what a webhook brought waits."""
        if call.road == "hook":
            raise failure
        new = [Ask(None, ask.given, True) for ask in asks if ask.entity_id is None]
        known = iter(self._readers[desks[0].entity].known(new, now))
        found = [next(known) if ask.entity_id is None else failure for ask in asks]
        fallback = Fallback(self._workspace, self._readers[desks[0].entity], failure, now)
        parts = [self._degraded(desk, asks, desk.answer(asks, found, now), fallback) for desk in desks]
        if not any(says_something(answer.score) for part in parts for answer in part):
            raise failure
        for desk, part in zip(desks, parts, strict=True):
            self._archive.recorder.put([entry(Said(answer.score, desk.scorer), answer, now, call) for answer in part])
        return parts

    def _degraded(self, desk: Desk, asks: Sequence[Ask], said: Sequence[Said], fallback: Fallback) -> list[Answer]:
        before = self._archive.before(desk.scorer.propensity.name, [ask.entity_id for ask in asks if ask.entity_id is not None])
        scores = [
            one.score if ask.entity_id is None else fallback.score(one.scorer, ask, before.get(ask.entity_id))
            for ask, one in zip(asks, said, strict=True)
        ]
        return [Answer(score, written(score)) for score in scores]

    def stored(self, entity: str, entity_id: str, names: Sequence[str], now: datetime, call: Call) -> list[Stored]:
        """The last stored score of an entity for each of some propensities that has one; the audit tells who read it.

        Raises:
            StoreError: the ledger does not answer.
            CallError: the id is one that no database can hold.
        """
        with self._archive.guarding():
            read = self._archive.ledger.of_entity(names, entity_id)
        found = self._shown(entity, entity_id, read, now)
        self._archive.recorder.put([
            Entry(now, call.request_id, call.caller, "read", one.propensity, entity_id, one.model_version, one.probability)
            for one in found
        ])  # fmt: skip
        return found

    def _shown(self, entity: str, entity_id: str, found: Sequence[Stored], now: datetime) -> list[Stored]:
        """Stored scores as they may be shown now: somebody may have objected since, or be held out."""
        policy, known = self._policies[entity], None
        if not (policy.conditions or policy.holds_out) or not found:
            return list(found)
        try:
            (known,) = self._objected(entity, [Ask(entity_id)], self._readers[entity].known([Ask(entity_id)], now))
        except StoreError as failure:
            known = failure
        answers = {one.propensity: shown(policy, one, known, now) for one in found}
        return [
            one if (score := answers[one.propensity]) is None else one._replace(document=written(score), probability=None)
            for one in found
        ]

    def _objected(self, entity: str, asks: Sequence[Ask], known: Sequence[Known]) -> Sequence[Known]:
        """What is known, with objections that were told before; where the ledger does not answer, with those of the records."""
        policy = self._policies[entity]
        if not policy.conditions:
            return known
        return objected(policy, known, self._archive.withheld(entity, [ask.entity_id for ask in asks]))
