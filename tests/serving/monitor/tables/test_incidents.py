"""Faults in tables are named by table and column, with the day since when; what is quiet raises nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features import ingest, sample
from features.catalog import Catalog
from features.database import connect
from features.settings import SETTINGS_FILE, Workspace
from serving.monitor.tables.incident import Incident
from serving.monitor.tables.incidents import wrong
from serving.monitor.tables.profile import Profile
from serving.monitor.tables.sheet import sheets
from tests.serving.monitor.tables.quiet import NOW, World, before, changed, quiet, workspace_of

DAY = timedelta(days=1)


class Counted:
    """A connection that counts what it is asked."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection, self.queries = connection, 0

    def execute(self, *given: Any) -> Any:
        self.queries += 1
        return self._connection.execute(*given)


@pytest.fixture(scope="module")
def world() -> World:
    return quiet()


def look(workspace: Workspace, as_of: datetime = NOW) -> dict[str, Incident]:
    """The incidents by kind and place, without notes and lateness."""
    found = wrong(workspace, Catalog.load(workspace), as_of)
    return {f"{one.kind} {one.where}": one for one in found if one.severity != "note" and one.kind != "late"}


def alarms(workspace: Workspace, as_of: datetime = NOW) -> dict[str, Incident]:
    return {name: one for name, one in look(workspace, as_of).items() if one.severity == "alarm"}


def test_a_quiet_crm_raises_nothing_in_half_a_year_of_weeks(world: World, tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path, world)
    assert [look(workspace, NOW - week * 7 * DAY) for week in range(26)] == [{}] * 26


def test_in_the_first_weeks_nothing_is_said(tmp_path: Path) -> None:
    world = quiet(days=80)
    faulty = changed(world, "orders", before(5), lambda row, chance: None)
    assert look(workspace_of(tmp_path, faulty)) == {}


def test_empty_tables_raise_nothing(tmp_path: Path) -> None:
    assert look(workspace_of(tmp_path, {"customers": [], "orders": [], "interactions": [], "subscriptions": []})) == {}


def test_a_table_that_stops_is_named_once_with_its_last_row(world: World, tmp_path: Path) -> None:
    faulty = changed(world, "orders", before(2), lambda row, chance: None)
    found = alarms(workspace_of(tmp_path, faulty))
    assert list(found) == ["stopped orders"]
    assert found["stopped orders"].since == max(row["occurred_at"] for row in faulty["orders"]).replace(tzinfo=NOW.tzinfo)


def test_a_table_is_not_said_to_have_stopped_in_less_than_a_day(world: World, tmp_path: Path) -> None:
    assert alarms(workspace_of(tmp_path, changed(world, "orders", before(0.75), lambda row, chance: None))) == {}


def test_a_quiet_table_may_be_silent_for_weeks(world: World, tmp_path: Path) -> None:
    assert alarms(workspace_of(tmp_path, changed(world, "surveys", before(14), lambda row, chance: None))) == {}


def test_a_channel_that_stops_is_named_and_the_others_are_not(world: World, tmp_path: Path) -> None:
    faulty = changed(world, "interactions", before(3), lambda row, chance: None if row["channel"] == "app" else row)
    found = alarms(workspace_of(tmp_path, faulty))
    assert list(found) == ["stopped interactions.channel=app"]
    assert before(4) < (found["stopped interactions.channel=app"].since or NOW) < before(3)


def test_a_table_with_a_fifth_of_its_rows_is_named(world: World, tmp_path: Path) -> None:
    faulty = changed(world, "orders", before(7), lambda row, chance: row if chance < 0.2 else None)
    found = alarms(workspace_of(tmp_path, faulty))
    assert list(found) == ["volume orders"]
    assert found["volume orders"].since == before(7)


@pytest.mark.parametrize("days", [4, 7, 20])
def test_a_changed_unit_is_named_with_its_factor_for_as_long_as_it_is_new(world: World, tmp_path: Path, days: int) -> None:
    faulty = changed(world, "orders", before(days), lambda row, chance: {**row, "amount": row["amount"] * 100})
    found = alarms(workspace_of(tmp_path, faulty))
    assert list(found) == ["scale orders.amount"]
    assert found["scale orders.amount"].since == before(days)
    if days >= 7:
        assert 60 < found["scale orders.amount"].figures["factor"] < 160


