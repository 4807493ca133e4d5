"""Small worlds: workspaces made from a few rows a table, for tests that need exact times."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from features.catalog import Catalog, StoredTable
from features.settings import Attribute, Settings, Workspace
from features.tables import SQL_TYPES, TABLES, Column, Table

Rows = list[dict[str, Any]]


def make_workspace(
    root: Path,
    tables: Mapping[str, Rows],
    *,
    now: str = "2030-01-01",
    attributes: Mapping[str, Mapping[str, Attribute]] | None = None,
    settings: Settings | None = None,
    without: Mapping[str, set[str]] | None = None,
) -> Workspace:
    """A workspace whose canonical tables hold exactly these rows; `known_at` defaults to the table's time, as in ingest.

    `without` names columns that were not delivered, by table.
    """
    attributes = {table: dict(columns) for table, columns in (attributes or {}).items()}
    workspace = Workspace(root, settings or Settings())
    absent = without or {}
    stored = {
        name: _store(workspace, name, rows, attributes.get(name, {}), absent.get(name, set())) for name, rows in tables.items()
    }
    digest = hashlib.sha256(repr(sorted(tables.items())).encode()).hexdigest()[:12]
    Catalog(digest, "canonical", now, stored, attributes).save(workspace)
    return workspace


def _store(workspace: Workspace, name: str, rows: Rows, attributes: Mapping[str, Attribute], absent: set[str]) -> StoredTable:
    contract = TABLES[name]
    types = {column.name: SQL_TYPES[column.type] for column in contract.all_columns if column.name not in absent}
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


INSTANT = pd.Timestamp("2024-06-03")
_CHOICES: dict[tuple[str, str], list[Any]] = {
    ("interactions", "channel"): ["web", "email", "app", "phone"],
    ("interactions", "kind"): [
        "visit",
        "login",
        "open",
        "sent",
        "click",
        "call",
        "test_drive",
        "quote",
        "form",
        "limit_reached",
        "price_view",
        "configurator",
        "chat",
        "meeting",
        "remote_start",
        "unsubscribe",
    ],
    ("cases", "priority"): ["low", "urgent"],
    ("surveys", "kind"): ["nps", "csat", "ces"],
    ("loyalty_events", "kind"): ["earn", "redeem"],
    ("subscriptions", "start_reason"): ["new", "upgrade"],
    ("subscriptions", "end_reason"): ["migrated", "cancelled"],
    ("attribute_history", "field"): ["segment", "size"],
    ("attribute_history", "entity"): ["lead", "customer"],
}


def random_world(seed: int, rows: int = 12) -> dict[str, Rows]:
    """Random rows for every canonical table. Times fall on window edges around INSTANT, and one microsecond beside them."""
    rng = np.random.default_rng(seed)
    ids = ["a", "b", "c"]
    count = {"interactions": 6 * rows}
    world = {
        name: [_row(rng, table, i, ids) for i in range(count.get(name, rows))]
        for name, table in TABLES.items()
        if table.kind != "entity"
    }
    for name, key in (("leads", "lead_id"), ("customers", "customer_id")):
        world[name] = [{**_row(rng, TABLES[name], 0, ids), key: entity} for entity in ids]
    world["vehicles"] = [_row(rng, TABLES["vehicles"], i, ids) for i in range(4)]
    for name, table in TABLES.items():
        world[name] += [_correction(rng, row, table) for row in world[name] if rng.random() < 0.3]
    return world


def random_instant(rng: np.random.Generator, before: pd.Timestamp = INSTANT) -> pd.Timestamp:
    """An instant near an edge: a window before `before`, at it, or a little after; exactly, or one microsecond off."""
    days = int(rng.choice([-30, -1, 0, 0, 1, 7, 14, 30, 60, 90, 180, 200, 365, 400]))
    return before - pd.Timedelta(days=days) + pd.Timedelta(microseconds=int(rng.choice([-1, 0, 0, 1])))


def _row(rng: np.random.Generator, table: Table, number: int, ids: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in table.columns:
        if column.name in ("lead_id", "customer_id", "entity_id"):
            row[column.name] = str(rng.choice(ids)) if column.required or rng.random() < 0.6 else None
        elif column.name in table.key and column.type == "id":
            row[column.name] = f"{table.name}-{number}"
        else:
            row[column.name] = _value(rng, table, column) if column.required or rng.random() < 0.8 else None
    if rng.random() < 0.3:
        row["known_at"] = row[table.time] + pd.Timedelta(days=int(rng.integers(0, 40)))
    return row


def _value(rng: np.random.Generator, table: Table, column: Column) -> Any:
    if column.type == "timestamp":
        return random_instant(rng)
    if column.type == "flag":
        return bool(rng.random() < 0.3)
    if column.type in ("money", "number", "integer"):
        return round(float(rng.integers(1, 10) * 0.37), 2) if column.type != "integer" else int(rng.integers(2000, 2024))
    choices = _CHOICES.get((table.name, column.name)) or list(column.allowed) or ["x", "y"]
    return str(rng.choice(choices))


def _correction(rng: np.random.Generator, row: dict[str, Any], table: Table) -> dict[str, Any]:
    """A later version of a row, with another value somewhere, known at an edge."""
    known = row.get("known_at") or row[table.time]
    later = {**row, "known_at": max(known, random_instant(rng)) + pd.Timedelta(microseconds=int(rng.choice([1, 86_400_000_000])))}
    fixed = (*(key for key in table.key if key != table.time), "entity")
    column = [c for c in table.columns if c.name not in fixed][
        int(rng.integers(len(table.columns) - len(set(fixed) & set(table.names))))
    ]
    if column.references and column.required:
        later[column.name] = str(rng.choice(["a", "b", "c"]))  # the row belongs to somebody else
    elif not column.references and column.name not in table.key:
        later[column.name] = _value(rng, table, column)  # another value, or another time
    return later
