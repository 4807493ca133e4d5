"""Laws 1 and 5: nothing known at or after T changes what is seen at T, down to the microsecond."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import snapshot
from features.catalog import Catalog
from features.cohort import cohort
from features.propensity import Outcome, Propensity
from features.settings import Attribute, Workspace, parse_instant
from features.tables import TABLES, Table
from features.views import feature_map, views
from tests.worlds import INSTANT, Rows, make_workspace, random_instant, random_world

T = INSTANT
AS_OF: datetime = T.tz_localize("UTC").to_pydatetime()
MICROSECOND = pd.Timedelta(microseconds=1)
ATTRIBUTES = {"customers": {"segment": Attribute()}, "leads": {"segment": Attribute()}}
ANY_CUSTOMER = Propensity(
    name="any", question="?", entity="customer", horizon="90d", outcome=Outcome(absent="orders"),
    eligible=("orders_count_365d >= 1", "subscriptions_tenure_days >= 0"),
)  # fmt: skip


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_nothing_known_at_or_after_t_changes_a_snapshot_or_a_cohort_at_t(world_seed: int, change_seed: int) -> None:
    world = random_world(world_seed, rows=6)
    changed = later_changes(world, np.random.default_rng(change_seed))
    assert changed != world
    assert seen(world) == seen(changed)


@pytest.mark.parametrize("table", [t for t in TABLES if t not in ("vehicles",)])
def test_a_row_known_one_microsecond_before_t_is_seen_and_one_known_at_t_is_not(table: str, tmp_path: Path) -> None:
    """The edge, table by table: without this, a snapshot that sees nothing at all would pass the law above."""
    without, early, late = (edge_world(table, known) for known in (None, T - MICROSECOND, T))
    assert seen(early) != seen(without)
    assert seen(late) == seen(without)


@pytest.mark.parametrize(("offset", "counted"), [(-1, 0), (0, 1), (1, 1)])
def test_a_window_begins_at_its_first_microsecond(offset: int, counted: int, tmp_path: Path) -> None:
    when = T - pd.Timedelta(days=30) + offset * MICROSECOND
    order = {"order_id": "o", "customer_id": "c", "occurred_at": when, "amount": 5.0}
    workspace = make_workspace(tmp_path, {"customers": [customer("c")], "orders": [order]})
    snapshot.build(workspace, [AS_OF])
    assert snapshot.read(workspace, "customer", [AS_OF], ["orders_count_30d"])["orders_count_30d"].tolist() == [counted]


@pytest.mark.parametrize(("ended", "active"), [(T - MICROSECOND, 0), (T, 1), (T + MICROSECOND, 1)])
def test_an_end_is_visible_only_after_it_happened(ended: pd.Timestamp, active: int, tmp_path: Path) -> None:
    began = {"subscription_id": "s", "customer_id": "c", "started_at": T - pd.Timedelta(days=50), "plan": "p"}
    workspace = make_workspace(tmp_path, {"customers": [customer("c")], "subscriptions": [{**began, "ended_at": ended}]})
    snapshot.build(workspace, [AS_OF])
    found = snapshot.read(workspace, "customer", [AS_OF], ["subscriptions_active_count"])
    assert found["subscriptions_active_count"].tolist() == [active]


def test_a_late_row_does_not_rebuild_an_older_snapshot_and_a_backdated_known_one_does(tmp_path: Path) -> None:
    order = {"order_id": "o", "customer_id": "c", "occurred_at": T - pd.Timedelta(days=3), "amount": 5.0}
    world: dict[str, Rows] = {"customers": [customer("c")], "orders": [order]}
    assert snapshot.build(make_workspace(tmp_path, world), [AS_OF]).built == 2
    late = {**order, "order_id": "late", "known_at": T}
    assert snapshot.build(make_workspace(tmp_path, {**world, "orders": [order, late]}), [AS_OF]).built == 0
    early = {**order, "order_id": "early"}
    assert snapshot.build(make_workspace(tmp_path, {**world, "orders": [order, early]}), [AS_OF]).built == 1


def test_now_is_read_only_by_the_command_line_and_the_service() -> None:
    """Law 5: everywhere else `as_of` is an argument."""
    allowed = {"commands.py", "service.py", "api.py", "demo.py"}
    root = Path(__file__).resolve().parent.parent
    readers = [
        path.name
        for room in ("features", "training", "serving")
        for path in (root / room).rglob("*.py")
        if path.parent.name != "commands"
        and any(call in path.read_text() for call in (".now(", "utcnow(", "time.time(", ".today(", "current_timestamp", "now()"))
    ]
    assert set(readers) <= allowed


def seen(world: dict[str, Rows]) -> dict[str, Any]:
    """Everything that can be seen of a world at T: each entity's snapshot and a cohort."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = make_workspace(Path(folder), world, attributes=ATTRIBUTES)
        snapshot.build(workspace, [AS_OF])
        everything = {entity: _snapshot(workspace, entity) for entity in ("lead", "customer")}
        everything["cohort"] = cohort(workspace, ANY_CUSTOMER, [AS_OF]).to_dict("list")
    return everything


