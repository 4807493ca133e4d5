"""Ingest keeps the contracts, says what does not fit and where, and puts all tables in force at once or none."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from features.catalog import Catalog
from features.errors import TableError, WorkspaceError
from features.publication import building
from features.settings import Workspace
from tests.features.export_files import NOW, contents, export, rows, run

ORDERS = "order_id,customer_id,occurred_at,amount\n"


def _orders(*lines: str) -> dict[str, str | bytes]:
    return {"orders.csv": ORDERS + "\n".join(lines) + "\n"}


def _refusal(workspace: Workspace) -> TableError:
    with pytest.raises(TableError) as caught:
        run(workspace)
    return caught.value


# What is stored


def test_columns_have_the_contract_s_types_and_known_at_defaults_to_the_row_s_time(tmp_path: Path) -> None:
    workspace = export(tmp_path, _orders("o1,c1,2024-02-01 10:00:00.000001,5.5"))
    catalog = run(workspace)
    assert catalog.tables["orders"].columns == {
        "order_id": "VARCHAR",
        "customer_id": "VARCHAR",
        "occurred_at": "TIMESTAMP",
        "amount": "DECIMAL(18,4)",
        "known_at": "TIMESTAMP",
        "known_until": "TIMESTAMP",
    }
    instant = datetime(2024, 2, 1, 10, 0, 0, 1)
    assert rows(workspace, catalog, "orders", "occurred_at, known_at, known_until") == [(instant, instant, None)]
    assert catalog.observed_until == NOW.isoformat()


def test_a_correction_ends_the_version_before_it(tmp_path: Path) -> None:
    lines = ["o1,c1,2024-02-01,5,2024-02-01", "o1,c1,2024-02-01,7,2024-03-01", "o2,c1,2024-02-01,1,"]
    workspace = export(tmp_path, {"orders.csv": ORDERS.strip() + ",known_at\n" + "\n".join(lines) + "\n"})
    first, second = datetime(2024, 2, 1), datetime(2024, 3, 1)
    assert rows(workspace, run(workspace), "orders", "order_id, amount::int, known_at, known_until") == [
        ("o1", 5, first, second),
        ("o1", 7, second, None),
        ("o2", 1, first, None),
    ]


def test_the_same_export_in_any_order_gives_the_same_version(tmp_path: Path) -> None:
    lines = [f"o{n},c{n % 3 + 1},2024-02-01,{n}" for n in range(50)]
    version = run(export(tmp_path / "a", _orders(*lines))).version
    random.Random(1).shuffle(lines)
    workspace = export(tmp_path / "b", _orders(*lines))
    assert run(workspace).version == version == run(workspace).version
    assert run(export(tmp_path / "b", _orders(*lines, "o99,c1,2024-02-01,1"))).version != version


def test_previous_rows_and_the_version_before_are_kept(tmp_path: Path) -> None:
    versions = [run(export(tmp_path, _orders(*[f"o{n},c1,2024-02-01,1" for n in range(count)]))) for count in (1, 2, 3)]
    assert [catalog.tables["orders"].previous_rows for catalog in versions] == [None, 1, 2]
    folders = {path.name for path in (tmp_path / "data" / "tables").iterdir() if path.is_dir()}
    assert folders == {versions[1].version, versions[2].version}


def test_now_is_the_setting_s_before_the_command_s(tmp_path: Path) -> None:
    assert run(export(tmp_path, {}, now="2024-06-01")).observed_until == "2024-06-01T00:00:00+00:00"


# Which tables


def test_an_optional_table_without_a_file_is_left_out_and_said(tmp_path: Path) -> None:
    catalog = run(export(tmp_path, {}))
    assert list(catalog.tables) == ["customers"]
    assert "orders: left out, because the export has no orders" in catalog.notes


def test_a_file_that_nothing_reads_is_said(tmp_path: Path) -> None:
    catalog = run(
        export(tmp_path, {"weather.csv": "day\n2024-01-01\n", ".hidden.csv": b"", "~$customers.xlsx": b"open in Excel"})
    )
    assert "not read by any script: weather.csv" in catalog.notes


def test_a_file_nearly_named_as_a_table_is_refused(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, {"order.csv": ORDERS}))
    assert "table orders" in refusal.where
    assert "rename order.csv to orders" in refusal.repair


def test_leads_or_customers_must_be_there(tmp_path: Path) -> None:
    workspace = export(tmp_path, _orders("o1,c1,2024-02-01,1"))
    (tmp_path / "export" / "customers.csv").unlink()
    assert "leads or customers" in _refusal(workspace).expected


def test_a_table_without_a_row_is_refused(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, {"orders.csv": ORDERS}))
    assert "orders.csv" in refusal.where
    assert refusal.received == "a header and nothing else"


# Which columns


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, {"orders.csv": "order_id,customer_id,occurred_at\no1,c1,2024-02-01\n"}))
    assert refusal.where == "table orders (orders.csv, read by canonical/orders.sql), column amount"
    assert refusal.received == "columns order_id, customer_id, occurred_at"


def test_a_renamed_required_column_is_suggested(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, {"customers.csv": "customer_id,create_date\nc1,2024-01-01\n"}))
    assert refusal.repair == "rename `create_date` to `created_at` if that is what it is"


def test_a_misspelt_optional_column_is_suggested(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, {"orders.csv": ORDERS.strip() + ",catgory\no1,c1,2024-02-01,5,books\n"}))
    assert "rename it to `category`" in refusal.repair


def test_an_undeclared_column_is_left_out_and_said_a_declared_one_is_kept(tmp_path: Path) -> None:
    files = {"customers.csv": "customer_id,created_at,segment,shoe\nc1,2024-01-01, gold ,44\n"}
    declared = {"customers": {"segment": {"fixed": True}}}
    workspace = export(tmp_path, files, attributes=declared)
    catalog = run(workspace)
    assert rows(workspace, catalog, "customers", "segment") == [("gold",)]
    assert catalog.attributes["customers"]["segment"].fixed
    assert any("customers: left out `shoe`" in note for note in catalog.notes)


def test_a_declared_fixed_column_must_be_there(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, {}, attributes={"customers": {"segment": {"fixed": True}}}))
    assert "column segment" in refusal.where


def test_an_attribute_that_may_change_needs_a_history(tmp_path: Path) -> None:
    declared = {"customers": {"segment": {}}}
    assert any("customers.segment: no feature" in note for note in run(export(tmp_path, {}, attributes=declared)).notes)
    history = "entity,entity_id,field,value,valid_from\ncustomer,c1,segment,gold,2024-01-01\n"
    catalog = run(export(tmp_path, {"attribute_history.csv": history}, attributes=declared))
    assert not any("no feature" in note for note in catalog.notes)


@pytest.mark.parametrize("name", ["email", "Last_Name", "MobilePhone"])
def test_what_identifies_a_person_cannot_be_declared(tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkspaceError, match="identifies a person"):
        run(export(tmp_path, {}, attributes={"customers": {name: {"fixed": True}}}))


@pytest.mark.parametrize(
    ("name", "repair"),
    [
        ("Segment", "write `segment`"),
        ("dealSize", "write `dealsize`"),
        ("deal size", "rename the column"),
        ("größe", "rename the column"),
        ("2nd", "rename the column"),
    ],
)
def test_an_attribute_is_named_as_a_feature_is(tmp_path: Path, name: str, repair: str) -> None:
    with pytest.raises(WorkspaceError, match=repair):
        run(export(tmp_path, {}, attributes={"customers": {name: {"fixed": True}}}))


def test_a_column_is_found_whatever_its_case(tmp_path: Path) -> None:
    files = {"customers.csv": "Customer_ID,created_at,Segment\nc1,2024-01-01,gold\n"}
    workspace = export(tmp_path, files, attributes={"customers": {"segment": {"fixed": True}}})
    assert rows(workspace, run(workspace), "customers", "customer_id, segment") == [("c1", "gold")]


@pytest.mark.parametrize(("table", "name"), [("customers", "created_at"), ("leads", "converted_at"), ("customer", "segment")])
def test_an_attribute_of_the_contract_or_of_no_table_is_refused(tmp_path: Path, table: str, name: str) -> None:
    with pytest.raises(WorkspaceError):
        run(export(tmp_path, {}, attributes={table: {name: {"fixed": True}}}))


# Which values


def test_the_first_five_rows_of_a_wrong_type_are_shown(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, _orders(*[f"o{n},c1,2024-02-01,{'x' if n > 2 else ''}{n}" for n in range(1, 11)])))
    assert refusal.where.endswith("column amount")
    assert refusal.received.startswith("8 of 10 rows without: row 4 (order_id 'o3') has 'x3'; row 5 (order_id 'o4') has 'x4'")
    assert refusal.received.count("row ") == 5


def test_row_numbers_hold_in_a_large_file(tmp_path: Path) -> None:
    lines = [f"o{n},c1,2024-02-01,{'oops' if n in (700, 299_000) else n}" for n in range(1, 300_001)]
    assert "row 701 (order_id 'o700') has 'oops'; row 299001 (" in _refusal(export(tmp_path, _orders(*lines))).received


def test_a_missing_required_value_is_shown(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, _orders("o1,,2024-02-01,5", "o2,c1,2024-02-01,5")))
    assert "column customer_id" in refusal.where
    assert refusal.received == "1 of 2 rows without: row 2 (order_id 'o1') has nothing"


@pytest.mark.parametrize("name", ["1900-01-01", "1899-12-30", "2099-12-31", "9999-12-31 23:59:59", "31/12/2099"])
def test_a_placeholder_date_is_refused_where_a_date_is_required(tmp_path: Path, name: str) -> None:
    refusal = _refusal(export(tmp_path, _orders("o1,c1,2024-02-01,5", f"o2,c1,{name},5")))
    assert "column occurred_at" in refusal.where
    assert f"row 3 (order_id 'o2') has '{name}'" in refusal.received


def test_a_placeholder_date_is_missing_where_a_date_is_optional(tmp_path: Path) -> None:
    periods = (
        "subscription_id,customer_id,started_at,ended_at,plan\ns1,c1,2024-01-01,2099-12-31,a\ns2,c1,2024-01-01,2024-02-01,a\n"
    )
    workspace = export(tmp_path, {"subscriptions.csv": periods})
    catalog = run(workspace)
    assert rows(workspace, catalog, "subscriptions", "ended_at") == [(datetime(2024, 2, 1),), (None,)]
    assert any(note.startswith("subscriptions.ended_at: 1 dates of 1900 and before or 2099") for note in catalog.notes)


def test_a_placeholder_known_at_is_refused_because_it_could_reveal_the_future(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, {"orders.csv": ORDERS.strip() + ",known_at\no1,c1,2024-02-01,5,2099-12-31\n"}))
    assert "column known_at" in refusal.where


def test_a_time_without_a_zone_is_local_to_the_setting(tmp_path: Path) -> None:
    lines = _orders(
        "o1,c1,2024-07-01 12:00,5", "o2,c1,2024-07-01T12:00:00Z,5", "o3,c1,2024-07-01T12:00+05:30,5", "o4,c1,2024-07-01,5"
    )
    workspace = export(tmp_path, lines, ingest={"timezone": "Europe/Berlin"})
    assert [row[1].strftime("%d %H:%M") for row in rows(workspace, run(workspace), "orders", "order_id, occurred_at")] == [
        "01 10:00", "01 12:00", "01 06:30", "30 22:00",
    ]  # fmt: skip


def test_an_unknown_time_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="Europe/Berlin"):
        run(export(tmp_path, {}, ingest={"timezone": "Europe/Berln"}))


def test_decimal_commas_need_the_setting(tmp_path: Path) -> None:
    lines = {"orders.csv": ORDERS.replace(",", ";") + "o1;c1;2024-02-01;1,5\no2;c1;2024-02-01;1.234,50\n"}
    refusal = _refusal(export(tmp_path, lines))
    assert "row 2 (order_id 'o1') has '1,5'" in refusal.received
    assert "`decimal`" in refusal.repair
    workspace = export(tmp_path, lines, ingest={"decimal": ","})
    assert [float(row[0]) for row in rows(workspace, run(workspace), "orders", "amount")] == [1.5, 1234.5]


def test_dates_that_could_be_read_two_ways_are_refused_with_five_examples(tmp_path: Path) -> None:
    lines = _orders(*[f"o{n},c1,0{n}/02/2024,5" for n in range(1, 8)], "o9,c1,2024-02-01,5")
    refusal = _refusal(export(tmp_path, lines))
    assert "row 2 (order_id 'o1') has '01/02/2024'" in refusal.received
    assert refusal.received.count("row ") == 5
    assert "'02/02/2024'" not in refusal.received, "which is the same day in both orders"
    assert "day_first" in refusal.repair
    workspace = export(tmp_path, lines, ingest={"day_first": True})
    assert rows(workspace, run(workspace), "orders", "occurred_at")[1] == (datetime(2024, 2, 1),)


def test_dates_that_only_begin_with_the_day_are_read_beside_iso_dates(tmp_path: Path) -> None:
    workspace = export(tmp_path, _orders("o1,c1,03.04.2024 08:30,5", "o2,c1,25.12.2024,5", "o3,c1,2024-02-01,5"))
    catalog = run(workspace)
    assert [row[1] for row in rows(workspace, catalog, "orders", "order_id, occurred_at")] == [
        datetime(2024, 4, 3, 8, 30),
        datetime(2024, 12, 25),
        datetime(2024, 2, 1),
    ]
    assert "orders.occurred_at: 2 dates are read day first" in catalog.notes


def test_dates_in_two_orders_are_refused(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, _orders("o1,c1,25/12/2024,5", "o2,c1,12/25/2024,5")))
    assert refusal.received.endswith("row 2 (order_id 'o1') has '25/12/2024'; row 3 (order_id 'o2') has '12/25/2024'")


# Duplicates


def test_duplicates_are_rejected_by_default(tmp_path: Path) -> None:
    refusal = _refusal(export(tmp_path, _orders("o1,c1,2024-02-01,5", "o1,c1,2024-02-01,5", "o1,c1,2024-02-01,6")))
    assert refusal.where.endswith("key order_id")
    assert refusal.received.startswith("2 rows too many (1 copies, 1 differing): 'o1' known at 2024-02-01 00:00:00 3 times")


def test_merging_keeps_the_fullest_row_whatever_the_order(tmp_path: Path) -> None:
    header = ORDERS.strip() + ",category,quantity\n"
    lines = ["o1,c1,2024-02-01,5,,", "o1,c1,2024-02-01,4,books,1", "o1,c1,2024-02-01,5,,", "o2,c1,2024-02-01,1,,"]
    versions = set()
    for turned in (lines, lines[::-1]):
        workspace = export(tmp_path, {"orders.csv": header + "\n".join(turned) + "\n"}, ingest={"duplicates": "merge"})
        catalog = run(workspace)
        assert [float(row[0]) for row in rows(workspace, catalog, "orders", "amount")] == [1, 4]
        assert catalog.tables["orders"].merged == 2
        assert any("merged 2 duplicates: 1 equal in every column, 1 differing" in note for note in catalog.notes)
        versions.add(catalog.version)
    assert len(versions) == 1


def test_merging_does_not_merge_versions(tmp_path: Path) -> None:
    lines = ["o1,c1,2024-02-01,5,2024-02-01", "o1,c1,2024-02-01,7,2024-03-01", "o1,c1,2024-02-01,7,2024-03-01"]
    files = {"orders.csv": ORDERS.strip() + ",known_at\n" + "\n".join(lines) + "\n"}
    workspace = export(tmp_path, files, ingest={"duplicates": "merge"})
    assert len(rows(workspace, run(workspace), "orders")) == 2


# All at once or nothing


@pytest.mark.parametrize(
    "files",
    [
        _orders("o1,c1,not a date,5"),
        {"orders.csv": ORDERS},
        {"orders.csv": "order_id\n"},
        {"orders.csv": b""},
        {"orders.parquet": b"half"},
    ],
    ids=["value", "no row", "column", "empty", "two files"],
)
def test_a_failed_ingest_leaves_yesterday_s_tables(tmp_path: Path, files: dict[str, Any]) -> None:
    workspace = export(tmp_path, _orders("o1,c1,2024-02-01,5"))
    run(workspace)
    before = contents(workspace.tables)
    _refusal(export(tmp_path, files))
    assert contents(workspace.tables) == before
    assert [path.name for path in workspace.tables.iterdir() if path.name.startswith(".")] == [".lock"]


def test_a_killed_ingest_leaves_yesterday_s_tables_and_the_next_one_clears_up(tmp_path: Path) -> None:
    workspace = export(tmp_path, _orders("o1,c1,2024-02-01,5"))
    (tmp_path / "foresell.toml").write_text("")
    catalog = run(workspace)
    before = contents(workspace.tables)
    export(tmp_path, _orders(*[f"o{n},c1,2024-02-01,{n}" for n in range(1_500_000)]))
    command = [sys.executable, "-m", "foresell", "ingest", "--workspace", str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen(command, cwd=root, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    half_written = workspace.tables / ".building" / "orders.raw"
    while not half_written.exists():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert half_written.exists()
    assert {name: content for name, content in contents(workspace.tables).items() if ".building" not in name} == before
    assert Catalog.load(workspace) == catalog
    (tmp_path / "export" / "orders.csv").unlink()
    version = run(workspace).version
    assert contents(workspace.tables).keys() == before.keys() | {f"{version}/customers.parquet"}


def test_one_ingest_at_a_time(tmp_path: Path) -> None:
    workspace = export(tmp_path, {})
    with building(workspace), pytest.raises(WorkspaceError, match="one ingest at a time"):
        run(workspace)
    run(workspace)
