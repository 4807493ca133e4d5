"""Feature tables computed elsewhere (dbt, a warehouse), copied beside the snapshots so that Feast joins them like any other view.

A row of such a table is what somebody else's computation said of an entity, known from its timestamp on. Feast joins the newest
row at or before an as_of, while everywhere in Foresell a fact counts only *before* the as_of. The copy is therefore stamped one
microsecond later: a row of exactly the as_of stays invisible, and one a microsecond older is seen.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from glob import glob
from pathlib import Path

import duckdb
import pyarrow.parquet

from features.catalog import Catalog
from features.database import connect, identifier, quote
from features.errors import TableError, WorkspaceError, nearest
from features.forgetting.forgotten import Forgotten
from features.forgetting.rows import columns_of, leave_out
from features.manifest import Manifest, digest
from features.personal import refuse_personal
from features.settings import External, Workspace
from features.views import views

FILE = "table.parquet"
STAMP = "cast({column} as timestamptz) + interval 1 microsecond"


def refresh(workspace: Workspace) -> None:
    """Copy every external table whose file or declaration changed since it was last copied.

    The copy has `entity_id` VARCHAR, `event_timestamp` TIMESTAMPTZ and one DOUBLE or VARCHAR per declared column, named
    `<table>_<column>`.

    Raises:
        WorkspaceError: the file, or a column that foresell.toml names, is not there; a column is declared as a timestamp, or its
            name is that of something that names a person.
        TableError: values that are not what was declared, rows without id or time, or two rows of one entity at one instant.
    """
    for view in views(workspace, Catalog.load(workspace)):
        if view.external:
            table = workspace.settings.external[view.name]
            for column in table.columns:
                refuse_personal(f"[external.{view.name}.columns]", column)
            _refresh(workspace, view.name, table)


def delivered(workspace: Workspace) -> dict[str, str]:
    """For every external table, a digest of its declaration and of the state of its files.

    Raises:
        WorkspaceError: a file is not there.
    """
    return {name: _digest(table, _paths(workspace, name, table)) for name, table in workspace.settings.external.items()}


def held(workspace: Workspace) -> dict[str, str | None]:
    """For every external table, the same digest of what was last copied; None where nothing was."""
    return {
        name: Manifest(workspace.snapshots / table.entity / name).digest_of(FILE)
        for name, table in workspace.settings.external.items()
    }


def _refresh(workspace: Workspace, name: str, table: External) -> None:
    paths = _paths(workspace, name, table)
    folder = workspace.snapshots / table.entity / name
    manifest, content = Manifest(folder), _digest(table, paths)
    if manifest.holds(FILE, content):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with connect(workspace) as connection:
        _copy(connection, name, table, paths, folder / FILE)
    _leave_out_forgotten(workspace, table.entity, folder / FILE)
    manifest.add(FILE, content)
    manifest.save()


def _leave_out_forgotten(workspace: Workspace, entity: str, path: Path) -> None:
    """Take those who are forgotten out of a copy; whoever made the table has to do so for themselves."""
    forgotten = Forgotten(workspace)
    if len(forgotten):
        ids = pyarrow.parquet.read_table(path, columns=["entity_id"])["entity_id"].unique().to_pylist()
        leave_out(path, forgotten.person(entity, ids), columns_of(entity))


def _paths(workspace: Workspace, name: str, table: External) -> list[Path]:
    pattern = workspace.root / table.path
    paths = [Path(path) for path in sorted(glob(str(pattern)))]  # noqa: PTH207 - an absolute pattern may lie anywhere
    if paths:
        return paths
    neighbours = [path.name for path in pattern.parent.glob("*")] if pattern.parent.is_dir() else []
    raise WorkspaceError(
        f"[external.{name}] path",
        expected="a Parquet file, or a pattern such as marts/*.parquet",
        received=f"nothing at {pattern}{_near(pattern.name, neighbours)}",
        repair="correct `path` in foresell.toml; it is relative to the workspace",
    )


def _digest(table: External, paths: Iterable[Path]) -> str:
    states = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in paths]
    return digest(table.model_dump_json(), json.dumps(states))


def _copy(connection: duckdb.DuckDBPyConnection, name: str, table: External, paths: Iterable[Path], target: Path) -> None:
    source = "read_parquet([" + ", ".join(f"'{quote(str(path))}'" for path in paths) + "])"
    present = {row[0]: row[1] for row in connection.execute(f"describe select * from {source}").fetchall()}
    casts = _casts(name, table, present)
    for column, cast in casts.items():
        _require_castable(connection, source, name, column, cast)
    entity_id, stamp = f"cast({identifier(table.id)} as varchar)", STAMP.format(column=identifier(table.timestamp))
    _require_one_row_each(connection, f"select {entity_id} as entity_id, {stamp} as stamp from {source}", name, table)
    columns = "".join(f", {_value(column, casts[column])} as {identifier(f'{name}_{column}')}" for column in table.columns)
    neighbour = target.with_name(f".{target.name}.{os.getpid()}")
    selected = f"select {entity_id} as entity_id, {stamp} as event_timestamp{columns} from {source}"
    connection.execute(f"copy ({selected}) to '{quote(str(neighbour))}' (format parquet)")
    neighbour.replace(target)


def _casts(name: str, table: External, present: dict[str, str]) -> dict[str, str]:
    """The type to which each column is cast, once it is certain that the columns are there."""
    for column in (table.id, table.timestamp, *table.columns):
        if column not in present:
            raise WorkspaceError(
                f"[external.{name}] column {column!r}",
                expected=f"a column of the file: {', '.join(present)}",
                received=f"none of that name{_near(column, present)}",
                repair="correct the name in foresell.toml, or add the column where the file is made",
            )
    for column, attribute in table.columns.items():
        if attribute.type == "timestamp":
            raise WorkspaceError(
                f"[external.{name}.columns] {column!r}",
                expected="a number or a category",
                received="type timestamp, whose distance to an as_of cannot be computed elsewhere",
                repair="deliver the time as a row of a canonical table, or days since it as a number",
            )
    if present[table.id] in ("DOUBLE", "FLOAT"):
        raise TableError(
            f"external table {name}, column {table.id!r}",
            expected="ids as text or whole numbers",
            received="decimal numbers, under which 42 reads as 42.0 and meets no id of the CRM",
            repair="cast the column where the file is made",
        )
    features = {column: "varchar" if a.type in ("category", "id") else "double" for column, a in table.columns.items()}
    return {table.timestamp: "timestamptz", **features}


def _value(column: str, cast: str) -> str:
    """A column as it is copied; NaN is missing, because DuckDB takes it for greater than every number and Python does not."""
    value = f"cast({identifier(column)} as {cast})"
    return f"nullif({value}, 'nan'::double)" if cast == "double" else value


def _require_castable(connection: duckdb.DuckDBPyConnection, source: str, name: str, column: str, cast: str) -> None:
    named = identifier(column)
    wrong = f"from {source} where {named} is not null and try_cast({named} as {cast}) is null"
    examples = connection.execute(f"select distinct {named}::varchar as value {wrong} order by value limit 5").fetchall()
    if examples:
        raise TableError(
            f"external table {name}, column {column!r}",
            expected="instants" if cast == "timestamptz" else "numbers",
            received="values such as " + ", ".join(repr(row[0]) for row in examples),
            repair="mend the column where the file is made, or declare it as a category in foresell.toml",
        )


def _require_one_row_each(connection: duckdb.DuckDBPyConnection, rows: str, name: str, table: External) -> None:
    unknown = connection.execute(f"select count(*) from ({rows}) where entity_id is null or stamp is null").fetchall()[0][0]
    if unknown:
        raise TableError(
            f"external table {name}",
            expected=f"`{table.id}` and `{table.timestamp}` in every row",
            received=f"{unknown} rows without one of them",
            repair="leave such rows out where the file is made",
        )
    twice = connection.execute(
        f"select entity_id from ({rows}) group by entity_id, stamp having count(*) > 1 order by entity_id limit 5"
    ).fetchall()
    if twice:
        raise TableError(
            f"external table {name}",
            expected=f"one row per `{table.id}` and `{table.timestamp}`",
            received="more than one for " + ", ".join(repr(row[0]) for row in twice),
            repair="keep the newest of such rows where the file is made: which one to believe cannot be told here",
        )


def _near(word: str, known: Iterable[str]) -> str:
    close = nearest(word, known)
    return f"; did you mean {close!r}?" if close else ""
