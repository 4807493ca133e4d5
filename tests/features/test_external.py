"""A feature table computed elsewhere is copied as what Foresell means: NaN is missing, and what names a person is refused."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features import external
from features.errors import WorkspaceError
from features.settings import Attribute, External, Settings, Workspace
from tests.worlds import make_workspace

AT = datetime(2024, 5, 1)


def _workspace(root: Path, columns: str, **declared: Attribute) -> Workspace:
    """A workspace with one external table of one row, whose feature columns are this SQL."""
    path = root / "usage.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 'c' as cid, timestamp '{AT}' as at, {columns}) to '{path}' (format parquet)")
    table = External(entity="customer", path="usage.parquet", id="cid", timestamp="at", columns=declared)
    customers = {"customers": [{"customer_id": "c", "created_at": datetime(2024, 1, 1)}]}
    return make_workspace(root, customers, settings=Settings(external={"usage": table}))


def _copied(workspace: Workspace) -> list[tuple[Any, ...]]:
    external.refresh(workspace)
    with duckdb.connect() as connection:
        path = workspace.snapshots / "customer" / "usage" / external.FILE
        return connection.execute(f"select * exclude (entity_id, event_timestamp) from '{path}'").fetchall()


@pytest.mark.parametrize("value", ["'nan'::double", "'nan'::float", "'NaN'", "null"])
def test_a_number_that_is_none_is_missing(tmp_path: Path, value: str) -> None:
    """DuckDB holds NaN for greater than every number, so that a condition would read it otherwise than Python does."""
    assert _copied(_workspace(tmp_path, f"{value} as minutes", minutes=Attribute(type="number"))) == [(None,)]


def test_numbers_and_categories_are_copied_as_they_are(tmp_path: Path) -> None:
    declared = {"minutes": Attribute(type="number"), "plan": Attribute()}
    assert _copied(_workspace(tmp_path, "0 as minutes, 'nan' as plan", **declared)) == [(0.0, "nan")]


def test_a_column_may_be_named_as_a_word_of_sql(tmp_path: Path) -> None:
    assert _copied(_workspace(tmp_path, '2 as "group"', group=Attribute(type="number"))) == [(2.0,)]


@pytest.mark.parametrize("name", ["email", "MobilePhone"])
def test_what_names_a_person_is_refused(tmp_path: Path, name: str) -> None:
    workspace = _workspace(tmp_path, f"'x' as \"{name}\"", **{name: Attribute()})
    with pytest.raises(WorkspaceError, match="identifies a person") as caught:
        external.refresh(workspace)
    assert caught.value.where == f"[external.usage.columns], column `{name}`"
    assert not workspace.snapshots.exists()


def test_no_half_copy_is_left_beside_the_copy(tmp_path: Path) -> None:
    workspace = _workspace(tmp_path, "1 as minutes", minutes=Attribute(type="number"))
    external.refresh(workspace)
    folder = workspace.snapshots / "customer" / "usage"
    assert {path.name for path in folder.iterdir()} == {external.FILE, "manifest.json"}
