"""The one way to open DuckDB: UTC, the workspace's limits, and a place to spill when memory is short."""

from __future__ import annotations

import duckdb

from features.settings import Workspace


def connect(workspace: Workspace) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection for one piece of work; close it with `with`."""
    settings = workspace.settings.duckdb
    connection = duckdb.connect()
    connection.execute("set TimeZone = 'UTC'")
    connection.execute("set preserve_insertion_order = false")
    connection.execute(f"set temp_directory = '{quote(str(workspace.root / 'data' / 'spill'))}'")
    if settings.memory_limit:
        connection.execute(f"set memory_limit = '{quote(settings.memory_limit)}'")
    if settings.threads:
        connection.execute(f"set threads = {settings.threads}")
    return connection


def quote(text: str) -> str:
    """Text for use inside single quotes in SQL."""
    return text.replace("'", "''")
