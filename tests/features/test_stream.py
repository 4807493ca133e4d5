"""A cohort is streamed in chunks that hold, to the bit, the rows of Feast's join, whatever the size of a chunk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import engine, snapshot, store, stream
from features.cohort import cohort
from features.errors import FeatureError, SnapshotError
from features.propensity import Outcome, Propensity
from features.settings import Workspace
from tests.features.test_store import EARLIER, MICROSECOND, T, bits, make, names, usage


def question(*eligible: str) -> Propensity:
    horizon, outcome = timedelta(days=30), Outcome(table="orders")
    return Propensity(name="x", question="?", entity="customer", horizon=horizon, outcome=outcome, eligible=eligible)


def known(value: float | str | None) -> object:
    """A value to the bit; a missing one is null in Arrow and NaN in pandas."""
    return None if value != value else bits(value)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("stream")
    usage(root, [("a", T - 2 * MICROSECOND, 1.5, "x", True), ("a", T - MICROSECOND, float("nan"), "", None),
                 ("b", T, 4.0, "later", True)])  # fmt: skip
    made = make(root)
    snapshot.build(made, [EARLIER, T])
    store.apply(made)
    return made


@pytest.mark.parametrize("size", [1, 2, 3, 50_000])
@pytest.mark.parametrize("eligible", [(), ("customer_age_days >= 0", "customer_segment != 'never'"), ("customer_age_days < 0",)])
def test_chunks_are_the_rows_of_the_join(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, size: int, eligible: tuple[str, ...]
) -> None:
    monkeypatch.setattr(stream, "ROWS_PER_CHUNK", size)
    asked, columns = question(*eligible), names(workspace)
    joined = store.historical(workspace, "customer", cohort(workspace, asked, [T]), columns)
    found = list(stream.chunks(workspace, asked, T, columns))
    assert all(0 < len(chunk) <= size for chunk in found) and sum(map(len, found)) == len(joined)
    streamed = [row for chunk in found for row in chunk.to_pylist()]
    for one, two in zip(joined.to_dict("records"), streamed, strict=True):
        assert (one["entity_id"], one["as_of"]) == (two["entity_id"], two["as_of"])
        assert all(known(one[name]) == known(two[name]) for name in columns)


def test_a_chunk_is_a_part_of_a_file() -> None:
    assert stream.ROWS_PER_CHUNK == engine.ROWS_PER_GROUP and store.RECORDS_PER_CHUNK % engine.ROWS_PER_GROUP == 0
    assert engine.ROWS_PER_GROUP % 2_048 == 0, "DuckDB rounds it up to what it works on at a time"


@pytest.mark.parametrize("ids", [[], ["a"], ["a", "b", "c"], ["c", "a", "b"], ["b", "a"], ["a", "é", "B"], ["b", None, "a"]])
def test_rows_that_come_in_any_order_are_sorted(ids: list[str | None]) -> None:
    with duckdb.connect() as connection:
        rows = connection.sql(
            "select unnest(?::varchar[]) as entity_id, generate_subscripts(?::varchar[], 1) as n", params=[ids, ids]
        )
        found = stream.by_entity(rows)
    expected = sorted(ids, key=lambda one: (one is None, one))
    assert found["entity_id"].to_pylist() == expected and [ids[n - 1] for n in found["n"].to_pylist()] == expected


def test_some_are_told_of_whether_eligible_or_not(workspace: Workspace) -> None:
    found = stream.among(workspace, "customer", T, ["c", "stranger", "a"], ["customer_age_days"])
    assert found["entity_id"].to_pylist() == ["a", "c"] and found.schema.names == ["entity_id", "as_of", "customer_age_days"]
    assert len(stream.among(workspace, "customer", T, [], ["customer_age_days"])) == 0


def test_a_snapshot_is_sorted_by_entity(workspace: Workspace) -> None:
    for path in workspace.snapshots.rglob("2*.parquet"):
        ids = pq.read_table(path, columns=["entity_id"])["entity_id"].to_pylist()
        assert ids == sorted(ids)


def test_what_is_not_there_is_named(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(SnapshotError):
        next(stream.chunks(workspace, question(), T - timedelta(days=3), names(workspace)))
    with pytest.raises(FeatureError, match="shoe_size"):
        next(stream.chunks(workspace, question(), T, ["shoe_size"]))
    assert isinstance(next(stream.chunks(workspace, question(), T, [])), pa.RecordBatch)
