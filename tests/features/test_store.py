"""Feast behind one door: the join loses nobody and looks at nothing older or later, and online equals offline to the bit."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow
import pytest

from features import external, snapshot, storage, store
from features.catalog import Catalog
from features.database import connect, limit
from features.errors import (
    ContractError,
    FeatureError,
    LostRowsError,
    PropensityError,
    SnapshotError,
    StoreError,
    TableError,
    WorkspaceError,
)
from features.online import record_files
from features.record import Layout, encode
from features.settings import REPOSITORY, Attribute, External, Settings, StoreSettings, Workspace
from features.views import feature_map, views
from tests.worlds import INSTANT, make_workspace, random_world

T: datetime = INSTANT.tz_localize("UTC").to_pydatetime()
EARLIER = T - timedelta(days=28)
MICROSECOND = timedelta(microseconds=1)
ATTRIBUTES = {"customers": {"segment": Attribute()}, "leads": {"segment": Attribute()}}
USAGE = External(
    entity="customer", path="marts/usage.parquet", id="cid", timestamp="at",
    columns={"minutes": Attribute(type="number"), "plan": Attribute(), "active": Attribute(type="flag")},
)  # fmt: skip
REDIS = "redis://127.0.0.1:6379"
ONLINE = ["sqlite", pytest.param(REDIS, marks=pytest.mark.redis)]


def usage(root: Path, rows: list[tuple]) -> None:
    (root / "marts").mkdir(exist_ok=True)
    frame = pd.DataFrame(rows, columns=["cid", "at", "minutes", "plan", "active"])
    frame.to_parquet(root / "marts" / "usage.parquet")


def make(root: Path, online: str = "sqlite", tables: set[str] | None = None) -> Workspace:
    world = {name: rows for name, rows in random_world(7).items() if tables is None or name in tables}
    settings = Settings(store=StoreSettings(online=online), external={"usage": USAGE})
    attributes = {table: columns for table, columns in ATTRIBUTES.items() if table in world}
    return make_workspace(root, world, attributes=attributes, settings=settings)


@pytest.fixture(scope="module", params=ONLINE)
def workspace(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """Snapshots of two instants, applied, and materialised at the later one; on SQLite and on Redis."""
    root = tmp_path_factory.mktemp("workspace")
    usage(
        root,
        [
            ("a", T - 2 * MICROSECOND, 1.5, "x", True),
            ("a", T - MICROSECOND, float("nan"), "", None),
            ("b", T - timedelta(days=90), 3.0, None, False),
            ("b", T, 4.0, "later", True),
            ("stranger", T - timedelta(days=1), 5.0, "y", True),
        ],
    )
    made = make(root, request.param)
    snapshot.build(made, [EARLIER, T])
    store.apply(made)
    store.materialize(made, T)
    yield made
    drop(made)


def drop(workspace: Workspace) -> None:
    store.Online(workspace)._feast.teardown()


@pytest.fixture
def cleanup() -> Iterator[list[Workspace]]:
    """Workspaces whose keys leave Redis when the test ends, however it ends."""
    made: list[Workspace] = []
    yield made
    for workspace in made:
        drop(workspace)


@pytest.fixture
def declared(tmp_path: Path) -> Workspace:
    """A small workspace of one's own: tables and declarations only."""
    usage(tmp_path, [("a", T - timedelta(days=1), 1.0, "x", True)])
    return make(tmp_path, tables={"customers", "orders"})


@pytest.fixture
def fresh(declared: Workspace) -> Workspace:
    """A small workspace of one's own, built and applied but not materialised."""
    snapshot.build(declared, [EARLIER, T])
    store.apply(declared)
    return declared


def names(workspace: Workspace, entity: str = "customer") -> list[str]:
    return list(feature_map(views(workspace, Catalog.load(workspace)), entity))


def spine(*rows: tuple[str, datetime]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["entity_id", "as_of"])
    return frame.astype({"entity_id": object, "as_of": "datetime64[us, UTC]"})


def bits(value: float | str | None) -> object:
    return struct.pack("<d", value) if isinstance(value, float) else value


# the join


