"""A night takes what has changed to the targets; one that fails stops neither the others nor the night."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from features.settings import SETTINGS_FILE, Workspace
from serving.nightly import job
from tests.serving.shop import NOW

pytestmark = pytest.mark.xdist_group("shop")
CLOCK = datetime(2026, 11, 26, 3, tzinfo=UTC)
FILES = '[write_back.list]\nto = "files"\nentity = "customer"\npath = "out"\n'
NOBODY = '[write_back.crm]\nto = "rest"\nentity = "customer"\nurl = "http://127.0.0.1:1/{id}"\nfields = { score = "score" }\n'


def night(workspace: Workspace) -> job.Night:
    return job.run(workspace, NOW, CLOCK, lambda what, total: nullcontext(lambda units: None), lambda ended: None)


def with_targets(workspace: Workspace, text: str) -> Workspace:
    with (workspace.root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
        settings.write(text)
    return Workspace.open(workspace.root)


def statuses(ended: job.Night) -> dict[str, str]:
    return {one.step: one.status for one in ended.steps if one.step.startswith("write-back")}


def test_what_has_changed_is_written_once(workspace: Workspace) -> None:
    workspace = with_targets(workspace, FILES)
    first, second = night(workspace), night(workspace)
    assert (first.exit_code, statuses(first), statuses(second)) == (
        0,
        {"write-back list": "done"},
        {"write-back list": "skipped"},
    )
    [written] = duckdb.sql(f"select count(distinct entity_id) from '{workspace.root / 'out'}/**/*.parquet'").fetchall()
    assert written[0] == first.partitions["churn"]["rows"] > 0


def test_a_target_that_is_away_is_told_and_stops_nobody_else(workspace: Workspace) -> None:
    ended = night(with_targets(workspace, NOBODY + FILES))
    assert statuses(ended) == {"write-back crm": "failed", "write-back list": "done"}
    assert ended.exit_code == 1 and "write-back crm" in ended.failures and Path(workspace.root / "out").is_dir()
    assert ended.steps[-1].step == "retention"
