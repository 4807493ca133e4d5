"""What runs the SQL of snapshots: DuckDB on this machine, or Spark on many."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import duckdb

from features.catalog import Catalog
from features.database import quote
from features.manifest import table_digests
from features.settings import Workspace
from features.tables import TABLES

MEMORY = "1GB"  # of a build by DuckDB, where the settings name no limit
ROWS_PER_GROUP = 26_624  # of a file: as many as are read of it at a time (`features.stream`), and a multiple of DuckDB's 2,048
Name = Literal["duckdb", "spark"]


class Folder(Protocol):
    """A folder or a file in one, on a disk (`pathlib.Path`) or in an object store (`features.spark.place.Place`)."""

    @property
    def name(self) -> str: ...
    def __truediv__(self, name: str, /) -> Folder: ...
    def glob(self, pattern: str, /) -> Iterable[Folder]: ...
    def is_file(self) -> bool: ...
    def mkdir(self, *, parents: bool, exist_ok: bool) -> None: ...
    def open(self, mode: Literal["rb"], /) -> IO[bytes]: ...
    def unlink(self) -> None: ...


class Engine(Protocol):
    """What a build needs.

    Attributes:
        version: goes into what a snapshot was built from; empty for DuckDB, whose version stands beside the view's SQL.
        snapshots: the folder of all snapshots.
        relations: for each canonical table, what stands after `from`.
    """

    version: str
    snapshots: Any

    @property
    def relations(self) -> Mapping[str, str]: ...

    def digests(self, table: str, as_ofs: Sequence[datetime]) -> list[str]:
        """For each as_of, a digest of every value of a table that was known before it."""
        ...

    def write(self, statement: str, target: Any, as_ofs: Sequence[datetime]) -> Iterator[datetime]:
        """Run a view's statement, and put the rows of each as_of into a folder; yields each as_of when its files are there.

        They are sorted by entity, so that a range of them is found without reading the others.
        """
        ...


def label(as_of: datetime) -> str:
    """An as_of as a file name, for example 20180515T000000000000Z."""
    return as_of.astimezone(UTC).strftime("%Y%m%dT%H%M%S%fZ")


def file(as_of: datetime, part: int = 0) -> str:
    """The name of a snapshot's file; a large one has several."""
    return f"{label(as_of)}-{part}.parquet" if part else f"{label(as_of)}.parquet"


class DuckdbEngine:
    """One connection, one process, every core."""

    version = ""

    def __init__(self, workspace: Workspace, catalog: Catalog, connection: duckdb.DuckDBPyConnection) -> None:
        self._catalog, self._connection = catalog, connection
        self.snapshots = workspace.snapshots
        self.relations = {name: f"read_parquet('{quote(str(catalog.path(workspace, name)))}')" for name in catalog.tables}

    def digests(self, table: str, as_ofs: Sequence[datetime]) -> list[str]:
        columns = self._catalog.tables[table].columns
        row = self._connection.execute(table_digests(self.relations[table], TABLES[table], columns, as_ofs)).fetchone()
        return [str(value) for value in row or ()]

    def write(self, statement: str, target: Path, as_ofs: Sequence[datetime]) -> Iterator[datetime]:
        self._connection.execute(f"create or replace temp table built as {statement}")
        for as_of in as_ofs:
            path = target / file(as_of)
            neighbour = path.with_suffix(".part")
            chosen = f"from built where event_timestamp = timestamptz '{as_of.isoformat()}' order by entity_id"
            self._connection.execute("set preserve_insertion_order = true")
            self._connection.execute(
                f"copy ({chosen}) to '{quote(str(neighbour))}' (format parquet, row_group_size {ROWS_PER_GROUP})"
            )
            self._connection.execute("set preserve_insertion_order = false")
            neighbour.replace(path)
            yield as_of