def test_a_new_channel_is_named_from_its_first_row_on(world: World, tmp_path: Path) -> None:
    def move(row: dict[str, Any], chance: float) -> dict[str, Any]:
        return {**row, "channel": "video"} if chance < 0.1 else row

    faulty = changed(world, "interactions", before(3), move)
    found = alarms(workspace_of(tmp_path, faulty))
    assert list(found) == ["category interactions.channel=video"]
    first = min(row["occurred_at"] for row in faulty["interactions"] if row["channel"] == "video")
    assert found["category interactions.channel=video"].since == first.replace(tzinfo=NOW.tzinfo)


@pytest.mark.parametrize("value", ["anna@example.com", "+49 170 123 45 67", "DE89 3704 0044 0532"])
def test_a_value_that_names_somebody_is_not_told(world: World, tmp_path: Path, value: str) -> None:
    faulty = changed(world, "interactions", before(3), lambda row, chance: {**row, "channel": value} if chance < 0.1 else row)
    [(place, found)] = alarms(workspace_of(tmp_path, faulty)).items()
    assert place.startswith("category interactions.channel=(withheld ") and value not in repr(found)


def test_a_value_of_any_signs_is_a_value(world: World, tmp_path: Path) -> None:
    value = "'; drop table came; --\n\"<b>"
    faulty = changed(world, "interactions", before(3), lambda row, chance: {**row, "channel": value} if chance < 0.1 else row)
    assert list(alarms(workspace_of(tmp_path, faulty))) == ["category interactions.channel='; drop table came; -- \"<b>"]


def test_new_values_are_counted_with_the_rows_since_each_came(world: World, tmp_path: Path) -> None:
    later = before(1).replace(tzinfo=None)
    faulty = changed(world, "interactions", before(3), lambda row, chance: {**row, "channel": "video"} if chance < 0.1 else (
        {**row, "channel": "fax"} if chance > 0.8 and row["occurred_at"] >= later else row))  # fmt: skip
    rows = faulty["interactions"]
    found = alarms(workspace_of(tmp_path, faulty))
    for value in ("video", "fax"):
        mine = [row["occurred_at"] for row in rows if row["channel"] == value]
        figures = found[f"category interactions.channel={value}"].figures
        since = sum(row["occurred_at"] >= min(mine) for row in rows)
        assert figures["rows"] == len(mine) and figures["share"] == len(mine) / since
        assert figures["rows_before"] == len(rows) - since


def test_a_column_of_free_text_is_looked_at_in_one_pass(world: World, tmp_path: Path) -> None:
    """Each value once or a dozen times: none is common enough to be told, and no query is made for each of them."""
    free = [{**row, "campaign": f"text {i // 12 if i % 2 else -i}"} for i, row in enumerate(world["interactions"])]
    workspace = workspace_of(tmp_path, {**world, "interactions": free})
    catalog = Catalog.load(workspace)
    sheet = next(one for one in sheets(catalog) if one.table == "interactions")
    with connect(workspace) as connection:
        asked = Counted(connection)
        found = Profile(asked, workspace, catalog, sheet, NOW).newcomers(28, 6)  # type: ignore[arg-type]
    assert len(found) > 50 and asked.queries < 10


def test_a_new_value_of_a_column_that_always_has_new_ones_is_no_alarm(world: World, tmp_path: Path) -> None:
    rows = [
        {**row, "campaign": f"K{(NOW.replace(tzinfo=None) - row['occurred_at']).days // 40}"} for row in world["interactions"]
    ]
    later = NOW - timedelta(days=25)  # five days into the newest campaign
    workspace = workspace_of(tmp_path, {**world, "interactions": rows})
    assert alarms(workspace, later) == {} and alarms(workspace) == {}


def test_a_column_with_one_value_is_named(world: World, tmp_path: Path) -> None:
    faulty = changed(world, "orders", before(7), lambda row, chance: {**row, "category": "care"})
    found = alarms(workspace_of(tmp_path, faulty))
    assert "constant orders.category" in found and before(7.3) < (found["constant orders.category"].since or NOW) < before(7)
    assert set(found) <= {"constant orders.category", "stopped orders.category=tyres", "stopped orders.category=parts"}


