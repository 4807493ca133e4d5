"""Pulls without waiting: a workspace with one source, a clock that stands still, what lies in the export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from features.console import Tick
from features.settings import SETTINGS_FILE, Workspace
from features.sources.pull import Found, pull
from tests.serving.connectors.worlds import NOW, Time


@contextmanager
def quiet(what: str, units: int) -> Iterator[Tick]:
    """A progress bar that nobody sees."""
    yield lambda moved: None


def open_workspace(root: Path, adapter: str, **source: Any) -> Workspace:
    """A workspace with one source, `crm`."""
    root.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"{name} = {_toml(value)}" for name, value in source.items())
    (root / SETTINGS_FILE).write_text(f'adapter = "{adapter}"\n[pull.crm]\n{lines}\n', encoding="utf-8")
    return Workspace.open(root)


def adapter(root: Path, *stems: str) -> str:
    """An adapter in a workspace that reads these files, for a source whose own adapter is tested elsewhere."""
    folder = root / "adapter"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter.toml").write_text('description = "files as they come"\n', encoding="utf-8")
    read = " cross join ".join(f'"{stem}"' for stem in stems)
    (folder / "leads.sql").write_text(f"select 1 as lead_id, now() as created_at from {read}", encoding="utf-8")
    return "adapter"


def run(workspace: Workspace, time: Time | None = None, name: str = "crm", **options: Any) -> dict[str, Found]:
    """Pull without waiting; what was found by file."""
    at = time or Time()
    return {one.stem: one for one in pull(workspace, name, NOW, at.clock, at.sleep, quiet, **options)}


def rows(workspace: Workspace, stem: str, columns: str = "*") -> list[tuple[Any, ...]]:
    """The rows of a file of the export, in order."""
    with duckdb.connect() as connection:
        return connection.execute(
            f"select {columns} from read_parquet('{workspace.source / stem}.parquet') order by all"
        ).fetchall()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(one)}" for name, one in value.items()) + "}"
    return json.dumps(list(value) if isinstance(value, tuple) else value)
