"""The office: everything behind the service, open. Requests and webhooks come in here, answers go out as JSON documents.

What is asked about is read once from the online store, each propensity's desk answers, the last stored score is put beside
it, and the answer leaves. Only then is it stored, and a challenger heard.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from features.adapter import Adapter
from features.catalog import Catalog
from features.errors import ForesellError, RegistryError, StoreError
from features.feature import View
from features.forgetting.forgotten import Forgotten
from features.hook import Hook
from features.propensity import load
from features.settings import Workspace
from features.store import Online
from features.tables import ENTITIES
from features.views import views
from serving.action import Diary, Logged, Told, keep
from serving.answer import Answer, Call, answered, entry, written
from serving.breaker import Breaker
from serving.deadline import Deadline
from serving.desk import Desk, Known, Said
from serving.fallback import Fallback, says_something
from serving.flaw import Flaw
from serving.hooks.call import Call as WebhookCall
from serving.hooks.kept import rows
from serving.hooks.mail import Mail
from serving.hooks.unpack import Unpacked, require_usable, unpack
from serving.ledger import Entry, Ledger, Stored
from serving.lineup import Desks, Lineup
from serving.metrics import Metrics
from serving.objection import objected, shown
from serving.policy import Policy
from serving.reader import Ask, Reader
from serving.recorder import Recorder
from serving.scorer import Lap, untimed
from serving.shadow import Shadow

SECONDS_TO_STOP = 20.0  # for everything together
SECONDS_TO_STORE = 5.0
RECEIVED = "received"  # in the audit, for what a webhook brought before it was scored


class Office:
    """A workspace's service without its HTTP face. One instance serves many threads."""

    def __init__(self, workspace: Workspace, on_change: Callable[[Desks], None] = lambda desks: None) -> None:
        """Open the stores and the desks.

        Raises:
            TableError: nothing has been ingested.
            StoreError: the online store has not been set up.
        """
        declared = views(workspace, Catalog.load(workspace))
        online = Online(workspace, workspace.settings.serving.store_deadline)
        self.workspace = workspace
        self.forgotten = Forgotten(workspace)
        self.readers = _readers(online, declared, self.forgotten)
        self.ledger = Ledger.open(workspace)
        self.recorder = Recorder(self.ledger, kept=self._kept)
        self.lineup = Lineup(workspace, declared, online.require, on_change)
        self.lineup.refresh()
        self.entities = self._entities()
        policy = workspace.settings.policy
        self.policies = {"lead": Policy(policy, "lead"), "customer": Policy(policy, "customer")}
        self.hooks = self._hooks()
        self._shadow = Shadow(self.ledger, self.forgotten)
        self._of_ledger = Breaker()
        self._mail: Mail | None = None

    def _kept(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Those about nobody who is forgotten, whatever kind they are of where no propensity tells it, as of a webhook's."""
        gone = {kind: self.forgotten.among(kind, (one.entity_id for one in entries)) for kind in ENTITIES}
        if not any(gone.values()):
            return entries
        kinds = {one: gone[entity] for one, entity in self.entities.items()}
        either = set().union(*gone.values())
        return [one for one in entries if one.entity_id not in kinds.get(one.propensity, either)]

    def _entities(self) -> dict[str, str]:
        """Whose each propensity is: by its champion, else by its file; left out where neither can be read."""
        found = {}
        for name, desk in self.lineup.desks.items():
            with suppress(ForesellError):
                found[name] = desk.entity if isinstance(desk, Desk) else load(self.workspace, name).entity
        return found

    def _hooks(self) -> dict[str, Hook]:
        """The webhooks that are read here.

        Raises:
            WorkspaceError: one cannot be used as it is described.
        """
        found = Adapter.find(self.workspace.root, self.workspace.settings).hooks(self.workspace.settings)
        for source, hook in found.items():
            require_usable(hook, source, self.readers[hook.entity].attributes if hook.entity in self.readers else ())
        return found

    def start(self, clock: Callable[[], datetime], metrics: Metrics | None = None) -> None:
        """Begin to follow the registry, to hear challengers, and to score what webhooks brought; with metrics, to measure."""
        self._shadow.start()
        self.lineup.start(partial(self.measure, metrics) if metrics else lambda: None)
        if self.hooks:
            self._mail = Mail(self.ledger, self.hooks, self._answer_received, clock, self.forgotten.holds)
            self._mail.start()

    def stop(self) -> None:
        """Finish what was accepted and close, within one deadline: what would be lost first, what may wait last."""
        all_of_it = Deadline(SECONDS_TO_STOP)
        if self._mail is not None:
            self._mail.stop_scoring(all_of_it.left / 2)  # the answers it gives have the other half to be stored
        self.recorder.stop(all_of_it.left)
        self._shadow.stop(all_of_it.left)
        self.lineup.stop(all_of_it.left)
        if self._mail is not None:
            self._mail.stop_sending(all_of_it.left)
        self.ledger.close()

    def desk(self, name: str) -> Desk:
        """The desk of a propensity.

        Raises:
            ForesellError: there is none, for the reason it gives.
        """
        found = self.lineup.desks[name]
        if isinstance(found, ForesellError):  # whatever it is, it is not the caller's mistake
            raise RegistryError(found.where, expected=found.expected, received=found.received, repair=found.repair)
        return found

    def features(self, name: str) -> int:
        """How many features the model of a propensity has; 0 without a champion."""
        found = self.lineup.desks.get(name)
        return len(found.scorer.model.columns) if isinstance(found, Desk) else 0

    def stored(self, entity: str, entity_id: str, now: datetime, call: Call) -> list[Stored]:
        """The last stored score of an entity for each propensity that has one; the audit tells who read it.

        Raises:
            StoreError: the ledger does not answer.
            CallError: the id is one that no database can hold.
        """
        if self.forgotten.holds(entity, entity_id):
            return []
        names = [name for name, its in self.entities.items() if its == entity]
        with self._of_ledger.guarding():
            found = self.ledger.of_entity(names, entity_id)
        found = self._shown(entity, entity_id, found, now)
        self.recorder.put([
            Entry(now, call.request_id, call.caller, "read", one.propensity, entity_id, one.model_version, one.probability)
            for one in found
        ])  # fmt: skip
        return found

    def _shown(self, entity: str, entity_id: str, found: Sequence[Stored], now: datetime) -> list[Stored]:
        """Stored scores as they may be shown now: somebody may have objected since, or be held out."""
        policy, known = self.policies[entity], None
        if not (policy.conditions or policy.holds_out) or not found:
            return list(found)
        try:
            (known,) = self._objected(entity, [Ask(entity_id)], self.readers[entity].known([Ask(entity_id)], now))
        except StoreError as failure:
            known = failure
        answers = {one.propensity: shown(policy, one, known, now) for one in found}
        return [
            one if (score := answers[one.propensity]) is None else one._replace(document=written(score), probability=None)
            for one in found
        ]

    def receive(self, source: str, request_id: str, caller: str | None, call: WebhookCall, now: datetime) -> Unpacked:
        """Keep what a webhook brings, to be scored after it was answered; the audit tells whose key brought it.

        Raises:
            Refusal: the call is not signed as it should be, or cannot be read.
            StoreError: the ledger does not answer; nothing was kept.
        """
        hook = self.hooks[source]
        reader = self.readers.get(hook.entity)
        known = reader.attributes if reader else ()
        unpacked = unpack(hook, source, call.method, call.url, call.headers, call.body, known, now)
        gone = self.forgotten.among(hook.entity, [record.entity_id for record in unpacked.received])
        unpacked = replace(unpacked, received=tuple(one for one in unpacked.received if one.entity_id not in gone))
        with self._of_ledger.guarding():
            self.ledger.receive(rows(unpacked.received, request_id, now))
        self.recorder.put([
            Entry(now, request_id, caller, "hook", RECEIVED, record.entity_id, None, why=f"received from {source}")
            for record in unpacked.received
        ])  # fmt: skip
        return unpacked

    def log(self, told: Sequence[Told], wheres: Sequence[str], now: datetime, call: Call) -> list[Logged | Flaw]:
        """Keep what a CRM did.

        Args:
            told: what it tells.
            wheres: the place of each in its request.
            now: the instant of the request.
            call: who tells it.

        Returns:
            For each, in order, what is kept, or what is wrong with it.

        Raises:
            StoreError: the ledger does not answer; nothing was kept.
        """
        diary = Diary(self.entities, self.workspace.settings.policy, self.forgotten)
        made = [diary.action(one, where, now, call.request_id, call.caller) for one, where in zip(told, wheres, strict=True)]
        with self._of_ledger.guarding():
            return keep(self.ledger, made, wheres)

    def status(self, of_keys: ForesellError | None) -> dict[str, Any]:
        """What the service is doing: versions, dependencies, what waits and what was lost.

        Args:
            of_keys: what is wrong with the file of API keys, if anything is.
        """
        desks, failures = self.lineup.desks, {**self._failures(), "keys": of_keys}
        return {
            "desks": {name: _seated(desk) for name, desk in desks.items()},
            "dependencies": {name: None if failure is None else failure.as_dict() for name, failure in failures.items()},
            "waiting": {"recorder": self.recorder.waiting, **self._queues()},
            "lost": {"recorder": self.recorder.dropped, "shadow": self._shadow.left_out},
        }

    def measure(self, metrics: Metrics) -> None:
        """Put what is only known when one looks into the metrics."""
        for name, failure in self._failures().items():
            metrics.up.labels(name).set(failure is None)
        metrics.waiting.labels("recorder").set(self.recorder.waiting)
        metrics.lost_in_all("recorder", self.recorder.dropped)
        metrics.lost_in_all("shadow", self._shadow.left_out)

    def measure_queues(self, metrics: Metrics) -> None:
        """Put what waits in the ledger into the metrics; it may take as long as the ledger takes to answer."""
        for queue, number in self._queues().items():
            metrics.waiting.labels(queue).set(number)

    def _queues(self) -> dict[str, int]:
        """What waits in the ledger, where webhooks are read and the ledger answers; `given_up` are scores no CRM would take."""
        if self.hooks:
            with suppress(ForesellError), self._of_ledger.guarding():
                return self.ledger.waiting()._asdict()
        return {}

    @property
    def is_well(self) -> bool:
        """Whether every look-up has been answered lately; if not, whoever asks may have to wait for a deadline."""
        return self._of_ledger.failure is None and all(reader.breaker.failure is None for reader in self.readers.values())

    def _failures(self) -> dict[str, ForesellError | None]:
        stores = [reader.breaker.failure for reader in self.readers.values()]
        store = next((failure for failure in stores if failure is not None), None)
        return {"online_store": store, "ledger": self._of_ledger.failure, "registry": self.lineup.failure}

    def require_ready(self) -> None:
        """See to it that somebody can be scored now.

        Raises:
            ForesellError: no desk is open, or the online store does not answer.
        """
        desks = self.lineup.desks
        opened = {desk.entity for desk in desks.values() if isinstance(desk, Desk)}
        if not opened:
            raise next(problem for problem in desks.values() if isinstance(problem, ForesellError))
        for entity in opened:
            self.readers[entity].ping()

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
        reader = self.readers[desks[0].entity]
        try:
            known = self._objected(desks[0].entity, asks, reader.known(asks, now))
        except StoreError as failure:
            return self._last_stored(desks, asks, now, call, failure)
        lap("fetch")
        said = [desk.answer(asks, known, now, lap) for desk in desks]
        answers = [answered(part, self._beside(desk, part)) for desk, part in zip(desks, said, strict=True)]
        self._keep(said, answers, now, call)
        for desk, part in zip(desks, said, strict=True):
            self._shadow.hear(desk, part, now)
        lap("change")
        return answers

    def _objected(self, entity: str, asks: Sequence[Ask], known: Sequence[Known]) -> Sequence[Known]:
        """What is known, with objections that were told before; where the ledger does not answer, with those of the records."""
        policy = self.policies[entity]
        if not policy.conditions:
            return known
        names, ids = [name for name, its in self.entities.items() if its == entity], [ask.entity_id for ask in asks]
        told: Mapping[str, Stored] = {}
        with suppress(ForesellError), self._of_ledger.guarding():
            told = self.ledger.withheld(names, [one for one in dict.fromkeys(ids) if one is not None])
        return objected(policy, known, told)

    def _keep(self, said: Sequence[Sequence[Said]], answers: Sequence[Sequence[Answer]], now: datetime, call: Call) -> None:
        """Have answers stored, once it is certain that all of them are given.

        What answers a webhook is waited for: its record leaves the inbox next, and the one behind it may bring only what has
        changed since.

        Raises:
            StoreError: the ledger does not store an answer to a webhook.
        """
        entries = [
            entry(one, answer, now, call)
            for part, several in zip(said, answers, strict=True)
            for one, answer in zip(part, several, strict=True)
        ]
        self.recorder.put(entries)
        if call.road == "hook" and not self.recorder.flush(SECONDS_TO_STORE):
            raise StoreError(
                "the ledger",
                expected=f"the answer to a webhook stored within {SECONDS_TO_STORE:g} seconds",
                received="it is not stored yet",
                repair="nothing is lost: its record waits; see the log for what keeps the ledger",
            )

    def _answer_received(self, entity: str, names: Sequence[str], asks: Sequence[Ask], now: datetime) -> list[Answer]:
        """The answers about what a webhook brought; without names, of every propensity of the entity that has a champion."""
        opened = [name for name, desk in self.lineup.desks.items() if isinstance(desk, Desk) and desk.entity == entity]
        wanted = [name for name in opened if not names or name in names]
        call = Call(uuid4().hex, None, "hook")
        if not wanted:
            return []
        remembered = self._remembered(entity, wanted, asks, now)
        return [answer for part in self.answer(wanted, remembered, now, call) for answer in part]

    def _remembered(self, entity: str, names: Sequence[str], asks: Sequence[Ask], now: datetime) -> list[Ask]:
        """What is asked, of those the online store does not know yet with what was given of them before.

        A webhook brings only what has changed; who is new today is in no snapshot before tonight.

        Raises:
            StoreError: the online store or the ledger does not answer; nobody waits, so the record does.
        """
        reader = self.readers[entity]
        known = reader.known([Ask(ask.entity_id) for ask in asks], now)
        new = [ask.entity_id or "" for ask, one in zip(asks, known, strict=True) if one is None]
        with self._of_ledger.guarding():
            before = {who: stored for name in names for who, stored in self.ledger.latest(name, new).items()}
        return [
            replace(ask, given={**reader.given_before(before[ask.entity_id or ""]), **ask.given})
            if ask.entity_id in before else ask
            for ask in asks
        ]  # fmt: skip

    def _beside(self, desk: Desk, said: Sequence[Said]) -> Mapping[str, Stored]:
        """The last stored scores, to be compared with what is said now; none where the ledger does not answer, for a score is
        worth more than its trend.
        """
        scores = [one.score for one in said if one.score.entity_id is not None and one.score.score is not None]
        told = dict.fromkeys((score.entity_id or "", score.model_version, score.probability) for score in scores)
        now = {who: (version, probability) for who, version, probability in told}
        if len(now) < len(told):  # somebody is asked about twice, and two things are said
            return self._before(desk, list(now))
        with suppress(ForesellError), self._of_ledger.guarding():
            return self.ledger.latest_beside(desk.scorer.propensity.name, now)
        return {}

    def _before(self, desk: Desk, ids: Sequence[str]) -> Mapping[str, Stored]:
        """The last stored scores of entities; none where the ledger does not answer."""
        gone = self.forgotten.among(desk.entity, ids)
        with suppress(ForesellError), self._of_ledger.guarding():
            return self.ledger.latest(desk.scorer.propensity.name, [one for one in ids if one not in gone])
        return {}

    def _last_stored(
        self, desks: Sequence[Desk], asks: Sequence[Ask], now: datetime, call: Call, failure: StoreError
    ) -> list[list[Answer]]:
        """Without the online store: who needs it gets the last stored score, and is told so; what a webhook brought waits."""
        if call.road == "hook":
            raise failure
        new = [Ask(None, ask.given, True) for ask in asks if ask.entity_id is None]
        known = iter(self.readers[desks[0].entity].known(new, now))
        found = [next(known) if ask.entity_id is None else failure for ask in asks]
        fallback = Fallback(self.workspace, self.readers[desks[0].entity], failure, now)
        parts = [self._degraded(desk, asks, desk.answer(asks, found, now), fallback) for desk in desks]
        if not any(says_something(answer.score) for part in parts for answer in part):
            raise failure
        for desk, part in zip(desks, parts, strict=True):
            self.recorder.put([entry(Said(answer.score, desk.scorer), answer, now, call) for answer in part])
        return parts

    def _degraded(self, desk: Desk, asks: Sequence[Ask], said: Sequence[Said], fallback: Fallback) -> list[Answer]:
        before = self._before(desk, [ask.entity_id for ask in asks if ask.entity_id is not None])
        scores = [
            one.score if ask.entity_id is None else fallback.score(one.scorer, ask, before.get(ask.entity_id))
            for ask, one in zip(asks, said, strict=True)
        ]
        return [Answer(score, written(score)) for score in scores]


def _seated(desk: Desk | ForesellError) -> dict[str, Any]:
    if isinstance(desk, ForesellError):
        return {"answers": None, "why": desk.as_dict()}
    return {"answers": desk.scorer.version, "challenger": desk.challenger.version if desk.challenger else None}


def _readers(online: Online, declared: tuple[View, ...], forgotten: Forgotten) -> dict[str, Reader]:
    """A reader for every kind of entity that the store has a place for."""
    readers = {}
    for entity in ENTITIES:
        with suppress(StoreError):
            readers[entity] = Reader(online, declared, entity, forgotten)
    return readers