def test_a_column_that_is_emptied_is_named(world: World, tmp_path: Path) -> None:
    def empty(row: dict[str, Any], chance: float) -> dict[str, Any]:
        return {**row, "category": None} if chance < 0.6 else row

    found = alarms(workspace_of(tmp_path, changed(world, "orders", before(7), empty)))
    assert list(found) == ["empty orders.category"]
    assert found["empty orders.category"].since == before(7)


def test_an_outcome_that_is_no_longer_recorded_has_stopped(world: World, tmp_path: Path) -> None:
    def unended(row: dict[str, Any]) -> dict[str, Any]:
        is_late = row.get("ended_at") and row["ended_at"] >= before(40).replace(tzinfo=None)
        return {**row, "ended_at": None, "end_reason": None} if is_late else row

    faulty = {**world, "subscriptions": [unended(row) for row in world["subscriptions"]]}
    found = alarms(workspace_of(tmp_path, faulty))
    assert list(found) == ["stopped subscriptions.ended_at"]
    assert found["stopped subscriptions.ended_at"].column == "ended_at"


def test_corrections_are_no_new_rows(world: World, tmp_path: Path) -> None:
    corrected = [{**row, "known_at": before(0.5).replace(tzinfo=None), "amount": row["amount"] * 100} for row in world["orders"]
                 if row["occurred_at"] < before(1).replace(tzinfo=None)]  # fmt: skip
    assert look(workspace_of(tmp_path, {**world, "orders": [*world["orders"], *corrected]})) == {}


def test_rows_known_at_the_as_of_are_not_seen_and_those_a_microsecond_before_are(world: World, tmp_path: Path) -> None:
    stopped = changed(world, "orders", before(2), lambda row, chance: None)
    one = {"order_id": "last", "customer_id": "C1", "amount": 5.0, "category": "care", "quantity": 1}
    for known, expected in ((NOW, ["stopped orders"]), (NOW - timedelta(microseconds=1), [])):
        row = {**one, "occurred_at": known.replace(tzinfo=None)}
        faulty = {**stopped, "orders": [*stopped["orders"], row]}
        assert [name for name in alarms(workspace_of(tmp_path / f"{known:%f}", faulty)) if name == "stopped orders"] == expected


def test_nothing_counts_as_silent_beyond_what_the_tables_tell(world: World, tmp_path: Path) -> None:
    assert alarms(workspace_of(tmp_path, world), NOW + 5 * DAY) == {}


def test_rows_older_than_late_after_are_late(world: World, tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path, changed(world, "surveys", before(9), lambda row, chance: None),
                             settings={"nightly": {"late_after_of": {"surveys": "8d"}}})  # fmt: skip
    late = [one for one in wrong(workspace, Catalog.load(workspace), NOW) if one.kind == "late" and one.severity == "alarm"]
    assert [(one.where, "`late_after` allows 8 days" in one.sentence) for one in late] == [("surveys", True)]


@pytest.mark.parametrize(("table", "columns"), [("orders", {"amount"}), ("interactions", {"channel", "kind"})])
def test_columns_that_were_not_delivered_are_not_missed(world: World, tmp_path: Path, table: str, columns: set[str]) -> None:
    assert look(workspace_of(tmp_path, world, without={table: columns})) == {}


@pytest.mark.slow
def test_the_sample_crm_raises_nothing_in_thirty_weeks_and_its_big_campaign_is_named(tmp_path: Path) -> None:
    """The campaign brings leads of a source that was never there, 53 weeks before the end, for three weeks."""
    sample.make(tmp_path / "export", now=NOW, customers=400)
    (tmp_path / SETTINGS_FILE).write_text('adapter = "sample"\n[duckdb]\nthreads = 1\n', encoding="utf-8")
    workspace = Workspace.open(tmp_path)
    ingest.run(workspace, NOW)
    assert [alarms(workspace, NOW - week * 7 * DAY) for week in range(30)] == [{}] * 30
    found = alarms(workspace, NOW - 52 * 7 * DAY)
    campaign = found["category leads.source=campaign"].since
    assert campaign is not None and timedelta(0) <= campaign - (NOW - 53 * 7 * DAY) < 3 * DAY
