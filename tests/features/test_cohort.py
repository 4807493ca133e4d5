from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from features import external, snapshot
from features.cohort import cohort, eligibility, mature_as_ofs, obstacle
from features.errors import FeatureError, SnapshotError
from features.propensity import Outcome, Propensity
from features.settings import Attribute, External, Settings, Workspace, parse_instant
from tests.worlds import make_workspace

AS_OF = parse_instant("2024-06-03")


def propensity(*eligible: str) -> Propensity:
    return Propensity(
        name="p", question="?", entity="customer", horizon="90d", outcome=Outcome(absent="orders"), eligible=eligible
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    customers = [{"customer_id": i, "created_at": "2024-01-01"} for i in ("a", "b", "c")]
    orders = [
        {"order_id": f"{owner}{when}", "customer_id": owner, "occurred_at": when, "amount": 5}
        for owner, when in (("a", "2024-05-20"), ("a", "2024-05-21"), ("b", "2024-02-01"))
    ]
    made = make_workspace(tmp_path, {"customers": customers, "orders": orders}, now="2024-10-01")
    snapshot.build(made, [AS_OF])
    return made


def test_a_cohort_holds_the_eligible_and_missing_never_passes(workspace: Workspace) -> None:
    chosen = cohort(workspace, propensity("orders_days_since_last <= 200", "orders_count_30d >= 2"), [AS_OF])
    assert chosen["entity_id"].tolist() == ["a"]
    assert chosen["as_of"].dtype == "datetime64[us, UTC]" and chosen["as_of"].tolist() == [pd.Timestamp(AS_OF)]


def test_everyone_is_counted_once(workspace: Workspace) -> None:
    asked = propensity("orders_days_since_last <= 200", "orders_count_30d >= 2")
    counted = eligibility(workspace, asked, AS_OF)
    assert counted.obstacles == {"orders_days_since_last <= 200": 1, "orders_count_30d >= 2": 1}
    assert counted.known == counted.eligible + sum(counted.obstacles.values()) == 3


def test_without_conditions_everyone_is_eligible(workspace: Workspace) -> None:
    assert len(cohort(workspace, propensity(), [AS_OF])) == eligibility(workspace, propensity(), AS_OF).eligible == 3


def test_one_record_is_judged_like_the_cohort(workspace: Workspace) -> None:
    asked = propensity("orders_count_30d >= 2", "orders_days_since_last <= 200")
    frame = snapshot.read(workspace, "customer", [AS_OF], ["orders_count_30d", "orders_days_since_last"])
    judged = [row["entity_id"] for row in frame.to_dict("records") if obstacle(asked, row) is None]
    assert judged == cohort(workspace, asked, [AS_OF])["entity_id"].tolist()


def test_a_missing_snapshot_and_an_unknown_column_are_named(workspace: Workspace) -> None:
    with pytest.raises(SnapshotError, match="foresell snapshot"):
        cohort(workspace, propensity(), [parse_instant("2024-07-01")])
    with pytest.raises(FeatureError, match="orders_count_31d"):
        cohort(workspace, propensity("orders_count_31d > 0"), [AS_OF])


def test_mature_as_ofs_begin_when_someone_was_known(workspace: Workspace) -> None:
    grid = mature_as_ofs(workspace, propensity())
    assert grid[0] >= parse_instant("2024-01-01") and grid[-1] + propensity().horizon <= parse_instant("2024-10-01")


def test_an_external_column_decides_who_is_eligible_by_what_was_known_before(tmp_path: Path) -> None:
    """Joined as of: the newest row before the as_of counts, a row at the as_of does not."""
    computed = pd.DataFrame(
        {
            "customer_id": ["a", "a", "b"],
            "computed_at": pd.to_datetime(["2024-05-01", "2024-06-03", "2024-06-03"], utc=True),
            "score": [7.0, 1.0, 7.0],
        }
    )
    tmp_path.mkdir(exist_ok=True)
    computed.to_parquet(tmp_path / "health.parquet")
    declared = External(
        entity="customer", path="health.parquet", id="customer_id", timestamp="computed_at",
        columns={"score": Attribute(type="number")},
    )  # fmt: skip
    customers = [{"customer_id": i, "created_at": "2024-01-01"} for i in ("a", "b")]
    workspace = make_workspace(tmp_path, {"customers": customers}, settings=Settings(external={"health": declared}))
    snapshot.build(workspace, [AS_OF])
    with pytest.raises(SnapshotError, match="foresell snapshot"):
        cohort(workspace, propensity("health_score >= 5"), [AS_OF])
    external.refresh(workspace)
    assert cohort(workspace, propensity("health_score >= 5"), [AS_OF])["entity_id"].tolist() == ["a"]
