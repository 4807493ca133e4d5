"""Small worlds: workspaces made from a few rows a table, for tests that need exact times."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from features.catalog import Catalog, StoredTable
from features.settings import Attribute, Settings, Workspace
from features.tables import SQL_TYPES, TABLES

Rows = list[dict[str, Any]]


def make_workspace(
    root: Path,
    tables: Mapping[str, Rows],
    *,
    now: str = "2030-01-01",
    attributes: Mapping[str, Mapping[str, Attribute]] | None = None,
    settings: Settings | None = None,
) -> Workspace:
    """A workspace whose canonical tables hold exactly these rows; `known_at` defaults to the table's time, as in ingest."""
    attributes = {table: dict(columns) for table, columns in (attributes or {}).items()}
    workspace = Workspace(root, settings or Settings())
    stored = {name: _store(workspace, name, rows, attributes.get(name, {})) for name, rows in tables.items()}
    digest = hashlib.sha256(repr(sorted(tables.items())).encode()).hexdigest()[:12]
    Catalog(digest, "canonical", now, stored, attributes).save(workspace)
    return workspace


def _store(workspace: Workspace, name: str, rows: Rows, attributes: Mapping[str, Attribute]) -> StoredTable:
    contract = TABLES[name]
    types = {column.name: SQL_TYPES[column.type] for column in contract.all_columns}
    types |= {column: SQL_TYPES[attribute.type] for column, attribute in attributes.items()}
    frame = pd.DataFrame([{column: row.get(column) for column in types} for row in rows], columns=list(types), dtype="object")
    frame["known_at"] = frame["known_at"].where(frame["known_at"].notna(), frame[contract.time])
    path = workspace.tables / "world" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    cast = ", ".join(f'cast("{column}" as {kind}) as "{column}"' for column, kind in types.items())
    keys = ", ".join(contract.key)
    with duckdb.connect() as connection:
        connection.register("raw", frame.astype("string"))
        connection.execute(
            f"copy (select *, lead(known_at) over (partition by {keys} order by known_at) as known_until "
            f"from (select {cast} from raw)) to '{path}' (format parquet)"
        )
    return StoredTable(name, str(path.relative_to(workspace.tables)), len(rows), {**types, "known_until": "TIMESTAMP"})
