"""The reception: what webhooks bring is kept, so that it can be scored after the call was answered, and then answered about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from uuid import uuid4

from features.errors import ForesellError
from features.forgetting.forgotten import Forgotten
from features.hook import Hook
from serving.answer import Answer, Call
from serving.answering import Answering
from serving.archive import Archive
from serving.desk import Desk
from serving.hooks.call import Call as WebhookCall
from serving.hooks.kept import rows
from serving.hooks.mail import Mail
from serving.hooks.unpack import Unpacked, require_usable, unpack
from serving.ledger import Entry
from serving.lineup import Lineup
from serving.reader import Ask, Reader

RECEIVED = "received"  # in the audit, for what a webhook brought before it was scored


class Reception:
    """Every source that webhooks come from, and the mail between them and the desks."""

    def __init__(
        self,
        hooks: Mapping[str, Hook],
        readers: Mapping[str, Reader],
        lineup: Lineup,
        archive: Archive,
        answering: Answering,
        forgotten: Forgotten,
    ) -> None:
        """Take how each source is read, who answers, and of whom nothing is taken any more.

        Raises:
            WorkspaceError: one cannot be used as it is described.
        """
        for source, hook in hooks.items():
            require_usable(hook, source, readers[hook.entity].attributes if hook.entity in readers else ())
        self.hooks, self._readers, self._lineup, self._archive, self._answering = hooks, readers, lineup, archive, answering
        self._forgotten = forgotten
        self._mail: Mail | None = None

    def start(self, clock: Callable[[], datetime]) -> None:
        """Begin to score what webhooks brought, and to send it; nothing where there are none."""
        if self.hooks:
            self._mail = Mail(self._archive.ledger, self.hooks, self._answer_received, clock, self._forgotten.holds)
            self._mail.start()

    def stop_scoring(self, patience_seconds: float) -> None:
        """Wait for the scoring under way, and begin no more."""
        if self._mail is not None:
            self._mail.stop_scoring(patience_seconds)

    def stop_sending(self, patience_seconds: float) -> None:
        """Wait for the sending under way."""
        if self._mail is not None:
            self._mail.stop_sending(patience_seconds)

    def receive(self, source: str, request_id: str, caller: str | None, call: WebhookCall, now: datetime) -> Unpacked:
        """Keep what a webhook brings, to be scored after it was answered; the audit tells whose key brought it.

        Raises:
            Refusal: the call is not signed as it should be, or cannot be read.
            StoreError: the ledger does not answer; nothing was kept.
        """
        hook = self.hooks[source]
        reader = self._readers.get(hook.entity)
        known = reader.attributes if reader else ()
        unpacked = unpack(hook, source, call.method, call.url, call.headers, call.body, known, now)
        gone = self._forgotten.among(hook.entity, [record.entity_id for record in unpacked.received])
        unpacked = replace(unpacked, received=tuple(one for one in unpacked.received if one.entity_id not in gone))
        with self._archive.guarding():
            self._archive.ledger.receive(rows(unpacked.received, request_id, now))
        self._archive.recorder.put([
            Entry(now, request_id, caller, "hook", RECEIVED, record.entity_id, None, why=f"received from {source}")
            for record in unpacked.received
        ])  # fmt: skip
        return unpacked

    def queues(self) -> dict[str, int]:
        """What waits in the ledger, where webhooks are read and the ledger answers; `given_up` are scores no CRM would take."""
        if self.hooks:
            with suppress(ForesellError), self._archive.guarding():
                return self._archive.ledger.waiting()._asdict()
        return {}

    def _answer_received(self, entity: str, names: Sequence[str], asks: Sequence[Ask], now: datetime) -> list[Answer]:
        """The answers about what a webhook brought; without names, of every propensity of the entity that has a champion."""
        opened = [name for name, desk in self._lineup.desks.items() if isinstance(desk, Desk) and desk.entity == entity]
        wanted = [name for name in opened if not names or name in names]
        call = Call(uuid4().hex, None, "hook")
        if not wanted:
            return []
        remembered = self._remembered(entity, wanted, asks, now)
        return [answer for part in self._answering.answer(wanted, remembered, now, call) for answer in part]

    def _remembered(self, entity: str, names: Sequence[str], asks: Sequence[Ask], now: datetime) -> list[Ask]:
        """What is asked, of those the online store does not know yet with what was given of them before.

        A webhook brings only what has changed; who is new today is in no snapshot before tonight.

        Raises:
            StoreError: the online store or the ledger does not answer; nobody waits, so the record does.
        """
        reader = self._readers[entity]
        known = reader.known([Ask(ask.entity_id) for ask in asks], now)
        new = [ask.entity_id or "" for ask, one in zip(asks, known, strict=True) if one is None]
        with self._archive.guarding():
            before = {who: stored for name in names for who, stored in self._archive.ledger.latest(name, new).items()}
        return [
            replace(ask, given={**reader.given_before(before[ask.entity_id or ""]), **ask.given})
            if ask.entity_id in before else ask
            for ask in asks
        ]  # fmt: skip
