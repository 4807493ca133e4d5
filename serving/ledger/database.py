"""The database under the ledger: made on first write, asked within a deadline, and errors that say what to do."""

from __future__ import annotations

import os
import re
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import closing, contextmanager, suppress
from functools import partial
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, Executable, Table, create_engine, insert, inspect, select
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from features.errors import StoreError, WorkspaceError
from features.forgetting.sqlite import compacted
from serving.ledger.address import Address
from serving.ledger.failure import failed, is_of_value, unstorable
from serving.ledger.table import METADATA, SCHEMA, VERSION

WRITE_MS = 5_000
READERS = 4
ROWS_AT_ONCE = 100
VALUES_PER_READ = 10_000  # SQLite has a limit of 32,766
PAGES_OF_A_WRITER = 8_000  # of SQLite's that it keeps in memory, 64 MB at most: what it changes now it often changes again
PAGE_BYTES = 8_192  # three stored scores, where 4,096 hold one and leave a third empty
_ROW = re.compile(r"values (\((?:\?, )*\?\))")
LOCK = 0x466F7265  # whoever creates or claims in PostgreSQL holds this advisory lock


class Database:
    """Two ways in: `read` within a short deadline for the hot path, `select` and `writing` with patience for the rest.

    Statements for `read`, `rows` and `write_many` are text, with `?` for a parameter.
    """

    def __init__(self, address: Address, read_ms: int, write_ms: int = WRITE_MS) -> None:
        self.address = address
        self.is_file = address.path is not None
        self._read_ms = read_ms
        self._idle: deque[Any] = deque()
        self._calm = _engine(address, write_ms)
        self._readers = None if self.is_file else ThreadPoolExecutor(READERS, "ledger")
        self._lock = Lock()
        self._made = False
        self._there: set[str] = set()

    def close(self) -> None:
        """Close every connection."""
        if self._readers:
            self._readers.shutdown(wait=False, cancel_futures=True)
        while self._idle:
            self._idle.pop().close()
        self._calm.dispose()

    def read(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """The rows of a statement, raw as the driver gives them; none before anything was written.

        Raises:
            StoreError: there is no answer within the deadline.
        """
        with self._answering():
            if self._readers is None:
                return self._fetch(statement, parameters) if self._is_made() else []
            return self._readers.submit(self._fetch_if_made, _for_psycopg(statement), parameters).result(self._read_ms / 1000)

    def select(self, statement: Executable) -> list[Any]:
        """The rows of a statement; none before anything was written.

        Raises:
            StoreError: the database does not answer.
        """
        return self._calmly(lambda connection: connection.execute(statement).all())

    def column(self, statement: Executable) -> list[Any]:
        """The first column of the rows of a statement, as `select`, at half the cost.

        Raises:
            StoreError: the database does not answer.
        """
        return self._calmly(lambda connection: connection.scalars(statement).all())

    def rows(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """As `read`, with patience; raw rows, a quarter of what they cost `select`.

        Raises:
            StoreError: the database does not answer.
        """
        text = statement if self.is_file else _for_psycopg(statement)
        return self._calmly(lambda connection: connection.exec_driver_sql(text, tuple(parameters)).cursor.fetchall())

    def read_among(self, statement: str, fixed: Sequence[Any], values: Sequence[str] | Sequence[bytes]) -> list[Any]:
        """As `read`, of a statement that ends where the values belong; of any number of them.

        Raises:
            StoreError: there is no answer within the deadline.
        """
        if not self.is_file:
            return self.read(f"{statement} = any(?)", (*fixed, list(values)))
        asked = ((f"{statement} in ({', '.join('?' * len(some))})", (*fixed, *some)) for some in in_parts(values))
        return [row for one in asked for row in self.read(*one)]

    def _calmly(self, fetch: Callable[[Connection], Sequence[Any]]) -> list[Any]:
        with self._answering():
            if not self._is_made():
                return []
            with self._calm.connect() as connection:
                return list(fetch(connection))

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

    def has(self, table: Table) -> bool:
        """Whether a table is there; one that a release added is not, in a ledger that an older one made.

        Raises:
            StoreError: the database does not answer.
        """
        if table.name not in self._there:
            with self._answering():
                if not self._is_made():
                    return False
                with self._calm.connect() as connection:
                    if inspect(connection).has_table(table.name):
                        self._there.add(table.name)
        return table.name in self._there

    def add(self, table: Table) -> None:
        """Make a table in a ledger that an older release made; processes may do so at once.

        Raises:
            StoreError: the database does not answer.
        """
        if not self.has(table):
            with self.writing(alone=True) as connection:
                table.create(connection, checkfirst=True)

    @contextmanager
    def holding(self, name: str) -> Iterator[bool]:
        """Whether this is the only one to hold a lock of that name, which ends with the block or with the process.

        Only PostgreSQL has such locks; in SQLite it always is.

        Raises:
            StoreError: the database does not answer.
        """
        if self.is_file:
            yield True
            return
        key = int.from_bytes(sha256(name.encode()).digest()[:8], signed=True)
        with self._answering():
            connection = self._calm.connect()
            connection.detach()  # so that closing it ends the session, and with it the lock
        try:
            with self._answering():
                is_held = bool(connection.exec_driver_sql("select pg_try_advisory_lock(%s)", (key,)).scalar_one())
            try:
                yield is_held
            finally:
                if is_held:
                    with suppress(SQLAlchemyError):  # a closed session keeps its lock until the server has noticed
                        connection.exec_driver_sql("select pg_advisory_unlock(%s)", (key,))
        finally:
            connection.close()

    def compact(self, tables: Sequence[str]) -> None:
        """See to it that nothing stays of what was deleted: SQLite's file is written anew, PostgreSQL's tables are vacuumed.

        Raises:
            StoreError: the database does not answer, or somebody holds it for longer than a write may take.
        """
        with self._answering():
            if not self._is_made():
                return
            with self._calm.connect() as connection:
                if self.is_file:
                    compacted(connection.connection.driver_connection)  # type: ignore[arg-type]
                else:
                    for table in tables:
                        connection.exec_driver_sql(f"vacuum {table}")

    def write_many(self, connection: Connection, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement for each row, within `writing`; in SQLite one that inserts, for many at once.

        Between two rows it gives up the interpreter's lock and asks for it again, and whoever answers meanwhile waits for it too.
        """
        if not self.is_file:
            connection.exec_driver_sql(_for_psycopg(statement), list(rows))
            return
        several = _ROW.sub(lambda row: "values " + ", ".join([row[1]] * ROWS_AT_ONCE), statement)
        waiting = iter(rows)
        while some := list(islice(waiting, ROWS_AT_ONCE)):
            if len(some) == ROWS_AT_ONCE and several != statement:
                connection.exec_driver_sql(several, tuple(chain.from_iterable(some)))
            else:
                connection.exec_driver_sql(statement, some)

    def _fetch_if_made(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        return self._fetch(statement, parameters) if self._is_made() else []

    def _fetch(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        """Below SQLAlchemy, whose pool and statements cost five times the look-up."""
        while True:
            connection = self._take_idle()
            fresh = connection is None
            connection = connection or self.address.connect(self._read_ms)
            try:
                rows = list(connection.execute(statement, parameters).fetchall())
            except BaseException:
                broken = getattr(connection, "broken", False)
                connection.close()
                if fresh or not broken:
                    raise
            else:
                self._idle.append(connection)
                return rows

    def _take_idle(self) -> Any:
        """A connection that nobody uses; it may have broken since."""
        try:
            return self._idle.pop()
        except IndexError:
            return None

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
            raise failed(self.address, f"no answer within {self._read_ms} ms") from None
        except (SQLAlchemyError, driver.Error, UnicodeEncodeError, OverflowError, OSError) as problem:
            cause = (problem.orig if isinstance(problem, DBAPIError) else None) or problem
            of_value = isinstance(cause, (driver.DataError, driver.IntegrityError)) or is_of_value(cause)
            raise (unstorable if of_value else failed)(self.address, str(cause)) from None


class Part:
    """What each part of the ledger has: the database."""

    def __init__(self, database: Database) -> None:
        self._database = database


def in_parts(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Values, no more at once than a statement takes."""
    for start in range(0, len(values), VALUES_PER_READ):
        yield values[start : start + VALUES_PER_READ]


def _for_psycopg(statement: str) -> str:
    return statement.replace("?", "%s")


def _engine(address: Address, patience_ms: int) -> Engine:
    """Without transactions of the driver's own: SQLite's would begin too late to be waited for."""
    try:
        return create_engine(
            address.url,
            creator=partial(address.connect, patience_ms, PAGES_OF_A_WRITER),
            isolation_level="AUTOCOMMIT",
            pool_pre_ping=True,
        )
    except ModuleNotFoundError:
        raise WorkspaceError(
            "[serving] ledger in foresell.toml",
            expected="the driver of its database",
            received="psycopg is not installed",
            repair="pip install 'foresell[postgres]'",
        ) from None


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
    with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        neighbour = Path(folder) / path.name
        neighbour.touch(0o600)  # it holds what is known of people
        with closing(sqlite3.connect(neighbour)) as connection:
            connection.execute(f"pragma page_size = {PAGE_BYTES}")
            connection.execute("pragma journal_mode = wal")
        with suppress(FileExistsError):
            os.link(neighbour, path)
