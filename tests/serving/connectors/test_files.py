"""What has changed lies in files that DuckDB and pandas read, whole and once, and only that."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from features.errors import StoreError
from features.settings import PolicySettings, Workspace
from serving.answer import written
from serving.connectors.reconciliation import reconcile
from serving.ledger import Ledger, Stored
from serving.reasons import Reason
from tests.serving.connectors.worlds import DAY, FIRST, night, open_workspace, run, score


@pytest.fixture(params=["parquet", "csv"])
def workspace(request: pytest.FixtureRequest, tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path, to="files", path="out", format=request.param, threshold=5)


def rows(workspace: Workspace) -> list[tuple[str, int | None, str]]:
    """Every row of every file, in the order of nights."""
    kind = workspace.settings.write_back["crm"].format  # type: ignore[union-attr]
    files = sorted(str(path) for path in (workspace.root / "out").rglob(f"*.{kind}"))
    if not files:
        return []
    query = f"select entity_id, score, state from read_{kind}({files!r}) order by as_of, entity_id"
    return duckdb.sql(query).fetchall()


def test_only_what_has_changed_by_the_threshold_is_written(workspace: Workspace) -> None:
    night(workspace, {"a": 10, "b": 50, "c": None, "d": 90, "e": 30})
    first = run(workspace)
    assert (first.looked_at, first.changed, first.sent, first.is_complete) == (5, 4, 4, True)
    assert rows(workspace) == [("a", 10, "scored"), ("b", 50, "scored"), ("d", 90, "scored"), ("e", 30, "scored")]
    assert run(workspace).changed == 0
    night(workspace, {"a": 14, "b": 55, "c": 7, "d": None, "f": 1}, FIRST + DAY)
    assert run(workspace).sent == 5
    assert rows(workspace)[4:] == [
        ("b", 55, "scored"),
        ("c", 7, "scored"),
        ("d", None, "withheld"),
        ("e", None, "gone"),
        ("f", 1, "scored"),
    ]
    assert run(workspace).changed == 0


def test_what_somebody_else_left_among_scores_and_files_is_left_alone(workspace: Workspace) -> None:
    night(workspace, {"a": 10, "b": 50})
    run(workspace)
    for folder in (workspace.scores / "propensity=churn", workspace.root / "out" / "churn"):
        for name in ("as_of=tmp", "as_of=2026-11-25.old", "tmp", "as_of=2027-01-01"):
            (folder / name).mkdir()
            for file in ("part-0.parquet", "part-0.csv"):
                (folder / name / file).write_bytes(b"no scores")
        (folder / "as_of=2027-01-02").write_text("a file")
    outcome = run(workspace)
    assert (outcome.changed, outcome.as_of) == (0, {"churn": FIRST}) and reconcile(workspace, "crm", 2).differences == []


def test_another_grade_is_a_change_whatever_the_points(workspace: Workspace) -> None:
    night(workspace, {"a": 50})
    run(workspace)
    night(workspace, {"a": score("a", 50, FIRST + DAY, grade="A")}, FIRST + DAY)
    assert run(workspace).sent == 1


def test_another_folder_and_other_fields_get_everything_and_another_threshold_nothing(tmp_path: Path) -> None:
    night(open_workspace(tmp_path, to="files", path="out"), {"a": 10, "b": 50, "c": None})
    assert run(open_workspace(tmp_path, to="files", path="out")).sent == 2
    assert run(open_workspace(tmp_path, to="files", path="out", threshold=9)).sent == 0
    assert run(open_workspace(tmp_path, to="files", path="other")).sent == 2
    changed = open_workspace(tmp_path, to="files", path="other", fields={"points": "score"})
    assert reconcile(changed, "crm", 5).incomparable == 2
    assert run(changed).sent == 2 and reconcile(changed, "crm", 5).differences == []


def test_a_night_never_goes_over_a_newer_one(workspace: Workspace) -> None:
    night(workspace, {"a": 10, "b": 10})
    night(workspace, {"a": 90}, FIRST + DAY)
    assert run(workspace).as_of == {"churn": FIRST + DAY}
    assert run(workspace, as_of=FIRST).sent == 1
    assert rows(workspace) == [("b", 10, "scored"), ("a", 90, "scored")]


def test_those_who_are_gone_stay_where_the_settings_say_so(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, to="files", path="out", clear=False)
    night(workspace, {"a": 10, "b": 10})
    run(workspace)
    night(workspace, {"a": 10}, FIRST + DAY)
    assert run(workspace).changed == 0


def test_the_same_chunk_is_the_same_file(workspace: Workspace) -> None:
    night(workspace, {"a": 10, "b": 50})
    run(workspace)
    before = {path: path.read_bytes() for path in (workspace.root / "out").rglob("part-*")}
    (workspace.serving / "ledger.db").unlink()  # as if it were killed before it kept its books
    for other in workspace.serving.glob("ledger.db-*"):
        other.unlink()
    assert run(workspace).sent == 2
    assert {path: path.read_bytes() for path in (workspace.root / "out").rglob("part-*")} == before


def test_who_objects_after_the_night_is_sent_no_score_and_keeps_none(workspace: Workspace) -> None:
    night(workspace, {"a": 10, "b": 50})
    run(workspace)
    night(workspace, {"a": 10, "b": 90, "c": 70, "d": 30}, FIRST + DAY)
    policy = PolicySettings(suppress={"customer": ("customer_age_days < 0",)})
    objecting = Workspace(workspace.root, workspace.settings.model_copy(update={"policy": policy}))
    later = FIRST + DAY + timedelta(hours=9)
    with closing(Ledger.open(objecting)) as ledger:
        told = [score(one, None, later, policy="suppressed") for one in ("a", "c")]
        kept = [Stored("churn", str(one.entity_id), later, "3", None, written(one)) for one in told]
        ledger.keep_latest([*kept, Stored("churn", "d", later, "3", None, written(score("d", None, later)))])  # d is held out
    outcome = run(objecting)
    assert (outcome.changed, outcome.looked_at) == (3, 4)
    assert rows(workspace)[2:] == [("a", None, "withheld"), ("b", 90, "scored"), ("d", 30, "scored")]
    assert run(objecting).changed == 0 and run(workspace).changed == 2  # whoever no longer asks sends what the night says


def test_several_propensities_of_the_entity_and_none_of_another(workspace: Workspace) -> None:
    night(workspace, {"a": 10})
    night(workspace, {"a": 20}, propensity="upsell")
    night(workspace, {"a": 30}, propensity="lead-conversion")
    assert run(workspace).as_of == {"churn": FIRST, "upsell": FIRST} and len(rows(workspace)) == 2


def test_a_night_without_anybody_and_no_night(workspace: Workspace) -> None:
    with pytest.raises(StoreError, match="none"):
        run(workspace)
    night(workspace, {})
    outcome = run(workspace)
    assert outcome.is_complete and outcome.changed == 0 and rows(workspace) == []


def test_types_are_those_of_the_fields_also_where_all_are_empty(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, to="files", path="out")
    night(workspace, {"a": 10})
    run(workspace)
    (path,) = (tmp_path / "out").rglob("*.parquet")
    types = {one.name: str(one.type) for one in pq.read_schema(path)}
    assert types["score"] == "int32" and types["expected_value"] == "double" and types["withheld"] == "string"


def test_what_was_written_is_read_back_and_what_was_changed_is_told(workspace: Workspace) -> None:
    night(workspace, {"a": 10, "b": 50})
    run(workspace)
    night(workspace, {"a": 90, "b": 50}, FIRST + DAY)
    run(workspace)
    found = reconcile(workspace, "crm", 10)
    assert (found.compared, found.incomparable, found.differences) == (2, 0, [])
    (newest,) = (workspace.root / "out" / "churn" / "2026-11-26").iterdir()
    newest.unlink()
    assert {(one.entity_id, one.field) for one in reconcile(workspace, "crm", 10).differences} >= {("a", "score")}


def test_a_folder_that_cannot_be_made_stops_the_run_and_nothing_is_lost(workspace: Workspace) -> None:
    night(workspace, {"a": 10})
    (workspace.root / "out").touch()
    outcome = run(workspace)
    assert outcome.stopped and outcome.waiting == 1 and not outcome.is_complete
    (workspace.root / "out").unlink()
    assert run(workspace).sent == 1


def test_reasons_and_the_trend_since_the_night_before_are_read_where_they_are_wanted(tmp_path: Path) -> None:
    fields = {"score": "score", "why": "reasons", "trend": "trend", "as_of": "as_of"}
    workspace = open_workspace(tmp_path, to="files", path="out", fields=fields)
    told = tuple(Reason("f", ("f",), 1.0, text, "up", 0.1) for text in ("Logins have fallen", "No order"))
    night(workspace, {"a": 10, "b": 50, "c": 50, "d": None})
    night(workspace, {"a": score("a", 50, FIRST + DAY, reasons=told), "b": 52, "c": 40, "d": 9, "e": 9}, FIRST + DAY)
    run(workspace)
    (path,) = (tmp_path / "out").rglob("*.parquet")
    found = pq.ParquetFile(path).read(["entity_id", "why", "trend"]).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("a", "Logins have fallen; No order", "rising"), ("b", None, "steady"), ("c", None, "falling"), ("d", None, None),
        ("e", None, None),
    ]  # fmt: skip
    assert reconcile(workspace, "crm", 10).differences == []


def test_who_is_explored_is_written_where_there_is_a_field_for_it_and_again_when_it_changes(tmp_path: Path) -> None:
    fields = {"as_of": "as_of", "id": "entity_id", "explore": "explore"}
    workspace = open_workspace(tmp_path, to="files", path="out", fields=fields, threshold=5)
    night(workspace, {"a": score("a", 10), "b": score("b", 50, explore=True), "c": None})
    assert run(workspace).sent == 2 and run(workspace).changed == 0
    night(workspace, {"a": score("a", 10, FIRST + DAY, explore=True), "b": score("b", 51, FIRST + DAY), "c": None}, FIRST + DAY)
    assert run(workspace).sent == 2 and run(workspace).changed == 0
    found = duckdb.sql(f"select id, explore from read_parquet('{tmp_path}/out/**/*.parquet') order by as_of, id")
    assert found.fetchall() == [("a", "no"), ("b", "yes"), ("a", "yes"), ("b", "no")]


def test_a_night_of_an_earlier_release_explored_nobody(tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, to="files", path="out", fields={"crm_explore": "explore"})
    night(workspace, {"a": 10})
    (part,) = (workspace.scores).rglob("part-0.parquet")
    pq.write_table(pq.read_table(part).drop_columns(["explore"]), part)
    assert run(workspace).sent == 1
    assert duckdb.sql(f"select crm_explore from read_parquet('{tmp_path}/out/**/*.parquet')").fetchall() == [("no",)]
