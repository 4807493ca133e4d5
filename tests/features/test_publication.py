"""What ingested tables are compared with: the rows of an ingest that was not refused, whatever was tried since."""

from __future__ import annotations

from pathlib import Path

import pytest

from features import quality
from features.catalog import Catalog
from features.errors import QualityError, WorkspaceError
from features.publication import accept_rows, building
from features.settings import Workspace
from tests.features.export_files import export, run


def _ingested(root: Path, orders: int, customers: int = 3) -> Workspace:
    """The workspace after an ingest of so many orders and customers."""
    lines = "".join(f"o{number},c1,2024-02-01,1\n" for number in range(orders))
    people = "".join(f"c{number},2024-01-01\n" for number in range(1, customers + 1))
    files = {
        "orders.csv": f"order_id,customer_id,occurred_at,amount\n{lines}",
        "customers.csv": f"customer_id,created_at\n{people}",
    }
    workspace = export(root, files, now="2024-02-15")
    run(workspace)
    return workspace


def _compared(workspace: Workspace) -> int | None:
    return Catalog.load(workspace).tables["orders"].previous_rows


def _is_refused(workspace: Workspace) -> bool:
    try:
        quality.require(workspace)
    except QualityError:
        return True
    return False


@pytest.mark.parametrize(
    ("orders", "compared"),
    [
        ([10], None),
        ([10, 9], 10),
        ([10, 5, 6], 5),
        ([10, 4, 6], 10),
        ([10, 4, 4], 10),
        ([10, 4, 3, 2], 10),
        ([10, 7, 7], 10),
        ([10, 10], 10),
    ],
    ids=["first", "fewer", "half is kept", "less is refused", "the same again", "still less", "a warning stays", "no change"],
)
def test_rows_are_compared_with_the_last_ingest_that_was_not_refused(
    tmp_path: Path, orders: list[int], compared: int | None
) -> None:
    for count in orders:
        workspace = _ingested(tmp_path, count)
    assert _compared(workspace) == compared


def test_a_truncated_export_stays_refused_however_often_it_is_ingested(tmp_path: Path) -> None:
    assert not _is_refused(_ingested(tmp_path, 10))
    assert _is_refused(_ingested(tmp_path, 4))
    assert _is_refused(_ingested(tmp_path, 4))
    assert _is_refused(_ingested(tmp_path, 4, customers=4)), "of another version, but with the same orders"
    assert not _is_refused(_ingested(tmp_path, 10))


def test_a_loss_is_accepted_once_and_holds_for_the_next_ingests(tmp_path: Path) -> None:
    _ingested(tmp_path, 10)
    workspace = _ingested(tmp_path, 4)
    assert _is_refused(workspace)
    accept_rows(workspace)
    assert not _is_refused(workspace)
    assert not _is_refused(_ingested(tmp_path, 4))
    assert _is_refused(_ingested(tmp_path, 1))


def test_nothing_is_accepted_while_an_ingest_is_at_work(tmp_path: Path) -> None:
    workspace = _ingested(tmp_path, 10)
    with building(workspace), pytest.raises(WorkspaceError, match="one ingest at a time"):
        accept_rows(workspace)
