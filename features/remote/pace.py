"""The pace: a token bucket, so that a target is not called more often than it allows."""

from __future__ import annotations

from collections.abc import Callable

Clock = Callable[[], float]
Sleep = Callable[[float], None]


class Pace:
    """So many calls a second in the long run, and as many at once after a pause.

    Args:
        per_second: calls.
        clock: seconds that only grow, such as `time.monotonic`.
        sleep: waits so many seconds, such as `time.sleep`.
    """

    def __init__(self, per_second: float, clock: Clock, sleep: Sleep) -> None:
        self._per_second, self._clock, self._sleep = per_second, clock, sleep
        self._most = max(1.0, per_second)
        self._tokens, self._at = self._most, clock()

    def take(self) -> None:
        """Wait until the next call may be made."""
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._at) * self._per_second) - 1
        self._at = now
        if self._tokens < 0:
            self._sleep(-self._tokens / self._per_second)