def test_the_join_gives_the_rows_of_the_spine_in_its_order(workspace: Workspace) -> None:
    asked = spine(("b", T), ("a", EARLIER), ("b", T), ("c", T), ("a", T))
    given = asked.copy()
    columns = [name for name in names(workspace) if not name.startswith("usage_")]
    joined = store.historical(workspace, "customer", given, columns)
    pd.testing.assert_frame_equal(given, asked)
    known = snapshot.read(workspace, "customer", [EARLIER, T], columns)
    pd.testing.assert_frame_equal(joined, asked.merge(known, on=["entity_id", "as_of"], how="left"))


def test_numbers_and_categories_have_their_types(workspace: Workspace) -> None:
    joined = store.historical(workspace, "customer", spine(("a", T), ("b", T)), ["orders_amount_mean_365d", "customer_segment"])
    assert joined.dtypes.astype(str).to_dict() == {
        "entity_id": "object", "as_of": "datetime64[us, UTC]", "orders_amount_mean_365d": "float64", "customer_segment": "object",
    }  # fmt: skip


def test_an_external_row_counts_before_the_as_of_and_not_at_it(workspace: Workspace) -> None:
    columns = ["usage_minutes", "usage_plan", "usage_active"]
    asked = spine(("a", T), ("b", T), ("c", T), ("b", EARLIER))
    joined = store.historical(workspace, "customer", asked, columns)
    assert joined["usage_plan"].tolist() == ["", None, None, None]
    assert joined["usage_minutes"].fillna(-1).tolist() == [-1, 3, -1, 3]
    assert joined["usage_active"].fillna(-1).tolist() == [-1, 0, -1, 0]


def test_an_empty_spine_gives_an_empty_answer_of_the_same_types(workspace: Workspace) -> None:
    joined = store.historical(workspace, "customer", spine(), ["orders_count_30d", "customer_segment"])
    assert len(joined) == 0
    assert [str(dtype) for dtype in joined.dtypes] == ["object", "datetime64[us, UTC]", "float64", "object"]


@pytest.mark.parametrize("instant", [T + MICROSECOND, T - timedelta(days=1)])
def test_an_older_snapshot_never_stands_in_for_one_that_is_missing(workspace: Workspace, instant: datetime) -> None:
    with pytest.raises(SnapshotError, match="foresell snapshot --as-of 2024-06-0"):
        store.historical(workspace, "customer", spine(("a", T), ("a", instant)), ["orders_count_30d"])


def test_an_entity_without_a_snapshot_row_is_named(workspace: Workspace) -> None:
    with pytest.raises(StoreError, match="'stranger'"):
        store.historical(workspace, "customer", spine(("a", T), ("stranger", T)), ["orders_count_30d", "usage_minutes"])


def test_a_snapshot_a_microsecond_older_is_not_joined(fresh: Workspace) -> None:
    snapshot.build(fresh, [T - MICROSECOND])
    late = {"order_id": "late", "customer_id": "a", "occurred_at": INSTANT - MICROSECOND, "amount": 1.0}
    world = {**{k: v for k, v in random_world(7).items() if k == "customers"}, "orders": [late]}
    changed = make_workspace(fresh.root, world, attributes={"customers": ATTRIBUTES["customers"]}, settings=fresh.settings)
    snapshot.build(changed, [T - MICROSECOND, T])
    joined = store.historical(changed, "customer", spine(("a", T - MICROSECOND), ("a", T)), ["orders_count_30d"])
    assert joined["orders_count_30d"].tolist() == [0, 1]


def test_an_unknown_feature_is_refused(workspace: Workspace) -> None:
    with pytest.raises(FeatureError, match="orders_count_31d"):
        store.historical(workspace, "customer", spine(("a", T)), ["orders_count_31d"])


def test_a_feature_that_feast_was_not_told_of_is_refused(tmp_path: Path) -> None:
    made = make_workspace(tmp_path, {"customers": random_world(7)["customers"]})
    snapshot.build(made, [T])
    with pytest.raises(StoreError, match="no customer_profile:customer_age_days"):
        store.historical(made, "customer", spine(("a", T)), ["customer_age_days"])


@pytest.mark.parametrize("positions", [[0, 1], [0, 1, 1], [0, 1, 2, 3]], ids=["fewer", "twice", "more"])
def test_lost_rows_raise(positions: list[int]) -> None:
    with pytest.raises(LostRowsError, match="expected: 3 rows"):
        store._in_order(pyarrow.table({store.POSITION: positions}), "customer", 3)


