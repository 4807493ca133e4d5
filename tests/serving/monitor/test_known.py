"""What was known of those who were scored: the newest snapshot before, and what contacting them brought."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from features import snapshot
from features.propensity import Value
from features.settings import Workspace
from serving.monitor.known import earned, known
from tests.serving.monitor.worlds import DAY, MICROSECOND, MONDAY, world

COLUMN = "customer_age_days"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = world(tmp_path, {name: None for name in "abcd"})
    snapshot.build(made, [MONDAY, MONDAY + DAY])
    return made


def scored(*rows: tuple[str, object]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["entity_id", "scored_at"], index=range(10, 10 + len(rows)))
    return frame.assign(scored_at=pd.to_datetime(frame["scored_at"], utc=True).astype("datetime64[us, UTC]"))


def test_a_score_is_told_by_the_newest_snapshot_at_or_before_it(workspace: Workspace) -> None:
    asked = scored(
        ("a", MONDAY + DAY), ("a", MONDAY + DAY - MICROSECOND), ("a", MONDAY), ("a", MONDAY - MICROSECOND), ("no", MONDAY)
    )
    found = known(workspace, "customer", asked, [COLUMN])
    assert list(found.index) == [10, 11, 12] and found[COLUMN].diff().tolist()[1:] == [-1.0, 0.0]
    assert known(workspace, "customer", asked[:0], [COLUMN]).empty
    assert known(workspace, "customer", scored(("a", MONDAY - DAY)), [COLUMN]).empty


def test_whoever_pays_is_contacted_and_of_a_week_as_many_as_can_be(workspace: Workspace) -> None:
    rows = scored(*[(name, MONDAY) for name in "abcd"]).assign(probability=[0.9, 0.5, 0.4, 0.01], label=[1, 0, 1, 1])
    value = Value(amount=100.0, cost=10.0, success=0.5)
    assert earned(workspace, "customer", value, rows).tolist() == [40.0, -10.0, 40.0, 0.0]
    few = Value(amount=100.0, cost=10.0, success=0.5, capacity_per_day=2 / 7)
    assert earned(workspace, "customer", few, rows).tolist() == [40.0, -10.0, 0.0, 0.0]


def test_an_unknown_worth_counts_as_nothing(workspace: Workspace) -> None:
    rows = scored(("a", MONDAY), ("nobody", MONDAY)).assign(probability=[0.5, 0.5], label=[1, 1])
    brought = earned(workspace, "customer", Value(column=COLUMN, cost=1.0), rows)
    assert brought.iloc[0] > 100 and brought.iloc[1] == 0.0
