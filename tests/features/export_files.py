"""Exports made of a few lines, for tests of what ingest does with them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from features import ingest
from features.catalog import Catalog
from features.settings import Settings, Workspace

NOW = datetime(2030, 1, 1, tzinfo=UTC)
CUSTOMERS = "customer_id,created_at\nc1,2024-01-01\nc2,2024-01-02\nc3,2024-01-03\n"


def export(root: Path, files: Mapping[str, str | bytes], **settings: Any) -> Workspace:
    """A workspace over the canonical adapter whose export holds these files; a customers.csv is there unless given."""
    folder = root / "export"
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"customers.csv": CUSTOMERS, **files}.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return Workspace(root, Settings.model_validate(settings))


def run(workspace: Workspace) -> Catalog:
    return ingest.run(workspace, NOW)


def rows(workspace: Workspace, catalog: Catalog, table: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """A stored table's rows, in order."""
    with duckdb.connect() as connection:
        return connection.execute(
            f"select {columns} from read_parquet('{catalog.path(workspace, table)}') order by all"
        ).fetchall()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, byte by byte."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