def test_rows_are_brought_back_into_the_order_of_the_spine() -> None:
    answer = pyarrow.table({store.POSITION: [2, 0, 1], "value": ["c", "a", "b"]})
    assert store._in_order(answer, "customer", 3)["value"].to_pylist() == ["a", "b", "c"]


@pytest.mark.slow
def test_a_hundred_thousand_rows_and_sixty_features_keep_every_row(declared: Workspace) -> None:
    """The size at which Feast's default offline store loses rows."""
    rows = 100_000
    made = make(declared.root, tables={"customers", "orders", "interactions", "subscriptions", "cases"})
    with connect(made) as connection:
        for view in views(made, Catalog.load(made)):
            if not view.external:
                folder = snapshot.folder(made, view)
                folder.mkdir(parents=True)
                random = {"number": "random()", "category": "chr(65 + (random() * 9)::int)"}
                columns = "".join(f', {random[feature.dtype]} as "{feature.name}"' for feature in view.columns)
                entities = f"select 'c' || range as entity_id, timestamptz '{T.isoformat()}' as event_timestamp{columns}"
                connection.execute(f"copy ({entities} from range({rows})) to '{folder / snapshot.label(T)}.parquet'")
    store.apply(made)
    columns = [name for name in names(made) if not name.startswith("usage_")][:60]
    asked = spine(*((f"c{number}", T) for number in np.random.default_rng(1).permutation(rows)))
    joined = store.historical(made, "customer", asked, columns)
    assert len(columns) >= 50
    known = snapshot.read(made, "customer", [T], columns)
    pd.testing.assert_frame_equal(joined, asked.merge(known, on=["entity_id", "as_of"], how="left"))


# what Feast is told


def feast_names(workspace: Workspace) -> tuple[set[str], set[str], set[str]]:
    known = store.Online(workspace)._feast
    return (
        {view.name for view in known.list_feature_views()},
        {service.name for service in known.list_feature_services()},
        {source.name for source in known.list_data_sources()},
    )


def test_every_view_and_propensity_is_told_and_telling_again_changes_nothing(workspace: Workspace) -> None:
    declared = {view.name for view in views(workspace, Catalog.load(workspace))} | {"lead_record", "customer_record"}
    before = feast_names(workspace)
    assert before == (declared, {"churn", "lead-conversion", "upsell"}, declared)
    store.apply(workspace)
    assert feast_names(workspace) == before
    assert store.materialize(workspace, T)[1].same == 3


def test_what_is_described_in_a_declaration_is_described_in_feast(workspace: Workspace) -> None:
    fields = {field.name: field for field in store.Online(workspace)._feast.get_feature_view("customer_orders").features}
    assert fields["orders_count_30d"].description == "order lines in the last 30 days"
    assert fields["orders_count_30d"].tags["unit"] == "count"


def test_a_view_that_vanished_is_forgotten_and_may_come_back(fresh: Workspace) -> None:
    assert "usage" in feast_names(fresh)[0]
    without = replace(fresh, settings=Settings())
    store.apply(without)
    view_names, services, sources = feast_names(without)
    assert "usage" not in view_names | sources
    assert "customer_orders" in view_names & sources
    assert services == {"churn", "upsell"}
    store.apply(fresh)
    assert "usage" in feast_names(fresh)[0]


def test_a_registry_that_feast_tore_down_is_named(fresh: Workspace) -> None:
    drop(fresh)
    with pytest.raises(StoreError, match=r"delete the file"):
        store.apply(fresh)
    (fresh.store / "registry.db").unlink()
    store.apply(fresh)
    assert store.materialize(fresh, T)[0].written == 3


@pytest.mark.parametrize("name", ["record", "customer_orders", "Usage", "../usage"])
def test_a_view_name_that_cannot_be_is_refused(declared: Workspace, name: str) -> None:
    with pytest.raises(FeatureError, match=f"view '{name}'"):
        store.apply(replace(declared, settings=Settings(external={name: USAGE})))
    assert not declared.snapshots.exists()


@pytest.mark.parametrize("column", ["latenc_y", "Minutes"])
def test_a_feature_name_that_feast_would_lose_is_refused(declared: Workspace, column: str) -> None:
    wrong = USAGE.model_copy(update={"columns": {column: Attribute(type="number")}})
    with pytest.raises(FeatureError, match=f"usage_{column}"):
        store.apply(replace(declared, settings=Settings(external={"usage": wrong})))


