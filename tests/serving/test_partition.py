"""A partition is whole or not there, says what is in it, and is the same bytes for the same scores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from msgspec import structs

from features.feature import Feature
from features.record import Record
from serving.partition import PART, RECEIPT, SCHEMA, label, publish
from serving.score import Score
from serving.scorer import Scorer
from tests.serving.tables import table
from training.model import Model

AS_OF = datetime(2018, 5, 15, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "propensity": "churn", "as_of": AS_OF.isoformat(), "model_version": "3", "catalog_version": "abc",
    "known": 40, "ineligible": {"subscriptions_active_count >= 1": 10},
}  # fmt: skip


@pytest.fixture(scope="module")
def scores(model: Model, declarations: dict[str, Feature], rows_of: Callable[..., Any]) -> list[Score]:
    rows = [{**row, "subscriptions_active_count": 1.0} for row in rows_of(30)]
    made = Scorer(model, "3", declarations).score([Record(f"c{i:03d}", AS_OF, row) for i, row in enumerate(rows)], AS_OF)
    return [structs.replace(made[0], expected_value=None), *made[1:]]


def test_what_is_read_back_is_what_was_scored(tmp_path: Path, scores: list[Score]) -> None:
    publish(tmp_path / "p", map(table, [scores[:20], scores[20:]]), FACTS)
    back = pq.read_table(tmp_path / "p" / PART).to_pylist()
    assert len(back) == len(scores)
    for row, score in zip(back, scores, strict=True):
        said = structs.asdict(score) | {"reasons": [structs.asdict(one) for one in score.reasons]}
        for reason, told in zip(row.pop("reasons"), said.pop("reasons"), strict=True):
            value = told.pop("value")
            shown = reason.pop("value")
            assert {**reason, "features": tuple(reason["features"])} == told and (shown == value or float(shown) == value)
        told = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items() if name in SCHEMA.names}
        assert row == told


def test_the_receipt_counts_what_was_written(tmp_path: Path, scores: list[Score]) -> None:
    receipt = publish(tmp_path / "p", [table(scores)], FACTS)
    assert json.loads((tmp_path / "p" / RECEIPT).read_text()) == asdict(receipt)
    assert receipt.rows == 30 == sum(receipt.grades.values()) and receipt.known == 40
    assert receipt.mean_probability == pytest.approx(sum(s.probability or 0 for s in scores) / 30)


def test_the_same_scores_give_the_same_bytes(tmp_path: Path, scores: list[Score]) -> None:
    for name in ("a", "b", "a"):
        publish(tmp_path / name, map(table, [scores[:7], scores[7:]]), FACTS)
    for file in (PART, RECEIPT):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_nobody_eligible_makes_an_empty_partition(tmp_path: Path) -> None:
    receipt = publish(tmp_path / "p", [], FACTS)
    assert receipt.rows == 0 and receipt.mean_probability is None
    assert pq.read_schema(tmp_path / "p" / PART).names == SCHEMA.names


def test_pandas_and_duckdb_read_the_whole_tree(tmp_path: Path, scores: list[Score]) -> None:
    for name in ("churn", "upsell"):
        own = [structs.replace(score, propensity=name) for score in scores]
        publish(tmp_path / f"propensity={name}" / "as_of=2018-05-15", [table(own)], FACTS)
    assert pd.read_parquet(tmp_path).groupby("propensity", observed=True).size().to_dict() == {"churn": 30, "upsell": 30}
    assert duckdb.connect().sql(f"select count(*) from '{tmp_path}/**/*.parquet' where propensity = 'churn'").fetchall() == [
        (30,)
    ]


def test_what_others_leave_beside_a_partition_stays(tmp_path: Path, scores: list[Score]) -> None:
    (tmp_path / f".{PART}.swp").touch()
    publish(tmp_path, [table(scores)], FACTS)
    assert {path.name for path in tmp_path.iterdir()} == {PART, RECEIPT, f".{PART}.swp"}


def test_a_failure_half_way_leaves_the_old_partition(tmp_path: Path, scores: list[Score]) -> None:
    publish(tmp_path / "p", [table(scores)], FACTS)
    before = {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()}

    def broken() -> Any:
        yield table(scores[:3])
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        publish(tmp_path / "p", broken(), FACTS)
    assert {path.name: path.read_bytes() for path in (tmp_path / "p").iterdir()} == before


WRITER = """
import os, pathlib, signal, sys
from datetime import UTC, datetime
from serving.partition import publish
from serving.score import Score
from tests.serving.tables import table

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
as_of = datetime(2018, 5, 15, tzinfo=UTC)
facts = {"propensity": "churn", "as_of": "x", "model_version": "3", "catalog_version": "abc", "known": 1, "ineligible": {}}
for _ in sys.stdin:
    child = os.fork()
    turn = 0
    while child == 0:
        turn += 1
        score = Score("c", "churn", True, None, None, 1, 0.5, 0.5, "A", None, (), (), (), (), as_of, as_of, str(turn % 2))
        publish(pathlib.Path(sys.argv[1]), [table([score] * 500)] * 20, facts)
    print(child, flush=True)
"""


def test_a_killed_process_leaves_a_whole_file_or_none(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "p")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for attempt in range(25):
            process.stdin.write("go\n")
            process.stdin.flush()
            child = int(process.stdout.readline())
            time.sleep(0.013 * attempt)
            os.kill(child, signal.SIGKILL)
            part = tmp_path / "p" / PART
            if part.exists():
                versions = pq.read_table(part, columns=["model_version"]).column(0).to_pylist()
                assert len(versions) == 10_000 and len(set(versions)) == 1
    time.sleep(0.1)
    assert publish(tmp_path / "p", [], FACTS).rows == 0
    assert {PART, RECEIPT} <= {path.name for path in (tmp_path / "p").iterdir()}
    assert not list((tmp_path / "p").glob(f".{PART}.*"))


@pytest.mark.parametrize(
    ("instant", "name"),
    [
        (datetime(2018, 5, 15, tzinfo=UTC), "2018-05-15"),
        (datetime(2018, 5, 15, 6, 30, tzinfo=UTC), "20180515T063000Z"),
        (datetime(2018, 5, 15, 0, 0, 0, 1, tzinfo=UTC), "20180515T000000.000001Z"),
    ],
)
def test_a_folder_is_named_after_the_instant(instant: datetime, name: str) -> None:
    assert label(instant) == name


def test_only_what_repeats_has_a_dictionary_and_only_what_stands_alone_a_range(tmp_path: Path, scores: list[Score]) -> None:
    publish(tmp_path / "p", [table(scores)], FACTS)
    group = pq.ParquetFile(tmp_path / "p" / PART).metadata.row_group(0)
    columns = {one.path_in_schema: one for one in map(group.column, range(group.num_columns))}
    unique = {"entity_id", "probability", "expected_value", "reasons.list.element.contribution"}
    assert {name for name, one in columns.items() if not one.has_dictionary_page and "BOOLEAN" not in one.physical_type} == unique
    assert {name for name, one in columns.items() if not one.is_stats_set} == {name for name in columns if ".list." in name}
