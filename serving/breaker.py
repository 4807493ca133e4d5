"""A breaker: after a dependency has failed, callers hear so at once for a while, instead of each waiting for its deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from features.errors import StoreError

PAUSE = 1.0  # seconds


class Breaker:
    """Open after a failure; every pause one caller may try again, and closes it by succeeding."""

    def __init__(self, pause: float = PAUSE, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin closed.

        Args:
            pause: seconds between two tries while the dependency fails.
            clock: seconds; a monotonic one, so that a wall clock that jumps opens and closes nothing.
        """
        self._pause, self._clock = pause, clock
        self._failure: StoreError | None = None
        self._again = 0.0

    @property
    def failure(self) -> StoreError | None:
        """Why the dependency is left alone; None while it works."""
        return self._failure

    @contextmanager
    def guarding(self) -> Iterator[None]:
        """Ask the dependency inside the block.

        Raises:
            StoreError: it fails, or has failed within the pause.
        """
        failure = self._failure  # once: another thread may close the breaker meanwhile
        if failure is not None:
            if self._clock() < self._again:
                raise failure.with_traceback(None)
            self._again = self._clock() + self._pause  # the others wait for what this one finds
        try:
            yield
        except StoreError as failure:
            self._failure, self._again = failure, self._clock() + self._pause
            raise
        self._failure = None
