"""Patience with a source: a call is made again while the source is busy, and what it will not do is told in four parts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

from features.errors import SourceError
from features.remote.failure import Busy, Denied, Refused
from features.remote.pace import Sleep

FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=1), timedelta(minutes=15)
Answer = TypeVar("Answer")


class Patience:
    """How often a source is asked the same, and how it is waited for.

    Args:
        where: the source's table in the settings, for errors.
        attempts: how often a call is made.
        sleep: waits so many seconds.
    """

    def __init__(self, where: str, attempts: int, sleep: Sleep) -> None:
        self._where, self._attempts, self._sleep = where, attempts, sleep

    def ask(self, what: str, call: Callable[[], Answer]) -> Answer:
        """What a call answers.

        Raises:
            SourceError: the source refuses, lets nobody in, or stays busy.
        """
        for attempt in range(self._attempts):
            try:
                return call()
            except Busy as busy:
                wait = min(FIRST_WAIT * 2**attempt, LONGEST_WAIT) if busy.wait is None else busy.wait
                if attempt + 1 == self._attempts or wait > LONGEST_WAIT:
                    asks = f", and wants to be left alone for {wait}" if busy.wait else ""
                    raise self._error(
                        what, "an answer", f"{busy.told}{asks}", "wait, then pull again: it goes on where it was"
                    ) from None
                self._sleep(wait.total_seconds())
            except Denied as denied:
                repair = "renew the credentials, or correct the address, and pull again: it goes on where it was"
                raise self._error(what, "a source that lets us in", denied.told, repair) from None
            except Refused as refused:
                repair = "give the user the right to read it, mend what it says, or add its file to `skip`"
                raise self._error(what, "records with these fields", refused.told, repair) from None
        raise AssertionError("attempts is 1 or more")

    def _error(self, what: str, expected: str, received: str, repair: str) -> SourceError:
        return SourceError(f"{self._where}, {what}", expected=expected, received=received, repair=repair)
