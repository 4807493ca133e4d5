"""Odoo to be read: pages, ties, late commits, versions, lost leads, missing models, and a lead's way from Odoo to a snapshot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from features import ingest, quality, snapshot
from features.database import connect
from features.errors import SourceError, WorkspaceError
from features.settings import Workspace
from tests.features.sources.odoo_world import DAY, MONDAY, OdooWorld, answering, move, shop
from tests.features.sources.worlds import open_workspace, rows, run
from tests.serving.connectors.worlds import Crm, Time, serving

LEADS = 40


@pytest.fixture
def world() -> OdooWorld:
    world = OdooWorld()
    shop(world, LEADS)
    return world


@pytest.fixture
def crm(world: OdooWorld) -> Iterator[Crm]:
    with serving(answering(world)) as found:
        yield found


@pytest.fixture
def workspace(crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("ODOO_PASSWORD", "sesame")
    return opened(tmp_path, crm)


def opened(root: Path, crm: Crm, **other: object) -> Workspace:
    settings = {
        "of": "odoo", "url": crm.url, "version": 19, "database": "crm", "user": "bot", "password": "${ODOO_PASSWORD}",
        "per_second": 10_000,
    }  # fmt: skip
    return open_workspace(root, "odoo", **{**settings, **other})


def asked(crm: Crm) -> int:
    return sum(b"search_read" in one.body or "search_read" in one.path for one in crm.got)


@pytest.mark.parametrize("version", [18, 19])
def test_every_record_comes_once_and_a_second_pull_fetches_only_what_changed(
    workspace: Workspace, crm: Crm, world: OdooWorld, version: int
) -> None:
    workspace = opened(workspace.root, crm, version=version)
    first = run(workspace)
    assert first["crm_lead"].records == LEADS and first["crm_lead"].since is None
    assert [row[0] for row in rows(workspace, "crm_lead", "id::int")] == list(range(1, LEADS + 1))
    assert rows(workspace, "crm_lead", "distinct source_id") == [("1",), (None,)]
    before = {path.name: path.read_bytes() for path in workspace.source.iterdir()}
    again = run(workspace)
    assert all(one.versions == 0 for one in again.values()) and again["crm_lead"].records < 3
    assert {path.name: path.read_bytes() for path in workspace.source.iterdir()} == before
    changed = MONDAY + 30 * DAY
    world.put("crm.lead", 3, changed, priority="2")
    assert run(workspace)["crm_lead"].versions == 1
    assert rows(workspace, "crm_lead", "known_at, priority")[:2] == [(changed.replace(tzinfo=UTC), "2"), (None, None)]
    assert len(rows(workspace, "crm_lead")) == LEADS + 1


def test_many_records_of_one_second_are_none_lost(crm: Crm, world: OdooWorld, workspace: Workspace) -> None:
    """An import gives all of its records one time; what Odoo tells is cut off to the second, so ids go up and down within it."""
    for number in range(100, 150):
        world.put("crm.lead", number, MONDAY + timedelta(microseconds=(number * 7919) % 1_000_000))
    workspace = opened(workspace.root, crm, page=7)
    assert run(workspace)["crm_lead"].versions == LEADS + 50
    assert len(rows(workspace, "crm_lead", "distinct id")) == LEADS + 50


def test_a_record_that_commits_late_is_found_by_the_overlap(workspace: Workspace, world: OdooWorld) -> None:
    run(workspace)
    newest = max(one["write_date"] for one in world.models["crm.lead"].values())
    world.put("crm.lead", 900, newest - timedelta(minutes=14))
    world.put("crm.lead", 901, newest - timedelta(minutes=16))
    run(workspace)
    found = {row[0] for row in rows(workspace, "crm_lead", "id")}
    assert "900" in found and "901" not in found


def test_a_change_of_nothing_that_is_asked_for_is_no_version(workspace: Workspace, world: OdooWorld) -> None:
    """Writing a score back changes every lead every night."""
    run(workspace)
    for number in range(1, LEADS + 1):
        world.put("crm.lead", number, MONDAY + 40 * DAY, x_score=number)
    done = run(workspace)["crm_lead"]
    assert (done.records, done.versions) == (LEADS, 0)
    assert len(rows(workspace, "crm_lead")) == LEADS
    assert run(workspace)["crm_lead"].since == (MONDAY + 40 * DAY - timedelta(minutes=15)).replace(tzinfo=done.since.tzinfo)  # type: ignore[union-attr]


def test_a_record_that_changes_while_pages_are_turned_comes_again(crm: Crm, world: OdooWorld, workspace: Workspace) -> None:
    workspace, answer = opened(workspace.root, crm, page=10), crm.answer

    def meddling(got):  # type: ignore[no-untyped-def]
        found = answer(got)
        if "crm.lead/search_read" in got.path and "priority" not in world.models["crm.lead"][1]:
            world.put("crm.lead", 1, MONDAY + 20 * DAY, priority="3")
        return found

    crm.answer = meddling
    run(workspace)
    assert ("1", "3") in rows(workspace, "crm_lead", "id, priority")
    assert len(rows(workspace, "crm_lead", "distinct id")) == LEADS


def test_a_dry_run_says_what_there_is_and_leaves_nothing(workspace: Workspace, crm: Crm) -> None:
    found = run(workspace, dry_run=True)
    assert found["crm_lead"].records == LEADS and found["crm_lead"].versions is None
    assert asked(crm) == 0
    assert {path.name for path in workspace.root.iterdir()} == {"foresell.toml"}


def test_a_model_that_odoo_does_not_have_can_be_skipped(crm: Crm, world: OdooWorld, workspace: Workspace) -> None:
    del world.models["sale.order"]
    for version in (18, 19):
        with pytest.raises(SourceError) as caught:
            run(opened(workspace.root, crm, version=version))
        assert "sale.order" in caught.value.where and "sesame" not in str(caught.value)
    assert "sale_order" not in run(opened(workspace.root, crm, skip=["sale_order"]))
    with pytest.raises(WorkspaceError, match="write `sale_order`"):
        run(opened(workspace.root, crm, skip=["sale_orders"]))


def test_what_a_busy_odoo_asks_for_is_waited(workspace: Workspace, crm: Crm) -> None:
    time = Time()
    crm.faults = [(429, {"message": "Too Many Requests"}, {"Retry-After": "17"}), (503, None), None]
    assert run(workspace, time)["crm_lead"].records == LEADS
    assert time.slept[:2] == [17.0, 2.0]


def test_html_where_odoo_should_be_and_a_password_that_ran_out_are_told(workspace: Workspace, crm: Crm, world: OdooWorld) -> None:
    crm.faults = [(200, "<html>Welcome</html>")] * 5
    with pytest.raises(SourceError, match=r"crm\.lead"):
        run(workspace)
    crm.faults.clear()
    world.password = "changed"
    with pytest.raises(SourceError) as caught:
        run(workspace)
    assert "lets us in" in caught.value.expected and "sesame" not in str(caught.value)


def test_the_other_database_s_records_are_not_mixed_in(workspace: Workspace, crm: Crm) -> None:
    run(workspace)
    with pytest.raises(WorkspaceError, match="another address"):
        run(opened(workspace.root, crm, url=crm.url + "/other"))


def test_a_file_that_somebody_else_put_there_stays(workspace: Workspace, crm: Crm) -> None:
    workspace.source.mkdir()
    own = workspace.source / "crm_lead.parquet"
    duckdb.sql(f"copy (select 1 as id) to '{own}'")
    with pytest.raises(WorkspaceError, match="which it did not write"):
        run(workspace)
    assert duckdb.sql(f"from '{own}'").fetchall() == [(1,)]


def test_a_field_more_means_everything_again_and_keeps_what_was_known(workspace: Workspace, crm: Crm, world: OdooWorld) -> None:
    run(workspace)
    world.put("crm.lead", 3, MONDAY + 30 * DAY, x_size="big")
    done = run(opened(workspace.root, crm, fields={"crm_lead": ["x_size"]}))["crm_lead"]
    assert done.since is None and done.records == LEADS
    assert rows(workspace, "crm_lead", "x_size, known_at")[0] == ("big", (MONDAY + 30 * DAY).replace(tzinfo=UTC))
    assert len(rows(workspace, "crm_lead", "id")) == LEADS + 1


def test_nothing_at_all_leaves_no_file(workspace: Workspace, world: OdooWorld) -> None:
    for model in world.models:
        world.models[model] = {}
    assert all(one.records == 0 for one in run(workspace).values())
    assert list(workspace.source.iterdir()) == []


def test_without_tracked_changes_nobody_knows_since_when_a_lead_is_in_its_stage(
    workspace: Workspace, crm: Crm, world: OdooWorld
) -> None:
    """The stage that a lead is in now would tell how it ended."""
    workspace = opened(workspace.root, crm, skip=["mail_tracking_value", "mail_message", "ir_model_fields", "sale_order"])
    run(workspace)
    catalog = ingest.run(workspace, datetime(2026, 3, 1, tzinfo=UTC))
    assert set(catalog.tables) == {"leads", "attribute_history"}
    path = catalog.path(workspace, "attribute_history")
    with duckdb.connect() as connection:
        fields = connection.execute(f"select distinct field from read_parquet('{path}')").fetchall()
    assert ("stage",) not in fields and ("source",) in fields


def test_of_a_lead_that_changes_while_the_first_pull_is_under_way_the_last_word_counts(
    crm: Crm, world: OdooWorld, workspace: Workspace
) -> None:
    workspace, answer = opened(workspace.root, crm, page=10), crm.answer
    world.put("utm.source", 2, name="Fair")

    def meddling(got):  # type: ignore[no-untyped-def]
        found = answer(got)
        if "crm.lead/search_read" in got.path and world.models["crm.lead"][1]["source_id"] == 1:
            world.put("crm.lead", 1, MONDAY + 20 * DAY, source_id=2)
            world.put("crm.lead", 900, MONDAY + 21 * DAY, type="lead", stage_id=1)
        return found

    crm.answer = meddling
    run(workspace)
    assert rows(workspace, "crm_lead", "count(*), count(distinct id)") == [(LEADS + 2, LEADS + 1)]
    assert history(workspace, 1, "source") == [("Fair", MONDAY + 21 * DAY)]


def test_a_change_of_stage_that_is_not_tracked_does_not_reach_back(workspace: Workspace, world: OdooWorld) -> None:
    run(workspace)
    came = [("New", MONDAY + 3 * timedelta(hours=3))]
    assert history(workspace, 3, "stage") == came
    world.put("crm.lead", 3, MONDAY + 23 * DAY, stage_id=3, date_closed=MONDAY + 23 * DAY)
    run(workspace)
    assert history(workspace, 3, "stage") == came


def test_before_stages_are_known_to_be_tracked_a_lead_may_have_moved_unseen(workspace: Workspace, world: OdooWorld) -> None:
    """A lead that was in `Won` when tracking began did not come as won."""
    first = MONDAY + 12 * DAY
    world.models["mail.tracking.value"] = {}
    world.put("crm.lead", 4, MONDAY + 5 * DAY, stage_id=3, date_closed=MONDAY + 5 * DAY)
    move(world, 2, 2, first)
    move(world, 3, 2, first + DAY)
    run(workspace)
    assert history(workspace, 4, "stage") == [("Won", first)]
    assert history(workspace, 2, "stage") == [("Qualified", first)]
    assert history(workspace, 3, "stage") == [("New", first), ("Qualified", first + DAY)]
    assert history(workspace, LEADS, "stage")[0][1] >= first


def history(workspace: Workspace, lead: int, field: str) -> list[tuple[object, ...]]:
    """What is known of one field of a lead, and since when."""
    path = ingest.run(workspace, datetime(2026, 3, 1, tzinfo=UTC)).path(workspace, "attribute_history")
    query = f"select value, valid_from from read_parquet('{path}') where entity_id = ? and field = ? order by valid_from"
    with duckdb.connect() as connection:
        return connection.execute(query, [str(lead), field]).fetchall()


def test_a_lead_s_way_from_odoo_to_a_snapshot(workspace: Workspace, crm: Crm, world: OdooWorld) -> None:
    """What the first pull finds says nothing about before, except when a lead came, was written to, moved and was closed."""
    first_pull = max(one["write_date"] for one in world.models["crm.lead"].values())
    run(workspace)
    as_of, columns = datetime(2026, 1, 9, 12, tzinfo=UTC), ["lead_source", "lead_stage", "lead_is_open", "interactions_count_7d"]
    before = seen(workspace, as_of, columns)
    assert set(before["lead_stage"]) == {"New"} and before["lead_source"].isna().all()
    assert before["lead_is_open"].all() and set(before["interactions_count_7d"]) == {1}
    world.put("utm.source", 2, MONDAY + 20 * DAY, name="Fair")
    world.put("crm.lead", 2, MONDAY + 20 * DAY, source_id=2)
    world.put("crm.lead", 7, MONDAY + 21 * DAY, active=True, date_closed=False, lost_reason_id=False)
    world.put("sale.order", 5, MONDAY + 22 * DAY, state="cancel")
    move(world, 3, 2, MONDAY + 23 * DAY)
    run(workspace)
    catalog = ingest.run(workspace, datetime(2026, 3, 1, tzinfo=UTC))
    usability = quality.check(workspace, catalog.now)
    assert usability.usable, usability.failures
    with connect(workspace) as connection:
        for table in catalog.tables:
            connection.execute(f"create view {table} as from read_parquet('{catalog.path(workspace, table)}')")

        def found(sql: str) -> list[tuple[object, ...]]:
            return connection.execute(sql).fetchall()

        won, lost = LEADS // 5, LEADS // 7 - LEADS // 35
        assert found("select count(*), count(converted_at), count(lost_at) from leads where known_at = created_at") == [
            (LEADS, won, lost)
        ]
        closed = MONDAY + 7 * timedelta(hours=3) + 10 * DAY
        assert found("select lost_at, lost_reason, known_until from leads where lead_id = '7' order by known_at") == [
            (closed, "Too expensive", MONDAY + 21 * DAY),
            (None, None, None),
        ]
        history = "select value, valid_from from attribute_history where entity_id = '{}' and field = '{}' order by valid_from"
        assert found(history.format(2, "source")) == [("Fair", MONDAY + 20 * DAY)]
        assert found(history.format(1, "source")) == [("Newsletter", first_pull)]
        came = MONDAY + 3 * timedelta(hours=3)
        assert found(history.format(3, "stage")) == [("New", came), ("Qualified", MONDAY + 23 * DAY)]
        ordered = "select amount::double, known_until is null from orders where customer_id = '5' order by known_at"
        assert found(ordered) == [(100.5, False), (0, True)]
        assert found("select count(*), count(distinct lead_id) from interactions") == [(LEADS, LEADS)]
    assert seen(workspace, as_of, columns).equals(before), "what came later changes no snapshot of before"


def seen(workspace: Workspace, as_of: datetime, columns: list[str]) -> pd.DataFrame:
    """The snapshot of the leads, built anew."""
    ingest.run(workspace, datetime(2026, 3, 1, tzinfo=UTC))
    shutil.rmtree(workspace.snapshots, ignore_errors=True)
    snapshot.build(workspace, [as_of], entities=["lead"])
    return snapshot.read(workspace, "lead", [as_of], columns)
