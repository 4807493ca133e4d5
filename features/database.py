"""The one way to open DuckDB: UTC, the workspace's limits, and a place to spill when memory is short."""

from __future__ import annotations

import duckdb

from features.settings import Workspace


def connect(workspace: Workspace, memory: str | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection for one piece of work; close it with `with`.

    Args:
        workspace: whose limits hold.
        memory: the limit where the settings name none; beyond it DuckDB spills.
    """
    connection = duckdb.connect()
    connection.execute(f"set temp_directory = '{quote(str(workspace.root / 'data' / 'spill'))}'")
    limit(connection, workspace, memory)
    return connection


def limit(connection: duckdb.DuckDBPyConnection, workspace: Workspace, memory: str | None = None) -> None:
    """Set UTC and the workspace's limits on a connection, also one that a library opened."""
    settings = workspace.settings.duckdb
    connection.execute("set TimeZone = 'UTC'")
    if connection.execute("select current_setting('enable_progress_bar')").fetchone() == (True,):
        connection.execute("set enable_progress_bar = false")  # it would be drawn into the output of `--json`
    connection.execute("set preserve_insertion_order = false")
    if most := settings.memory_limit or memory:
        connection.execute(f"set memory_limit = '{quote(most)}'")
    if settings.threads:
        connection.execute(f"set threads = {settings.threads}")


def quote(text: str) -> str:
    """Text for use inside single quotes in SQL."""
    return text.replace("'", "''")


def identifier(name: str) -> str:
    """A name for use as an identifier in SQL; every column whose name is not written out in the query is given through this."""
    return '"' + name.replace('"', '""') + '"'
