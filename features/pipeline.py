"""Redis commands sent in one go and their answers read in one go, within a deadline, from many threads at once.

Over redis-py's own connections, but with commands that are bytes already, and without the bookkeeping of its pipeline.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from redis.connection import Connection


class Pipeline:
    """A Redis to which every thread that asks at the same time has a connection to itself.

    Who finds a connection closed by the other side, as after a restart, opens a new one and asks once more; so a command must be
    one that may be done twice. A time-out is final.
    """

    def __init__(self, options: dict[str, Any], deadline: timedelta | None) -> None:
        """Take the options of a redis-py client; nothing is connected yet."""
        from redis import ConnectionError as Closed
        from redis import Redis, ResponseError, TimeoutError

        pool = Redis(**options).connection_pool
        self._make, self._options = pool.connection_class, pool.connection_kwargs
        self._closed, self._late, self._refused = Closed, TimeoutError, ResponseError
        self._deadline = deadline
        self._spare: deque[Connection] = deque()

    def ask(self, keys: Sequence[bytes], commands: Sequence[bytes]) -> list[Any]:
        """The answer to each command, in the same order; the one server has every key.

        Raises:
            RedisError: the server does not answer in time, or refuses a command; others may have been done by then.
        """
        found = self.answers(commands)
        for answer in found:
            if isinstance(answer, self._refused):
                raise answer
        return found

    def answers(self, commands: Sequence[bytes]) -> list[Any]:
        """As `ask`, with the refusal of a command as its answer."""
        ends = time.monotonic() + self._deadline.total_seconds() if self._deadline else float("inf")
        try:
            connection = self._spare.pop()
        except IndexError:
            return self._answered(self._make(**self._options), commands, ends)
        try:
            return self._answered(connection, commands, ends)
        except self._closed:
            self._spare.clear()  # the others are of the same server
            return self._answered(self._make(**self._options), commands, ends)

    def _answered(self, connection: Connection, commands: Sequence[bytes], ends: float) -> list[Any]:
        try:
            connection.send_packed_command([b"".join(commands)])
            found = []
            for _ in commands:
                found.append(self._next(connection))
                if time.monotonic() > ends:
                    raise self._late(f"{len(found)} of {len(commands)} answers when the time was up")
        except BaseException:
            connection.disconnect()  # answers may be on their way that nobody is to take for those of others
            raise
        self._spare.append(connection)
        return found

    def _next(self, connection: Connection) -> Any:
        try:
            return connection.read_response()
        except self._refused as refusal:
            return refusal
