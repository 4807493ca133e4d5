"""How new tables take effect: written aside, named by their content, and put in force by replacing one file.

`data/tables/.building` is where an ingest writes; a later one clears away what a killed one left there. Two versions stay: the
one in force, and the one before it for whoever still reads it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb

from features.catalog import CATALOG_FILE, Catalog, StoredTable
from features.database import identifier, quote
from features.errors import WorkspaceError
from features.ruleset import FAIL_BELOW
from features.settings import Workspace

BUILDING = ".building"
LOCK = ".lock"


@contextmanager
def building(workspace: Workspace) -> Iterator[Path]:
    """An empty folder to write tables into, for one ingest at a time; cleared away afterwards, whatever happened.

    Raises:
        WorkspaceError: another ingest is at work in this workspace.
    """
    folder = workspace.tables / BUILDING
    with _alone(workspace):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone(workspace: Workspace) -> Iterator[None]:
    workspace.tables.mkdir(parents=True, exist_ok=True)
    with (workspace.tables / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise WorkspaceError(
                f"workspace {workspace.root}",
                expected="one ingest at a time",
                received="another one at work",
                repair="wait until it has finished",
            ) from None
        yield


def digest(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, StoredTable], folder: Path) -> str:
    """A digest of the rows of all tables that does not depend on their order: counts, sums and parities of row hashes."""
    contents = {name: [table.columns, *_fingerprint(connection, table, folder)] for name, table in tables.items()}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:16]


def publish(workspace: Workspace, folder: Path, catalog: Catalog) -> Catalog:
    """Put the tables in `folder` in force, and return the catalog that names where they are now.

    Nothing has changed until the catalog's file is replaced, and everything has from then on.
    """
    last = Catalog.load(workspace) if (workspace.tables / CATALOG_FILE).is_file() else None
    placed = replace(catalog, tables={name: _placed(table, catalog.version, last) for name, table in catalog.tables.items()})
    if not all(placed.path(workspace, name).is_file() for name in placed.tables):
        shutil.rmtree(workspace.tables / catalog.version, ignore_errors=True)
        _flush(folder)
        folder.rename(workspace.tables / catalog.version)
    placed.save(workspace)
    _forget(workspace.tables, catalog.version, last.version if last else None)
    return placed


def accept_rows(workspace: Workspace) -> Catalog:
    """Take the row counts in force as right: later ones are compared with them, not with those of an ingest before.

    Raises:
        TableError: nothing has been ingested.
        WorkspaceError: an ingest is at work in this workspace.
    """
    with _alone(workspace):
        catalog = Catalog.load(workspace)
        tables = {name: replace(table, previous_rows=table.rows) for name, table in catalog.tables.items()}
        accepted = replace(catalog, tables=tables)
        accepted.save(workspace)
    return accepted


def _placed(table: StoredTable, version: str, last: Catalog | None) -> StoredTable:
    before = last.tables.get(table.name) if last else None
    compared = None if before is None else _comparable(before, is_same=last is not None and last.version == version)
    return replace(table, file=f"{version}/{table.file}", previous_rows=compared)


def _comparable(before: StoredTable, *, is_same: bool) -> int:
    """The rows to compare with: those of the last ingest, unless it was refused for having too few, or was of the same export.

    Otherwise a second ingest of a truncated export would compare it with itself.
    """
    known = before.previous_rows
    return known if known is not None and (is_same or before.rows < FAIL_BELOW * known) else before.rows


def _fingerprint(connection: duckdb.DuckDBPyConnection, table: StoredTable, folder: Path) -> list[str]:
    row_hash = f"hash({', '.join(identifier(name) for name in sorted(table.columns))})"
    source = f"read_parquet('{quote(str(folder / table.file))}')"
    row = connection.execute(f"select count(*), sum({row_hash}), bit_xor({row_hash}) from {source}").fetchone()
    return [str(value) for value in row or ()]


def _flush(folder: Path) -> None:
    """Hand every file over to the disk, so that a catalog never names what a power cut lost."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _forget(tables: Path, current: str, previous: str | None) -> None:
    """Remove every version but the one in force and the one before it."""
    others = sorted((path for path in tables.iterdir() if _is_version(path, current)), key=lambda path: path.stat().st_mtime)
    kept = previous if previous not in (None, current) else others[-1].name if others else None
    for path in others:
        if path.name != kept:
            shutil.rmtree(path, ignore_errors=True)


def _is_version(path: Path, current: str) -> bool:
    return path.is_dir() and path.name not in (current, BUILDING)
