"""A deadline: one instant by which several things that follow one another must all be done."""

from __future__ import annotations

import time
from collections.abc import Callable


class Deadline:
    """Begins to run when it is made."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin.

        Args:
            seconds: how long there is for everything together.
            clock: seconds; a monotonic one, so that a wall clock that jumps gives and takes no time.
        """
        self._clock = clock
        self._end = clock() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left, never less than 0."""
        return max(0.0, self._end - self._clock())
