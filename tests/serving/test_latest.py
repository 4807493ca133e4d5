"""The latest scores are a whole copy of the newest whole partition."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from features.errors import StoreError
from features.settings import Settings, Workspace
from serving import latest
from serving.partition import PART, RECEIPT, folder, instant, label, partitions, publish
from serving.score import Score
from tests.serving.tables import table

OLD, NEW = datetime(2018, 5, 14, tzinfo=UTC), datetime(2018, 5, 14, 6, 30, tzinfo=UTC)


def scored(workspace: Workspace, as_of: datetime, version: str) -> Path:
    facts: dict[str, Any] = {
        "propensity": "churn", "as_of": as_of.isoformat(), "model_version": version, "catalog_version": "c", "known": 1,
        "ineligible": {},
    }  # fmt: skip
    score = Score("c", "churn", True, None, None, 1, 0.5, 0.5, "A", None, (), (), (), (), as_of, as_of, version)
    target = folder(workspace, "churn", as_of)
    publish(target, [table([score])], facts)
    return target


def version(workspace: Workspace) -> str:
    found: str = pq.read_table(workspace.latest / "propensity=churn" / PART)["model_version"][0].as_py()
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Settings())


def test_it_follows_the_newest_partition_whatever_is_scored_later(workspace: Workspace) -> None:
    for as_of, made_by, expected in ((OLD, "1", "1"), (NEW, "2", "2"), (OLD, "3", "2"), (NEW, "4", "4")):
        scored(workspace, as_of, made_by)
        latest.publish(workspace, "churn")
        assert latest.is_published(workspace, "churn") and version(workspace) == expected
    assert [at for at, _ in partitions(workspace)["churn"]] == [OLD, NEW]


def test_a_partition_without_a_receipt_is_not_whole(workspace: Workspace) -> None:
    scored(workspace, OLD, "1")
    (scored(workspace, NEW, "2") / RECEIPT).unlink()
    latest.publish(workspace, "churn")
    assert version(workspace) == "1"


def test_a_partition_that_is_not_what_its_receipt_says_is_not_published(workspace: Workspace) -> None:
    scored(workspace, OLD, "1")
    latest.publish(workspace, "churn")
    (scored(workspace, NEW, "2") / PART).write_bytes(b"half")
    with pytest.raises(StoreError, match="SHA-256"):
        latest.publish(workspace, "churn")
    assert version(workspace) == "1" and sorted(path.name for path in latest.folder(workspace, "churn").iterdir()) == [
        RECEIPT,
        PART,
    ]


def test_what_a_killed_process_left_is_cleared_away(workspace: Workspace) -> None:
    scored(workspace, OLD, "1")
    target = latest.folder(workspace, "churn")
    target.mkdir(parents=True)
    for name in (PART, RECEIPT):
        (target / f".{name}.4194303").touch()
    latest.publish(workspace, "churn")
    assert sorted(path.name for path in target.iterdir()) == [RECEIPT, PART]


def test_without_a_partition_there_is_nothing_to_publish(workspace: Workspace) -> None:
    latest.publish(workspace, "churn")
    assert latest.is_published(workspace, "churn") and not workspace.latest.exists()


@pytest.mark.parametrize("as_of", [OLD, NEW, NEW.replace(microsecond=7)])
def test_a_folder_tells_its_instant(as_of: datetime) -> None:
    assert instant(label(as_of)) == as_of and instant(f"{label(as_of)}.old") is None
