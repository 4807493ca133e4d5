"""The database under the ledger: made on first write, asked within a deadline, and errors that say what to do."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, Executable, create_engine, event, insert, inspect, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from features.errors import StoreError
from serving.ledger.address import Address
from serving.ledger.failure import failed, unstorable
from serving.ledger.table import METADATA, SCHEMA, VERSION

WRITE_MS = 5_000
READERS = 4
LOCK = 0x466F7265  # whoever creates or claims in PostgreSQL holds this advisory lock


class Database:
    """Two ways in: `read` within a short deadline for the hot path, `select` and `writing` with patience for the rest.

    Statements for `read` and `write_many` are text, with `?` for a parameter.
    """

    def __init__(self, address: Address, read_ms: int, write_ms: int = WRITE_MS) -> None:
        self.address = address
        self.is_file = address.path is not None
        self._read_seconds = read_ms / 1000
        self._quick = _engine(address, read_ms, pool_reset_on_return=None)
        self._calm = _engine(address, write_ms, pool_pre_ping=True)
        self._readers = None if self.is_file else ThreadPoolExecutor(READERS, "ledger")
        self._lock = Lock()
        self._made = False

    def close(self) -> None:
        """Close every connection."""
        if self._readers:
            self._readers.shutdown(wait=False, cancel_futures=True)
        self._quick.dispose()
        self._calm.dispose()

    def read(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """The rows of a statement, raw as the driver gives them; none before anything was written.

        Raises:
            StoreError: there is no answer within the deadline.
        """
        with self._answering():
            if self._readers is None:
                return self._fetch(statement, parameters) if self._is_made() else []
            return self._readers.submit(self._fetch_if_made, _for_psycopg(statement), parameters).result(self._read_seconds)

    def select(self, statement: Executable) -> list[Any]:
        """The rows of a statement; none before anything was written.

        Raises:
            StoreError: the database does not answer.
        """
        with self._answering():
            if not self._is_made():
                return []
            with self._calm.connect() as connection:
                return list(connection.execute(statement).all())

    @contextmanager
    def writing(self, alone: bool = False) -> Iterator[Connection]:
        """A transaction, which is undone when anything is raised. The database is made if there is none.

        Args:
            alone: nobody else is in such a transaction; in SQLite nobody ever is.

        Raises:
            StoreError: the database does not answer, or cannot hold more.
            CallError: a value is one that no database can hold.
        """
        with self._answering():
            self._make()
            with self._calm.connect() as connection, _transaction(connection, self.is_file, alone):
                yield connection

    def write_many(self, connection: Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run a statement for each row, within `writing`."""
        connection.exec_driver_sql(statement if self.is_file else _for_psycopg(statement), list(rows))

    def _fetch_if_made(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        return self._fetch(statement, parameters) if self._is_made() else []

    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Below SQLAlchemy's own statements, which cost more than the look-up."""
        connection = self._quick.raw_connection()
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(statement, parameters)
                return list(cursor.fetchall())
        except Exception:
            connection.invalidate()
            raise
        finally:
            connection.close()

    def _is_made(self) -> bool:
        """Whether there are tables, of a version that this release knows."""
        if self._made or (self.address.path and not self.address.path.exists()):
            return self._made
        with self._calm.connect() as connection:
            self._made = inspect(connection).has_table(SCHEMA.name) and self._is_known(connection)
        return self._made

    def _is_known(self, connection: Connection) -> bool:
        version = connection.execute(select(SCHEMA.c.version)).scalar_one()
        if version > VERSION:
            raise StoreError(
                self.address.where,
                expected=f"a ledger of version {VERSION} or older",
                received=f"version {version}, which a newer release of Foresell wrote",
                repair="run that release, or name another database in `[serving] ledger`",
            )
        return True

    def _make(self) -> None:
        """Create what is absent; processes may do so at once."""
        with self._lock:
            if self._is_made():
                return
            if self.address.path and not self.address.path.exists():
                _make_file(self.address.path)
            with self._calm.connect() as connection, _transaction(connection, self.is_file, alone=True):
                METADATA.create_all(connection)
                if connection.execute(select(SCHEMA.c.version)).first() is None:
                    connection.execute(insert(SCHEMA).values(version=VERSION))
            self._is_made()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        driver = self._calm.dialect.loaded_dbapi
        try:
            yield
        except Late:
            raise failed(self.address, f"no answer within {self._read_seconds:g} s") from None
        except (SQLAlchemyError, driver.Error, UnicodeEncodeError, OverflowError, OSError) as problem:
            cause = problem.orig if isinstance(problem, DBAPIError) else problem
            wrong = (driver.DataError, driver.IntegrityError, UnicodeEncodeError, OverflowError)
            error = unstorable if isinstance(cause, wrong) else failed
            raise error(self.address, str(cause)) from None


class Part:
    """What each part of the ledger has: the database."""

    def __init__(self, database: Database) -> None:
        self._database = database


def _for_psycopg(statement: str) -> str:
    return statement.replace("?", "%s")


def _engine(address: Address, patience_ms: int, **options: Any) -> Engine:
    """Without transactions of the driver's own: SQLite's would begin too late to be waited for."""
    engine = create_engine(**address.engine(patience_ms), isolation_level="AUTOCOMMIT", **options)
    if address.path:
        event.listen(engine, "connect", lambda connection, _: connection.execute("pragma synchronous = normal"))
    return engine


@contextmanager
def _transaction(connection: Connection, is_file: bool, alone: bool) -> Iterator[None]:
    """What is not committed at the end, closing the connection undoes."""
    connection.exec_driver_sql("begin immediate" if is_file else "begin")
    if alone and not is_file:
        connection.exec_driver_sql(f"select pg_advisory_xact_lock({LOCK})")
    yield
    connection.exec_driver_sql("commit")


def _make_file(path: Path) -> None:
    """An empty database in WAL mode, linked into its place: SQLite fails where two change the mode of one file at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    neighbour = path.with_name(f".{path.name}.{os.getpid()}")
    neighbour.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(neighbour)) as connection:
            connection.execute("pragma journal_mode = wal")
        with suppress(FileExistsError):
            os.link(neighbour, path)
    finally:
        neighbour.unlink(missing_ok=True)