# online


def test_online_equals_offline_to_the_bit(workspace: Workspace) -> None:
    """Law 3, as far as the stores go: numbers, missing ones, categories, empty ones, external views."""
    for entity, ids in store.population(workspace, T).items():
        columns = names(workspace, entity)
        offline = store.historical(workspace, entity, spine(*((entity_id, T) for entity_id in ids)), columns)
        for row, record in zip(offline.to_dict("records"), store.Online(workspace).read(entity, ids), strict=True):
            assert record is not None and (record.entity_id, record.as_of) == (row["entity_id"], T)
            assert set(record.values) == set(columns)
            assert {name: bits(record.values[name]) for name in columns} == {name: bits(row[name]) for name in columns}


def test_the_answer_is_in_the_order_asked_with_none_for_the_unknown(workspace: Workspace) -> None:
    online = store.Online(workspace)
    found = online.read("customer", ["c", "nobody", "a", "c", ""])
    assert [record and record.entity_id for record in found] == ["c", None, "a", "c", None]
    assert online.read("customer", []) == []
    many = online.read("customer", ["a", *(f"nobody-{i}" for i in range(2_500)), "b"])
    assert [record.entity_id for record in many if record] == ["a", "b"]


def test_an_entity_without_records_is_refused(fresh: Workspace) -> None:
    with pytest.raises(StoreError, match="records of lead"):
        store.Online(fresh).read("lead", ["a"])


def put(workspace: Workspace, as_of: datetime, **values: float) -> store.Materialized:
    layout = Layout((("usage_minutes", "number"),))
    store.write_layout(workspace, layout)
    frame = pd.DataFrame({"usage_minutes": list(values.values())})
    return store.Online(workspace).put("customer", as_of, [dict(zip(values, encode(layout, as_of, frame), strict=True))])


def minutes(online: store.Online, *ids: str) -> list[object]:
    return [record and record.values["usage_minutes"] for record in online.read("customer", ids)]


@pytest.mark.parametrize("address", ONLINE)
def test_a_correction_lands_and_an_older_as_of_never_wins(tmp_path: Path, address: str, cleanup: list[Workspace]) -> None:
    usage(tmp_path, [("a", T, 1.0, "x", True)])
    made = make(tmp_path, address, tables={"customers"})
    store.apply(made)
    cleanup.append(made)
    assert put(made, T, a=1.0, b=2.0) == store.Materialized("customer", written=2, same=0, newer=0)
    assert put(made, T, a=1.5, b=2.0) == store.Materialized("customer", written=1, same=1, newer=0)
    online = store.Online(made)
    assert minutes(online, "a", "b", "c") == [1.5, 2.0, None]
    assert put(made, EARLIER, a=9.0, b=9.0, c=3.0) == store.Materialized("customer", written=1, same=0, newer=2)
    assert minutes(online, "a", "b", "c") == [1.5, 2.0, 3.0]
    assert put(made, T + MICROSECOND, a=4.0) == store.Materialized("customer", written=1, same=0, newer=0)
    assert minutes(online, "a", "b", "c") == [4.0, 2.0, 3.0]


@pytest.mark.redis
def test_two_workspaces_in_one_redis_do_not_mix(tmp_path: Path, cleanup: list[Workspace]) -> None:
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        usage(tmp_path / name, [("a", T, 1.0, "x", True)])
        cleanup.append(make(tmp_path / name, REDIS, tables={"customers"}))
        store.apply(cleanup[-1])
        put(cleanup[-1], T, a=float(number))
    online = [store.Online(workspace) for workspace in cleanup]
    assert [minutes(each, "a") for each in online] == [[0.0], [1.0]]
    drop(cleanup.pop(0))
    assert [minutes(each, "a") for each in online] == [[None], [1.0]]


def world_of(root: Path, online: str, *ids: str) -> Workspace:
    """A workspace that knows these customers and nothing else of them."""
    customers = [{"customer_id": entity_id, "created_at": INSTANT - timedelta(days=9)} for entity_id in ids]
    return make_workspace(root, {"customers": customers}, settings=Settings(store=StoreSettings(online=online)))