def _snapshot(workspace: Workspace, entity: str) -> str:
    names = list(feature_map(views(workspace, Catalog.load(workspace)), entity))
    return snapshot.read(workspace, entity, [AS_OF], names).to_csv()


def customer(identity: str) -> dict[str, Any]:
    return {"customer_id": identity, "created_at": T - pd.Timedelta(days=500)}


def edge_world(table: str, known: pd.Timestamp | None) -> dict[str, Rows]:
    """A quiet world, with one more row in one table if `known` is given: long past, but known only at that instant."""
    world = {name: [] for name in TABLES} | {"customers": [customer("c")], "leads": [_lead("l")]}
    world["orders"] = [{"order_id": "first", "customer_id": "c", "occurred_at": T - pd.Timedelta(days=20), "amount": 5.0}]
    world["subscriptions"] = [{"subscription_id": "s", "customer_id": "c", "started_at": T - pd.Timedelta(days=50), "plan": "p"}]
    if known is None:
        return world
    row = next(row for row in random_world(1)[table] if row.get("entity") != "lead")
    row = {**row, **{key: f"new-{key}" for key in TABLES[table].key if TABLES[table].column(key).type == "id"}}
    owners = {"customer_id": "c", "entity_id": "c", "field": "segment", "converted_at": None, "lost_at": None, "sold_at": None}
    row |= {name: owner for name, owner in owners.items() if name in row and name not in _new_key(table)}
    row |= {TABLES[table].time: T - pd.Timedelta(days=10), "known_at": known}
    return {**world, table: [*world[table], row]}


def _new_key(table: str) -> tuple[str, ...]:
    return TABLES[table].key if TABLES[table].kind == "entity" else ()


def _lead(identity: str) -> dict[str, Any]:
    return {"lead_id": identity, "created_at": T - pd.Timedelta(days=40)}


def later_changes(world: dict[str, Rows], rng: np.random.Generator) -> dict[str, Rows]:
    """The world with rows added, changed, back-dated, removed and filled in; all of it known at or after T."""
    changed = {name: [_later(row, TABLES[name], rng) for row in rows] for name, rows in world.items()}
    for name, rows in random_world(int(rng.integers(10_000)), rows=4).items():
        known = [T + int(rng.choice([0, 1, 86_400_000_000])) * MICROSECOND for _ in rows]
        changed[name] = _unique(
            [*changed[name], *({**row, "known_at": k} for row, k in zip(rows, known, strict=True))], TABLES[name]
        )
    return changed


def _later(row: dict[str, Any], table: Table, rng: np.random.Generator) -> dict[str, Any]:
    """The row, changed where nobody could have known it before T."""
    row = dict(row)
    if (row.get("known_at") or row[table.time]) >= T:
        row[table.time] = random_instant(rng)
        row["known_at"] = max(T, row[table.time])
    for column in table.columns:
        if column.revealed_by == column.name and (row.get(column.name) is None or row[column.name] >= T):
            row[column.name] = T + int(rng.integers(0, 3)) * MICROSECOND
    return row


def _unique(rows: Rows, table: Table) -> Rows:
    """One row per key and known_at, as ingest guarantees."""
    by_key = {(*(row.get(key) for key in table.key), row.get("known_at") or row[table.time]): row for row in rows}
    return list(by_key.values())


def test_the_instant_of_these_tests_is_utc() -> None:
    assert parse_instant(T.isoformat()) == AS_OF and AS_OF.tzinfo == UTC
