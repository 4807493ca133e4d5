"""A night takes what has changed to the targets; one that fails stops neither the others nor the night."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from features.settings import SETTINGS_FILE, Workspace
from serving.connectors.write_back import give_up
from serving.nightly import job
from tests.serving.connectors.worlds import serving
from tests.serving.shop import NOW

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


def test_what_was_rejected_keeps_the_night_from_being_well_until_it_is_given_up(workspace: Workspace) -> None:
    with serving(lambda asked: (422, {"message": asked.path}) if asked.path.endswith("1") else (200, None)) as crm:
        workspace = with_targets(workspace, NOBODY.replace("http://127.0.0.1:1", crm.url))
        ended = [night(workspace) for _ in range(3)]
        assert [one.exit_code for one in ended] == [1, 1, 1] and statuses(ended[2]) == {"write-back crm": "failed"}
        rejected = ended[0].failures["write-back crm"].received
        assert rejected == ended[2].failures["write-back crm"].received and not rejected.startswith("0 ")
        assert give_up(workspace, "crm", CLOCK) > 0
        again = [night(workspace) for _ in range(2)]
    assert [one.exit_code for one in again] == [0, 0] and statuses(again[1]) == {"write-back crm": "skipped"}


def test_a_target_that_is_away_is_told_and_stops_nobody_else(workspace: Workspace) -> None:
    ended = night(with_targets(workspace, NOBODY + FILES))
    assert statuses(ended) == {"write-back crm": "failed", "write-back list": "done"}
    assert ended.exit_code == 1 and "write-back crm" in ended.failures and Path(workspace.root / "out").is_dir()
    assert ended.steps[-1].step == "retention"