def materialized(root: Path, online: str, as_of: datetime, *ids: str) -> tuple[store.Materialized, list[bool]]:
    """What came of materialising a world of these customers, and of which of a to d there is a record."""
    made = world_of(root, online, *ids)
    snapshot.build(made, [as_of])
    store.apply(made)
    (done,) = store.materialize(made, as_of)
    return done, [record is not None for record in store.Online(made).read("customer", ["a", "b", "c", "d"])]


@pytest.mark.parametrize("address", ONLINE)
def test_who_is_known_no_more_is_answered_no_more(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "RECORDS_PER_CHUNK", 2)
    yes, no = True, False
    assert materialized(tmp_path, address, T, "a", "b", "c") == (store.Materialized("customer", written=3), [yes, yes, yes, no])
    # the same instant again: an export without b and c, one with d
    assert materialized(tmp_path, address, T, "a", "d") == (
        store.Materialized("customer", written=1, same=1, gone=2), [yes, no, no, yes],
    )  # fmt: skip
    assert materialized(tmp_path, address, T, "a", "d") == (store.Materialized("customer", same=2), [yes, no, no, yes])
    # an older instant, at which they were known, neither brings them back nor sends the others away
    assert materialized(tmp_path, address, EARLIER + timedelta(days=20), "b") == (
        store.Materialized("customer", newer=1), [yes, no, no, yes],
    )  # fmt: skip
    # a later one with c again
    assert materialized(tmp_path, address, T + MICROSECOND, "c") == (
        store.Materialized("customer", written=1, gone=2), [no, no, yes, no],
    )  # fmt: skip
    drop(world_of(tmp_path, address, "c"))


