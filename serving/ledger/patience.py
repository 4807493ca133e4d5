"""A connection to PostgreSQL that gives up: PostgreSQL's own time limits do not help against a server that stands still."""

from __future__ import annotations

from typing import Any, TypeVar

import psycopg
from psycopg import OperationalError

CONNECT_SECONDS = 2  # the least that the client can be told
Answer = TypeVar("Answer")


class Patience(psycopg.Connection[Any]):
    """Each statement is a transaction of its own. One that takes too long closes the connection.

    Attributes:
        seconds: how long one statement may take.
    """

    seconds: float

    @classmethod
    def ending(cls, address: str, options: str, milliseconds: int) -> Patience:
        """Connect to an address.

        The server gives up at the same time, so that it does not go on working for nobody.
        """
        connection = cls.connect(
            address,
            autocommit=True,
            connect_timeout=CONNECT_SECONDS,
            tcp_user_timeout=CONNECT_SECONDS * 1_000,
            options=f"{options} -c statement_timeout={milliseconds}",
        )
        connection.seconds = 2 * milliseconds / 1_000  # the server's own limit tells more, so it comes first
        return connection

    def execute(self, query: Any, params: Any = None, *, prepare: bool | None = None, binary: bool = True) -> Any:
        """As psycopg's, but bytes come as bytes and not as twice as many digits."""
        return super().execute(query, params, prepare=prepare, binary=binary)

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg's, which every statement goes through."""
        try:
            return super().wait(gen, interval, self.seconds if timeout is None else timeout)
        except OperationalError as problem:
            if self.pgconn.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                self.close()
                raise OperationalError(f"no answer within {self.seconds:g} s") from problem
            raise
