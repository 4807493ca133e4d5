from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow.parquet
import pytest

from features import engine, snapshot
from features.catalog import Catalog
from features.errors import CallError, SnapshotError
from features.settings import Workspace, parse_instant
from features.views import views
from tests.worlds import Rows, make_workspace

AS_OF = parse_instant("2024-06-03")
EARLIER = parse_instant("2024-05-06")


def world(amounts: list[float], customers: int = 1) -> dict[str, Rows]:
    orders: Rows = [
        {"order_id": f"o{i}", "customer_id": "c0", "occurred_at": "2024-05-20", "amount": a} for i, a in enumerate(amounts)
    ]
    return {"customers": [{"customer_id": f"c{i}", "created_at": "2024-01-01"} for i in range(customers)], "orders": orders}


def spent(workspace: Workspace) -> float:
    return float(snapshot.read(workspace, "customer", [AS_OF], ["orders_amount_sum_30d"])["orders_amount_sum_30d"].iloc[0])


def test_what_is_up_to_date_is_kept_and_only_that(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, world([5]))
    assert (snapshot.build(workspace, [AS_OF]).built, snapshot.build(workspace, [AS_OF]).kept) == (2, 2)
    added = snapshot.build(workspace, [AS_OF, EARLIER])
    assert (added.built, added.kept) == (2, 2)
    changed = make_workspace(tmp_path, world([5, 2]))
    assert snapshot.build(changed, [AS_OF, EARLIER]).built == 1, "the earlier snapshot never saw the orders"
    assert spent(changed) == 7


def test_a_build_that_was_killed_after_writing_is_not_taken_for_the_older_one(tmp_path: Path) -> None:
    """A's snapshot; B's is written, but the process dies before it is noted; A comes back."""
    first = make_workspace(tmp_path, world([5]))
    snapshot.build(first, [AS_OF])
    second = make_workspace(tmp_path, world([5, 2]))
    with pytest.raises(KeyboardInterrupt):
        snapshot.build(second, [AS_OF], tick=_killed_when_written)
    again = make_workspace(tmp_path, world([5]))
    snapshot.build(again, [AS_OF])
    assert spent(again) == 5


def _killed_when_written(units: int) -> None:
    _killed_when_written.seen = getattr(_killed_when_written, "seen", 0) + units  # type: ignore[attr-defined]
    if _killed_when_written.seen == 2:  # type: ignore[attr-defined]
        raise KeyboardInterrupt


def test_a_file_is_read_in_parts_without_reading_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ROWS_PER_GROUP", 2_048)  # DuckDB's least
    workspace = make_workspace(tmp_path, world([5], customers=5_000))
    snapshot.build(workspace, [AS_OF])
    (path,) = snapshot.files(workspace.snapshots / "customer" / "customer_profile", AS_OF)
    groups = [pyarrow.parquet.read_metadata(path).row_group(number).column(0).statistics for number in range(3)]
    assert [group.num_values for group in groups] == [2_048, 2_048, 904]
    assert groups[0].max < groups[1].min and groups[1].max < groups[2].min, "in the order of the ids"


def test_a_half_built_snapshot_is_refused_and_loses_nobody(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, world([5], customers=1))
    snapshot.build(workspace, [AS_OF])
    orders = next(view for view in views(workspace, Catalog.load(workspace)) if view.table == "orders")
    half = snapshot.folder(workspace, orders) / f"{snapshot.label(AS_OF)}.parquet"
    kept = half.read_bytes()
    grown = make_workspace(tmp_path, world([5], customers=2))
    snapshot.build(grown, [AS_OF])
    half.write_bytes(kept)
    with pytest.raises(SnapshotError, match="as many rows"):
        snapshot.read(grown, "customer", [AS_OF], ["orders_count_30d"])


def test_nothing_is_known_after_the_tables_end(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, world([5]), now="2024-06-03")
    snapshot.build(workspace, [AS_OF])
    with pytest.raises(CallError, match="where the tables end"):
        snapshot.build(workspace, [AS_OF + timedelta(microseconds=1)])


def test_a_missing_snapshot_says_how_to_build_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, world([5]))
    with pytest.raises(SnapshotError, match="foresell snapshot"):
        snapshot.read(workspace, "customer", [AS_OF], ["orders_count_30d"])
    with pytest.raises(SnapshotError, match="the table leads"):
        snapshot.read(workspace, "lead", [AS_OF], [])


def test_an_empty_table_makes_an_empty_snapshot(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, {"customers": [], "orders": []})
    assert snapshot.build(workspace, [AS_OF]).rows == 0
    assert snapshot.read(workspace, "customer", [AS_OF], ["orders_count_30d"]).empty
    with pytest.raises(SnapshotError, match="rows in customers"):
        snapshot.history_start(workspace, "customer")


def test_a_sum_does_not_depend_on_the_order_of_rows(tmp_path: Path) -> None:
    amounts = [0.1, 0.2, 0.3, 1e9, 0.7]
    sums = set()
    for number, order in enumerate((amounts, amounts[::-1], sorted(amounts, key=str))):
        workspace = make_workspace(tmp_path / str(number), world(order))
        snapshot.build(workspace, [AS_OF])
        sums.add(spent(workspace))
    assert sums == {1_000_000_001.3}