def test_chunks_leave_nothing_out_and_replace_the_files_of_older_ones(fresh: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    store.materialize(fresh, EARLIER)
    monkeypatch.setattr(store, "RECORDS_PER_CHUNK", 1)
    ticks: list[int] = []
    assert store.materialize(fresh, T, ticks.append) == (store.Materialized("customer", written=3),) and sum(ticks) == 3
    files = record_files(fresh, "customer")
    assert [path.name for path in files] == [f"{snapshot.label(T)}-{number}.parquet" for number in range(3)]
    assert pd.concat(map(pd.read_parquet, files))["customer_id"].tolist() == ["a", "b", "c"]
    assert all(record and record.as_of == T for record in store.Online(fresh).read("customer", ["a", "b", "c"]))
    monkeypatch.undo()
    assert store.materialize(fresh, T) == (store.Materialized("customer", same=3),)
    assert len(record_files(fresh, "customer")) == 1


def test_a_propensity_file_that_is_wrong_leaves_nobody_with_yesterdays_external_features(fresh: Workspace) -> None:
    fresh.own_propensities.mkdir()
    (fresh.own_propensities / "churn.toml").write_text("question = [", encoding="utf-8")
    usage(fresh.root, [("a", T - timedelta(days=1), 2.0, "x", True)])
    with pytest.raises(PropensityError, match=r"churn\.toml"):
        store.apply(fresh)
    assert store.historical(fresh, "customer", spine(("a", T)), ["usage_minutes"])["usage_minutes"].tolist() == [2.0]


def test_records_stay_readable_when_declarations_move_on(fresh: Workspace) -> None:
    store.materialize(fresh, EARLIER)
    without = replace(fresh, settings=Settings())
    store.apply(without)
    (record,) = store.Online(without).read("customer", ["a"])
    assert record is not None and "usage_minutes" in record.values
    shutil.rmtree(fresh.store / "layouts")
    with pytest.raises(ContractError, match="layouts"):
        store.Online(without).read("customer", ["a"])


def test_a_record_is_whole_while_it_is_being_replaced(fresh: Workspace) -> None:
    layout = Layout(tuple((f"n{i}", "number") for i in range(50)))
    store.write_layout(fresh, layout)
    ids, online, seen = [f"c{i}" for i in range(3_000)], store.Online(fresh), set()

    def write() -> None:
        for turn in range(1, 5):
            as_of = T + turn * MICROSECOND
            packed = encode(layout, as_of, pd.DataFrame([[float(turn)] * 50] * len(ids), columns=layout.numbers))
            store.Online(fresh).put("customer", as_of, [dict(zip(ids, packed, strict=True))])

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            for record in online.read("customer", ids[::500]):
                values = set(record.values.values()) if record else {0.0}
                assert len(values) == 1
                seen |= values
        writing.result()
    assert set(online.read("customer", ["c7"])[0].values.values()) == {4.0}  # type: ignore[union-attr]


def test_a_snapshot_that_is_missing_is_named_before_anything_is_written(fresh: Workspace) -> None:
    with pytest.raises(SnapshotError, match="customer_profile"):
        store.materialize(fresh, T + timedelta(days=1))


def test_progress_counts_every_entity(fresh: Workspace) -> None:
    ticks: list[int] = []
    store.materialize(fresh, T, ticks.append)
    assert sum(ticks) == sum(len(ids) for ids in store.population(fresh, T).values()) == 3


def test_a_store_that_does_not_answer_is_named_without_its_password(tmp_path: Path) -> None:
    usage(tmp_path, [("a", T, 1.0, "x", True)])
    made = make(tmp_path, "redis://:secret@127.0.0.1:1", tables={"customers"})
    store.apply(made)
    with pytest.raises(StoreError, match=r"redis://127\.0\.0\.1:1") as caught:
        store.Online(made).read("customer", ["a"])
    assert "secret" not in str(caught.value)


def test_nothing_is_said_on_the_screen(fresh: Workspace, capfd: pytest.CaptureFixture[str]) -> None:
    store.apply(fresh)
    store.materialize(fresh, T)
    store.historical(fresh, "customer", spine(("a", T)), ["orders_count_30d"])
    assert capfd.readouterr() == ("", "")


def test_a_long_query_draws_no_progress_bar(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with duckdb.connect() as connection:
        connection.execute("set progress_bar_time = 1")  # milliseconds; it switches the bar on
        limit(connection, Workspace(tmp_path, Settings()))
        capfd.readouterr()  # what was drawn of the setting itself
        connection.sql("select sum(hash(a.range + b.range) % 7) from range(20000) a, range(1000) b").fetchall()
    assert capfd.readouterr() == ("", "")


# external tables


def copied(workspace: Workspace) -> Path:
    return workspace.snapshots / "customer" / "usage" / external.FILE


def test_an_external_table_is_copied_again_only_when_it_changed(fresh: Workspace) -> None:
    copy = copied(fresh)
    first = copy.stat().st_mtime_ns
    external.refresh(fresh)
    assert copy.stat().st_mtime_ns == first
    usage(fresh.root, [("a", T - timedelta(days=1), 2.0, "x", True)])
    external.refresh(fresh)
    assert store.historical(fresh, "customer", spine(("a", T)), ["usage_minutes"])["usage_minutes"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": "marts/usages.parquet"}, "did you mean 'usage.parquet'"),
        ({"id": "cidd"}, "did you mean 'cid'"),
        ({"timestamp": "att"}, "did you mean 'at'"),
        ({"columns": {"minute": Attribute(type="number")}}, "did you mean 'minutes'"),
        ({"columns": {"at": Attribute(type="timestamp")}}, "number or a category"),
    ],
)
def test_a_wrong_declaration_of_an_external_table_suggests_the_near_miss(declared: Workspace, change: dict, message: str) -> None:
    wrong = USAGE.model_copy(update=change)
    with pytest.raises(WorkspaceError, match=message):
        external.refresh(replace(declared, settings=Settings(external={"usage": wrong})))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", T, "many", "x", True)], "'many'"),
        ([("a", "yesterday", 1.0, "x", True)], "'yesterday'"),
        ([("a", T, 1.0, "x", True), (None, T, 1.0, "x", True)], "1 rows without"),
        ([("a", T, 1.0, "x", True), ("a", T, 2.0, "x", True)], "more than one for 'a'"),
        ([(1.0, T, 1.0, "x", True)], "42.0"),
    ],
)
def test_wrong_rows_of_an_external_table_are_named_and_the_last_copy_stays(
    declared: Workspace, rows: list[tuple], message: str
) -> None:
    external.refresh(declared)
    before = copied(declared).read_bytes()
    usage(declared.root, rows)
    with pytest.raises(TableError, match=message):
        external.refresh(declared)
    assert copied(declared).read_bytes() == before


