"""The mail of a service: what webhooks brought is scored, and the scores are sent, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from uuid import uuid4

from features.hook import Hook
from serving.hooks.rounds import Rounds
from serving.hooks.sender import Sender, client
from serving.hooks.worker import IsForgotten, Scores, Worker, nobody
from serving.ledger import Ledger


class Mail:
    """A worker and a sender over one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        hooks: Mapping[str, Hook],
        score: Scores,
        clock: Callable[[], datetime],
        is_forgotten: IsForgotten = nobody,
    ) -> None:
        """Make both; `start` begins.

        Args:
            ledger: holds what waits.
            hooks: how each source's records are read, and where its scores go.
            score: answers about what was received.
            clock: the instant of each round.
            is_forgotten: told an entity and an id.
        """
        self._client = client()
        self._inbox = Rounds("inbox", Worker(uuid4().hex, ledger, hooks, score, is_forgotten).work, clock)
        self._outbox = Rounds("outbox", Sender(ledger, hooks, self._client).send, clock)

    def start(self) -> None:
        """Begin both."""
        self._inbox.start()
        self._outbox.start()

    def stop_scoring(self, patience_seconds: float) -> None:
        """Begin no more rounds of either, and wait for the scoring under way; what waits then is done by the next service."""
        self._outbox.end()
        self._inbox.stop(patience_seconds)

    def stop_sending(self, patience_seconds: float) -> None:
        """Wait for the sending under way; what is cut off is sent again by the next service."""
        self._outbox.stop(patience_seconds)
        self._client.close()
