"""The office: everything behind the service, open. What is asked goes to the desks, what webhooks bring to the reception, and
what was said and done lies in the archive; here they are opened, watched and closed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any

from features.adapter import Adapter
from features.catalog import Catalog
from features.errors import ForesellError, StoreError
from features.feature import View
from features.forgetting.forgotten import Forgotten
from features.propensity import load
from features.settings import Workspace
from features.store import Online
from features.tables import ENTITIES
from features.views import views
from serving.action import Diary, Logged, Told
from serving.answer import Answer, Call
from serving.answering import Answering
from serving.archive import Archive
from serving.deadline import Deadline
from serving.desk import Desk
from serving.flaw import Flaw
from serving.hooks.call import Call as WebhookCall
from serving.hooks.reception import Reception
from serving.hooks.unpack import Unpacked
from serving.ledger import Ledger, Stored
from serving.lineup import Desks, Lineup
from serving.metrics import Metrics
from serving.reader import Ask, Reader
from serving.scorer import Lap, untimed
from serving.shadow import Shadow

SECONDS_TO_STOP = 20.0  # for everything together


class Office:
    """A workspace's service without its HTTP face. One instance serves many threads."""

    def __init__(self, workspace: Workspace, on_change: Callable[[Desks], None] = lambda desks: None) -> None:
        """Open the stores and the desks.

        Raises:
            TableError: nothing has been ingested.
            StoreError: the online store has not been set up.
            WorkspaceError: a webhook cannot be used as it is described.
        """
        declared = views(workspace, Catalog.load(workspace))
        online = Online(workspace, workspace.settings.serving.store_deadline)
        self.workspace, self.forgotten = workspace, Forgotten(workspace)
        self.readers = _readers(online, declared, self.forgotten)
        self.lineup = Lineup(workspace, declared, online.require, on_change)
        self.lineup.refresh()
        self.entities = self._entities()
        self.ledger = Ledger.open(workspace)
        self.archive = Archive(self.ledger, self.entities, self.forgotten)
        self._shadow = Shadow(self.ledger, self.forgotten)
        self._answering = Answering(workspace, self.readers, self.lineup, self.archive, self._shadow)
        self.hooks = Adapter.find(workspace.root, workspace.settings).hooks(workspace.settings)
        self._reception = Reception(self.hooks, self.readers, self.lineup, self.archive, self._answering, self.forgotten)

    def _entities(self) -> dict[str, str]:
        """Whose each propensity is: by its champion, else by its file; left out where neither can be read."""
        found = {}
        for name, desk in self.lineup.desks.items():
            with suppress(ForesellError):
                found[name] = desk.entity if isinstance(desk, Desk) else load(self.workspace, name).entity
        return found

    def start(self, clock: Callable[[], datetime], metrics: Metrics | None = None) -> None:
        """Begin to follow the registry, to hear challengers, and to score what webhooks brought; with metrics, to measure."""
        self._shadow.start()
        self.lineup.start(partial(self.measure, metrics) if metrics else lambda: None)
        self._reception.start(clock)

    def stop(self) -> None:
        """Finish what was accepted and close, within one deadline: what would be lost first, what may wait last."""
        all_of_it = Deadline(SECONDS_TO_STOP)
        self._reception.stop_scoring(all_of_it.left / 2)  # the answers it gives have the other half to be stored
        self.archive.recorder.stop(all_of_it.left)
        self._shadow.stop(all_of_it.left)
        self.lineup.stop(all_of_it.left)
        self._reception.stop_sending(all_of_it.left)
        self.ledger.close()

    def desk(self, name: str) -> Desk:
        """The desk of a propensity.

        Raises:
            ForesellError: there is none, for the reason it gives.
        """
        return self._answering.desk(name)

    def features(self, name: str) -> int:
        """How many features the model of a propensity has; 0 without a champion."""
        found = self.lineup.desks.get(name)
        return len(found.scorer.model.columns) if isinstance(found, Desk) else 0

    def answer(
        self, names: Sequence[str], asks: Sequence[Ask], now: datetime, call: Call, lap: Lap = untimed
    ) -> list[list[Answer]]:
        """The answers of several propensities of one kind of entity, as `Answering.answer` has them.

        Raises:
            ForesellError: a propensity has no champion.
            StoreError: the online store does not answer, and nobody has a stored score; or the answer to a webhook is not stored.
        """
        return self._answering.answer(names, asks, now, call, lap)

    def stored(self, entity: str, entity_id: str, now: datetime, call: Call) -> list[Stored]:
        """The last stored score of an entity for each propensity that has one; the audit tells who read it.

        Raises:
            StoreError: the ledger does not answer.
            CallError: the id is one that no database can hold.
        """
        if self.forgotten.holds(entity, entity_id):
            return []
        names = [name for name, its in self.entities.items() if its == entity]
        return self._answering.stored(entity, entity_id, names, now, call)

    def receive(self, source: str, request_id: str, caller: str | None, call: WebhookCall, now: datetime) -> Unpacked:
        """Keep what a webhook brings, to be scored after it was answered; the audit tells whose key brought it.

        Raises:
            Refusal: the call is not signed as it should be, or cannot be read.
            StoreError: the ledger does not answer; nothing was kept.
        """
        return self._reception.receive(source, request_id, caller, call, now)

    def log(self, told: Sequence[Told], wheres: Sequence[str], now: datetime, call: Call) -> list[Logged | Flaw]:
        """Keep what a CRM did, as `Archive.log` has it.

        Raises:
            StoreError: the ledger does not answer; nothing was kept.
        """
        return self.archive.log(Diary(self.entities, self.workspace.settings.policy, self.forgotten), told, wheres, now, call)

    def status(self, of_keys: ForesellError | None) -> dict[str, Any]:
        """What the service is doing: versions, dependencies, what waits and what was lost.

        Args:
            of_keys: what is wrong with the file of API keys, if anything is.
        """
        desks, failures = self.lineup.desks, {**self._failures(), "keys": of_keys}
        return {
            "desks": {name: _seated(desk) for name, desk in desks.items()},
            "dependencies": {name: None if failure is None else failure.as_dict() for name, failure in failures.items()},
            "waiting": {"recorder": self.archive.recorder.waiting, **self._reception.queues()},
            "lost": {"recorder": self.archive.recorder.dropped, "shadow": self._shadow.left_out},
        }

    def measure(self, metrics: Metrics) -> None:
        """Put what is only known when one looks into the metrics."""
        for name, failure in self._failures().items():
            metrics.up.labels(name).set(failure is None)
        metrics.waiting.labels("recorder").set(self.archive.recorder.waiting)
        metrics.lost_in_all("recorder", self.archive.recorder.dropped)
        metrics.lost_in_all("shadow", self._shadow.left_out)

    def measure_queues(self, metrics: Metrics) -> None:
        """Put what waits in the ledger into the metrics; it may take as long as the ledger takes to answer."""
        for queue, number in self._reception.queues().items():
            metrics.waiting.labels(queue).set(number)

    @property
    def is_well(self) -> bool:
        """Whether every look-up has been answered lately; if not, whoever asks may have to wait for a deadline."""
        return self.archive.failure is None and all(reader.breaker.failure is None for reader in self.readers.values())

    def _failures(self) -> dict[str, ForesellError | None]:
        stores = [reader.breaker.failure for reader in self.readers.values()]
        store = next((failure for failure in stores if failure is not None), None)
        return {"online_store": store, "ledger": self.archive.failure, "registry": self.lineup.failure}

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
