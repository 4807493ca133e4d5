"""Rounds: a thread that does one thing again and again, at once while there is more to do, else after a pause."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from threading import Event, Thread

from features.errors import StoreError

PAUSE_SECONDS = 0.3
PAUSE_AFTER_ERROR_SECONDS = 2.0
_LOG = logging.getLogger(__name__)


class Rounds:
    """A thread of its own; nothing runs before `start`.

    Args:
        name: the thread's name, for the log.
        one: does one round at an instant, such as `Worker.work`, and says how much it has done.
        clock: the instant of each round.
    """

    def __init__(self, name: str, one: Callable[[datetime], int], clock: Callable[[], datetime]) -> None:
        self._name, self._one, self._clock = name, one, clock
        self._ending = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Begin no more rounds."""
        self._ending.set()

    def stop(self, patience_seconds: float = 10.0) -> bool:
        """End after the round under way; whether it has ended in that time."""
        self.end()
        self._thread.join(patience_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._ending.is_set():
            self._ending.wait(self._round())

    def _round(self) -> float:
        """Do one round; how many seconds to wait then. No error ends the thread: what waits must not wait for ever."""
        try:
            return 0.0 if self._one(self._clock()) else PAUSE_SECONDS
        except StoreError as error:
            _LOG.warning("%s: %s: expected %s, received %s", self._name, error.where, error.expected, error.received)
        except Exception as error:  # its words may be a record's
            _LOG.error("%s: %s", self._name, type(error).__name__)
        return PAUSE_AFTER_ERROR_SECONDS
