"""The canonical tables without the forgotten: what ingest leaves out of an export, and what goes from the tables in force.

A row that names the person goes, in tables of every kind; so do their vehicles. A row of somebody else that only refers to them,
a lead to its customer or a workshop visit to a vehicle that was theirs, stays and refers to nobody.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb

from features import publication
from features.catalog import CATALOG_FILE, Catalog, StoredTable
from features.database import connect, identifier, quote
from features.forgetting.forgotten import Forgotten
from features.forgetting.person import Person
from features.forgetting.place import Place
from features.settings import Workspace
from features.tables import ENTITY_KEYS, LEADS, SERVICE_VISITS, VEHICLES

IDS_AT_ONCE = 100_000
_OWNERS = {key: entity for entity, key in ENTITY_KEYS.items()}


def leave_out(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Path], forgotten: Forgotten) -> dict[str, int]:
    """Take the rows of all who are forgotten out of new tables.

    Args:
        connection: for the work.
        files: the Parquet file of each table.
        forgotten: who may not be in them.

    Returns:
        By table, how many rows were left out or made to refer to nobody; tables without any are not named.
    """
    if not len(forgotten):
        return {}
    found = Person()
    for name, path in files.items():
        for entity, ids in _ids(connection, name, path):
            found |= forgotten.person(entity, ids)
    return _without(connection, files, found) if found.every else {}


def forget(workspace: Workspace, person: Person, *, remove: bool) -> list[Place]:
    """Count, or take out, the person's rows of the tables in force and of every version that is still there.

    Raises:
        WorkspaceError: an ingest is at work in this workspace.
    """
    found = [
        Place("table", str((folder / f"{name}.parquet").relative_to(workspace.root)), rows)
        for folder in _versions(workspace)
        for name, rows in _counted(workspace, folder, person).items()
    ]
    if remove and (workspace.tables / CATALOG_FILE).is_file():
        _publish_without(workspace, person)
    return found


def _publish_without(workspace: Workspace, person: Person) -> None:
    """Put tables without the person in force, and remove every other version, which somebody may still have been reading."""
    with publication.building(workspace) as building, connect(workspace) as connection:
        catalog = Catalog.load(workspace)
        files = {name: building / f"{name}.parquet" for name in catalog.tables}
        for name, path in files.items():
            shutil.copyfile(catalog.path(workspace, name), path)
        if _without(connection, files, person):
            tables = {name: _recounted(connection, catalog.tables[name], path) for name, path in files.items()}
            version = publication.digest(connection, tables, building)
            catalog = publication.publish(workspace, building, replace(catalog, version=version, tables=tables))
        for other in _versions(workspace):
            if other.name not in {Path(table.file).parts[0] for table in catalog.tables.values()}:
                shutil.rmtree(other)


def _versions(workspace: Workspace) -> list[Path]:
    return sorted(path for path in workspace.tables.glob("*") if path.is_dir() and path.name != publication.BUILDING)


def _recounted(connection: duckdb.DuckDBPyConnection, table: StoredTable, path: Path) -> StoredTable:
    row = connection.execute(f"select count(*) from {_source(path)}").fetchone()
    return replace(table, file=path.name, rows=int(row[0]) if row else 0)


def _counted(workspace: Workspace, folder: Path, person: Person) -> dict[str, int]:
    files = {path.stem: path for path in sorted(folder.glob("*.parquet"))}
    with connect(workspace) as connection:
        return _touched(connection, files, person)


def _ids(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> Iterator[tuple[str, list[str]]]:
    """The different ids in a table, so many at once, and whose they are."""
    for entity, column, condition in _columns(connection, name, path):
        query = f"select distinct {identifier(column)} from {_source(path)} where {condition}"
        cursor = connection.execute(query)
        while rows := cursor.fetchmany(IDS_AT_ONCE):
            yield entity, [row[0] for row in rows if row[0] is not None]


def _columns(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> list[tuple[str, str, str]]:
    """The columns of a table that hold ids: whose they are, the column, and in which rows."""
    names = _names(connection, path)
    if {"entity", "entity_id"} <= names:
        return [(entity, "entity_id", f"entity = '{entity}'") for entity in _OWNERS.values()]
    return [(entity, column, "true") for column, entity in _OWNERS.items() if column in names]


def _names(connection: duckdb.DuckDBPyConnection, path: Path) -> set[str]:
    return {row[0] for row in connection.execute(f"describe from {_source(path)}").fetchall()}


def _source(path: Path) -> str:
    return f"read_parquet('{quote(str(path))}')"


def _listed(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Path], person: Person) -> None:
    """Make the ids, and those of the person's vehicles, a table of the connection."""
    connection.execute("create or replace temp table forgotten (kind varchar, id varchar)")
    if person.pairs:
        connection.executemany("insert into forgotten values (?, ?)", [list(pair) for pair in person.pairs])
    if VEHICLES.name in files:
        theirs = f"customer_id in {_ids_of('customer')}"
        connection.execute(
            f"insert into forgotten select distinct 'vehicle', vehicle_id from {_source(files[VEHICLES.name])} where {theirs}"
        )


def _ids_of(kind: str) -> str:
    return f"(select id from forgotten where kind = '{kind}')"


def _goes(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> str:
    """SQL: whether a row is the person's own."""
    of = _columns(connection, name, path)
    own = [one for one in of if name != LEADS.name or one[0] == "lead"]
    tests = [f"({condition} and {identifier(column)} in {_ids_of(entity)})" for entity, column, condition in own]
    return f"coalesce({' or '.join(tests) or 'false'}, false)"


def _refers(connection: duckdb.DuckDBPyConnection, name: str, path: Path) -> dict[str, str]:
    """Columns of a row of somebody else that may refer to the person: SQL, whether one does."""
    kinds = {LEADS.name: ("customer_id", "customer"), SERVICE_VISITS.name: ("vehicle_id", "vehicle")}
    column, kind = kinds.get(name, ("", ""))
    return {column: f"coalesce({column} in {_ids_of(kind)}, false)"} if column in _names(connection, path) else {}


def _touched(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Path], person: Person) -> dict[str, int]:
    """By table, how many rows are the person's or refer to them; tables without any are left out."""
    _listed(connection, files, person)
    found = {}
    for name, path in files.items():
        tests = [_goes(connection, name, path), *_refers(connection, name, path).values()]
        row = connection.execute(f"select count(*) from {_source(path)} where {' or '.join(tests)}").fetchone()
        found[name] = int(row[0]) if row else 0
    return {name: rows for name, rows in found.items() if rows}


def _without(connection: duckdb.DuckDBPyConnection, files: Mapping[str, Path], person: Person) -> dict[str, int]:
    touched = _touched(connection, files, person)
    for name in touched:
        path, refers = files[name], _refers(connection, name, files[name])
        nobody = [f"if({test}, null, {column}) as {column}" for column, test in refers.items()]
        chosen = f"* replace ({', '.join(nobody)})" if nobody else "*"
        kept = f"select {chosen} from {_source(path)} where not {_goes(connection, name, path)}"
        neighbour = path.with_suffix(".without")
        connection.execute(f"copy ({kept}) to '{quote(str(neighbour))}' (format parquet, compression zstd)")
        neighbour.replace(path)
    return touched
