"""What is left of somebody is found in packed records, too, where one category begins as the other ends."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.forgetting.person import Person
from features.online import write_layout
from features.record import Layout, Values, pack
from features.settings import Settings, Workspace
from serving.forgetting.search import left
from serving.ledger import Ledger
from tests.serving.ledger.entries import NOW, stored

LAYOUT = Layout((("visits", "number"), ("referrer", "category"), ("channel", "category")))


def record(*texts: str | None) -> bytes:
    return pack(LAYOUT, NOW, np.array([[1.0]]), [[text] for text in texts])[0]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Settings())


def places(workspace: Workspace) -> dict[str, int]:
    return {place.where: place.rows for place in left(workspace, Person.of([("customer", "CUST-1001A")]))}


@pytest.mark.parametrize(
    ("texts", "mentions"),
    [
        (("CUST-1001A", "web"), 1),
        (("web", "CUST-1001A"), 1),
        (("CUST-1001A", "CUST-1001A"), 2),
        (("CUST-1001A", None), 1),
        (("CUST-1001", "A"), 0),  # of nobody, though the letters stand side by side
        (("CUST-1001AB", "web"), 0),
    ],
)
def test_a_record_names_whom_its_categories_name(workspace: Workspace, texts: tuple[str, str | None], mentions: int) -> None:
    data = record(*texts)
    with closing(Ledger.open(workspace)) as ledger:
        ledger.keep_latest([stored("other", at=NOW - timedelta(days=1))._replace(features=Values(LAYOUT, data))])
    found = {name: rows for name, rows in places(workspace).items() if not name.endswith(("-wal", "-shm"))}
    assert found == ({"data/serving/ledger.db": mentions} if mentions else {})


def test_records_of_the_online_store_are_read_by_the_layouts_there_are(workspace: Workspace) -> None:
    write_layout(workspace, LAYOUT)
    pq.write_table(
        pa.table({"record": pa.array([record("CUST-1001A", "web"), record("a", "b")], pa.binary())}), workspace.root / "r.parquet"
    )
    with closing(sqlite3.connect(workspace.root / "online.db")) as connection:
        connection.execute("create table records (value blob)")
        connection.execute("insert into records values (?)", (record("CUST-1001A", "web"),))
        connection.commit()
    assert places(workspace) == {"online.db": 1, "r.parquet": 1}
