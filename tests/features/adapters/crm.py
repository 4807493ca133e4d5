"""Exports of CRMs made of a few lines, and what is known of them at an instant."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from features import ingest, snapshot
from features.catalog import Catalog
from features.settings import Settings, Workspace, parse_instant
from features.views import views

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def ingested(root: Path, adapter: str, files: Mapping[str, str], now: datetime = NOW, **settings: Any) -> Workspace:
    """A workspace that has ingested an export of these files."""
    folder = root / "export"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    workspace = Workspace(root, Settings.model_validate({"adapter": adapter, "source": str(folder), **settings}))
    ingest.run(workspace, now)
    return workspace


def csv(header: str, rows: Iterable[Sequence[str]]) -> str:
    """The text of a CSV file."""
    return "\n".join([header, *(",".join(row) for row in rows)]) + "\n"


def rows_until(text: str, instant: str, column: str = "CreatedDate") -> str:
    """Those rows of a file that were there before an instant."""
    header, *lines = text.splitlines()
    place = header.split(",").index(column)
    kept = [line for line in lines if parse_instant(line.split(",")[place]) < parse_instant(instant)]
    return "\n".join([header, *kept]) + "\n"


def reversed_rows(files: Mapping[str, str]) -> dict[str, str]:
    """The files with their rows in the opposite order."""
    split = {name: text.splitlines(keepends=True) for name, text in files.items()}
    return {name: "".join([header, *reversed(lines)]) for name, (header, *lines) in split.items()}


def rows(workspace: Workspace, table: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    """A stored table's rows, in order; instants as text to the second."""
    catalog = Catalog.load(workspace)
    with duckdb.connect() as connection:
        found = connection.execute(
            f"select {columns} from read_parquet('{catalog.path(workspace, table)}') where {where} order by all"
        ).fetchall()
    return [tuple(str(value) if isinstance(value, datetime) else value for value in row) for row in found]


def instants(seed: int, rows: int, columns: int) -> list[list[str]]:
    """Instants of 2024 in no order, one in five of them missing but for those of the first column."""
    chance = random.Random(seed)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    return [
        [
            "" if place and chance.random() < 0.2 else (start + timedelta(minutes=chance.randrange(500_000))).isoformat()
            for place in range(columns)
        ]
        for _ in range(rows)
    ]


def known_too_early(workspace: Workspace, table: str, file: str, key: str, instants: str) -> tuple[int, int]:
    """How many rows of a table have a row of that key in an export's file, and how many are known before any of its instants."""
    path = Catalog.load(workspace).path(workspace, table)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'UTC'")
        row = connection.execute(
            f"select count(*), count(*) filter (where known_at at time zone 'UTC' < greatest({instants})) "
            f"from read_parquet('{path}') stored join read_csv('{workspace.source / file}') delivered on {key}"
        ).fetchone()
    return row or (0, 0)


def features_at(workspace: Workspace, entity: str, as_of: str) -> pd.DataFrame:
    """Every feature of every entity known at an instant, by its id."""
    instant = parse_instant(as_of)
    snapshot.build(workspace, [instant])
    catalog = Catalog.load(workspace)
    names = [feature.name for view in views(workspace, catalog) if view.entity == entity for feature in view.columns]
    return snapshot.read(workspace, entity, [instant], names).set_index("entity_id").drop(columns="as_of")


def assert_same_past(early: Workspace, late: Workspace, entity: str, as_of: str) -> None:
    """An export of later shows the past as the export of then did."""
    then, since = features_at(early, entity, as_of), features_at(late, entity, as_of)
    assert set(then.columns) <= set(since.columns), "a feature that was known then is gone"
    pd.testing.assert_frame_equal(then, since[then.columns], check_dtype=False)