# where things are


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis://host", "host:6379,socket_connect_timeout=2,socket_timeout=5,retry=null"),
        (
            "rediss://u:p%40ss@host:7/2?socket_timeout=9",
            "host:7,socket_connect_timeout=2,socket_timeout=9,retry=null,db=2,username=u,password=p@ss,ssl=true",
        ),
        (
            "rediss+cluster://u:p%40ss@one:7,two",
            "one:7,two:6379,socket_connect_timeout=2,socket_timeout=5,username=u,password=p@ss,ssl=true",
        ),
    ],
)
def test_a_redis_address_in_feasts_words(tmp_path: Path, address: str, expected: str) -> None:
    workspace = Workspace(tmp_path, Settings(store=StoreSettings(online=address)))
    found = storage.config(workspace)["online_store"]
    assert found["connection_string"] == expected
    assert found.get("redis_type", "redis") == ("redis_cluster" if "cluster" in address else "redis")


@pytest.mark.parametrize(
    "address",
    [
        "", "postgres://host", "redis://", "redis://host:port", "redis://:a,b@host", "sqllite", "redis://a:1,b:2",
        "redis+cluster://", "redis+cluster://a,,b", "redis+cluster://a,b:port", "redis+cluster://a,b/1", "redis+cluster://:x,y@a",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(WorkspaceError, match=r"\[store\] online"):
        storage.config(Workspace(tmp_path, Settings(store=StoreSettings(online=address))))


def test_a_password_may_come_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    workspace = Workspace(tmp_path, Settings(store=StoreSettings(online="redis://:${REDIS_PASSWORD}@host")))
    assert "password=secret" in storage.expanded(storage.config(workspace))["online_store"]["connection_string"]
    assert "secret" not in storage.write(workspace).read_text()


@pytest.mark.parametrize("password", ['quo"te', "back\\slash", "new\nline", "{}", "ü"])
def test_a_password_from_the_environment_may_hold_any_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("PW", password)
    raw = storage.config(Workspace(tmp_path, Settings(store=StoreSettings(online="redis://:${PW}@host"))))
    filled = storage.expanded(raw)
    assert filled["online_store"]["connection_string"].endswith(f",password={password}")
    assert {**filled, "online_store": None} == {**raw, "online_store": None}


@pytest.mark.parametrize(
    "address",
    [
        "redis://:hush,hush@host",
        "redis://u:hush/hush@host",
        "redis://:hush@hush@",
        "hush@host",
        "redis:/:hush@host?password=hush",
        "redis+cluster://u:hush@a,b/1",
    ],
)
def test_an_address_that_is_refused_is_shown_without_its_password(tmp_path: Path, address: str) -> None:
    with pytest.raises(WorkspaceError) as refused:
        storage.config(Workspace(tmp_path, Settings(store=StoreSettings(online=address))))
    assert "hush" not in str(refused.value)


def test_each_workspace_has_a_project_of_its_own(tmp_path: Path) -> None:
    projects = [storage.project(Workspace(root, Settings())) for root in (REPOSITORY, tmp_path / "a", tmp_path / "b")]
    assert projects[0] == "foresell" and len(set(projects)) == 3
    assert storage.project(Workspace(tmp_path, Settings(store=StoreSettings(project="acme")))) == "acme"


def test_the_feast_command_works_on_a_workspace(fresh: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner
    from feast.cli.cli import cli

    (fresh.root / "foresell.toml").write_text("")
    store.materialize(fresh, T)
    (fresh.store / "online.db").unlink()
    monkeypatch.chdir(REPOSITORY / "features" / "repo")

    def feast(*words: str) -> str:
        result = CliRunner().invoke(cli, ["-f", str(fresh.store / storage.FEAST_YAML), *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    feast("apply")
    assert "usage" not in feast("feature-views", "list")  # foresell.toml is empty now, and Feast read it
    feast("materialize", "2024-01-01T00:00:00", "2024-12-31T00:00:00")
    assert [record.entity_id for record in store.Online(fresh).read("customer", ["a", "b"]) if record] == ["a", "b"]


def test_feast_is_imported_without_being_compiled_anew() -> None:
    """It is two thirds of what the import costs, in every process."""
    asks = (
        "import features.repo.schema, feast, typeguard, typeguard._decorators as own\n"
        "assert 'check_argument_types_internal' not in feast.FeatureView.__init__.__code__.co_names\n"
        "assert typeguard.typechecked is own.typechecked"
    )
    subprocess.run([sys.executable, "-c", asks], check=True)
