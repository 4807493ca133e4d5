from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from features import snapshot
from features.catalog import Catalog
from features.errors import DataFloorError, PropensityError
from features.propensity import Propensity
from tests.worlds import make_workspace
from training.label import labels, missing, recorded_since

AS_OF = datetime(2020, 6, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
BORN = datetime(2020, 1, 1)


def ask(outcome: dict, *, entity: str = "customer", horizon: str = "30d", lead_time: str = "0d") -> Propensity:
    return Propensity.model_validate(
        {"name": "churn", "question": "?", "entity": entity, "horizon": horizon, "lead_time": lead_time, "outcome": outcome}
    )


def at(*offset: timedelta) -> datetime:
    return (AS_OF + sum(offset, timedelta())).replace(tzinfo=None)


def cohort(*ids: str, as_of: datetime = AS_OF) -> pd.DataFrame:
    frame = pd.DataFrame({"entity_id": list(ids), "as_of": pd.Timestamp(as_of)}, index=range(10, 10 + len(ids)))
    return frame.astype({"as_of": "datetime64[us, UTC]"})


def people(*ids: str) -> list[dict]:
    return [{"customer_id": name, "created_at": BORN} for name in ids]


def order(number: int, who: str, when: datetime, **more: object) -> dict:
    return {"order_id": f"O{number}", "customer_id": who, "occurred_at": when, "amount": 10, **more}


DAY = timedelta(days=1)
EDGES = {"before": -TICK, "first": 0 * DAY, "last": 30 * DAY - TICK, "after": 30 * DAY}


def test_the_horizon_is_half_open_at_each_microsecond(tmp_path):
    orders = [order(n, name, at(offset)) for n, (name, offset) in enumerate(EDGES.items())]
    workspace = make_workspace(tmp_path, {"customers": people(*EDGES, "never"), "orders": orders})
    found = labels(workspace, ask({"table": "orders", "at": "occurred_at"}), cohort(*EDGES, "never"))
    assert found.tolist() == [0, 1, 1, 0, 0]
    assert found.index.tolist() == [10, 11, 12, 13, 14]
    absent = labels(workspace, ask({"absent": "orders"}), cohort(*EDGES, "never"))
    assert absent.tolist() == [1, 0, 0, 1, 1]


def test_the_lead_time_blacks_out_what_comes_first(tmp_path):
    orders = [
        order(1, "in", at(7 * DAY - TICK)),
        order(2, "on", at(7 * DAY)),
        order(3, "both", at()),
        order(4, "both", at(9 * DAY)),
    ]
    workspace = make_workspace(tmp_path, {"customers": people("in", "on", "both"), "orders": orders})
    question = ask({"table": "orders", "at": "occurred_at"}, lead_time="7d")
    assert labels(workspace, question, cohort("in", "on", "both")).tolist() == [0, 1, 1]


BLACKOUT = {"at": 0 * DAY, "in": 7 * DAY - TICK, "on": 7 * DAY, "last": 30 * DAY - TICK, "after": 30 * DAY}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        ({"table": "orders", "at": "occurred_at"}, [0, 0, 1, 1, 0]),
        ({"absent": "orders"}, [1, 1, 0, 0, 1]),
        ({"table": "orders", "sum": "amount", "at_least": "10"}, [0, 0, 1, 1, 0]),
    ],
)
def test_every_form_of_outcome_looks_from_the_lead_time_to_the_horizon(tmp_path, outcome, expected):
    orders = [order(n, name, at(offset)) for n, (name, offset) in enumerate(BLACKOUT.items())]
    workspace = make_workspace(tmp_path, {"customers": people(*BLACKOUT), "orders": orders})
    assert labels(workspace, ask(outcome, lead_time="7d"), cohort(*BLACKOUT)).tolist() == expected


def test_an_end_without_a_reason_is_not_a_migration(tmp_path):
    reasons = {"moved": "migrated", "cancelled": "cancelled", "unsaid": None}
    rows = [
        {"customer_id": name, "subscription_id": name, "started_at": BORN, "plan": "a", "ended_at": at(DAY), "end_reason": reason}
        for name, reason in reasons.items()
    ]
    workspace = make_workspace(tmp_path, {"customers": people(*reasons), "subscriptions": rows})
    question = ask({"table": "subscriptions", "at": "ended_at", "where": ["end_reason != 'migrated'"]})
    assert labels(workspace, question, cohort(*reasons)).tolist() == [0, 1, 1]


def test_only_rows_that_fulfil_where_count(tmp_path):
    orders = [order(1, "buys", at(DAY), category="car"), order(2, "other", at(DAY), category="tyre"), order(3, "none", at(DAY))]
    workspace = make_workspace(tmp_path, {"customers": people("buys", "other", "none"), "orders": orders})
    question = ask({"table": "orders", "at": "occurred_at", "where": ["category = 'car'"]})
    assert labels(workspace, question, cohort("buys", "other", "none")).tolist() == [1, 0, 0]


def test_the_latest_version_of_a_row_decides(tmp_path):
    """A cancellation that was taken back, and one that was entered late."""
    base = {"customer_id": "back", "subscription_id": "S1", "started_at": BORN, "plan": "a"}
    late = {"customer_id": "late", "subscription_id": "S2", "started_at": BORN, "plan": "a"}
    rows = [
        {**base, "ended_at": at(DAY), "known_at": at()},
        {**base, "ended_at": None, "known_at": at(5 * DAY)},
        {**late, "ended_at": None},
        {**late, "ended_at": at(2 * DAY), "known_at": at(40 * DAY)},
    ]
    workspace = make_workspace(tmp_path, {"customers": people("back", "late"), "subscriptions": rows})
    question = ask({"table": "subscriptions", "at": "ended_at"})
    assert labels(workspace, question, cohort("back", "late")).tolist() == [0, 1]


def test_a_lead_is_won_in_its_own_table(tmp_path):
    leads = [
        {"lead_id": "won", "created_at": BORN, "converted_at": at(DAY)},
        {"lead_id": "later", "created_at": BORN, "converted_at": at(31 * DAY)},
        {"lead_id": "open", "created_at": BORN},
    ]
    workspace = make_workspace(tmp_path, {"leads": leads})
    question = ask({"table": "leads", "at": "converted_at"}, entity="lead")
    assert labels(workspace, question, cohort("won", "later", "open")).tolist() == [1, 0, 0]


def test_a_sum_against_a_number_and_against_a_snapshot_column(tmp_path):
    orders = [
        order(1, "grows", at(-DAY), amount=100), order(2, "grows", at(DAY), amount=100),
        order(3, "grows", at(2 * DAY), amount=50),
        order(4, "short", at(-DAY), amount=100), order(5, "short", at(DAY), amount=149.99),
        order(6, "fresh", at(DAY), amount=500),
    ]  # fmt: skip
    workspace = make_workspace(tmp_path, {"customers": people("grows", "short", "fresh"), "orders": orders})
    rows = cohort("grows", "short", "fresh")
    fixed = ask({"table": "orders", "sum": "amount", "at_least": "150"})
    assert labels(workspace, fixed, rows).tolist() == [1, 0, 1]
    snapshot.build(workspace, [AS_OF])
    relative = ask({"table": "orders", "sum": "amount", "at_least": "1.5 * orders_amount_sum_90d"})
    assert labels(workspace, relative, rows).tolist() == [1, 0, 1]
    largest = ask({"table": "orders", "sum": "amount", "at_least": "1.5 * orders_amount_max_365d"})
    assert labels(workspace, largest, rows).tolist() == [1, 0, 0], "nothing reaches a threshold that is missing"


def test_one_entity_at_many_as_ofs_and_many_events(tmp_path):
    orders = [order(n, "c", at(n * DAY)) for n in range(0, 60)]
    workspace = make_workspace(tmp_path, {"customers": people("c"), "orders": orders})
    rows = pd.concat([cohort("c", as_of=AS_OF + shift * DAY) for shift in (-40, -29, 0, 59, 60)], ignore_index=True)
    assert labels(workspace, ask({"table": "orders", "at": "occurred_at"}), rows).tolist() == [0, 1, 1, 1, 0]
    assert labels(workspace, ask({"table": "orders", "sum": "amount", "at_least": "300"}), rows).tolist() == [0, 0, 1, 0, 0]


def test_a_label_matures_exactly_when_its_horizon_ends(tmp_path):
    tables = {"customers": people("c"), "orders": [order(1, "c", at())]}
    question = ask({"absent": "orders"})
    mature = make_workspace(tmp_path / "mature", tables, now=(AS_OF + 30 * DAY).isoformat())
    assert labels(mature, question, cohort("c")).tolist() == [0]
    young = make_workspace(tmp_path / "young", tables, now=(AS_OF + 30 * DAY - TICK).isoformat())
    with pytest.raises(DataFloorError, match="outcomes recorded until 2020-07-01"):
        labels(young, question, cohort("c"))


def test_an_empty_cohort_has_no_labels(tmp_path):
    workspace = make_workspace(tmp_path, {"customers": people("c"), "orders": [order(1, "c", at())]})
    assert labels(workspace, ask({"absent": "orders"}), cohort("c").iloc[:0]).tolist() == []


def test_absent_tables_and_columns_are_named(tmp_path):
    workspace = make_workspace(tmp_path, {"customers": people("c"), "orders": [order(1, "c", at())]})
    catalog = Catalog.load(workspace)
    assert missing(catalog, ask({"absent": "orders"})) is None
    assert missing(catalog, ask({"table": "subscriptions", "at": "ended_at"})) == "the table `subscriptions`"
    assert missing(catalog, ask({"table": "orders", "at": "shipped_at"})) == "the column `orders.shipped_at`"
    assert missing(catalog, ask({"table": "leads", "at": "converted_at"}, entity="lead")) == "the table `leads`"
    with pytest.raises(PropensityError, match="the table `subscriptions`, in which its outcome is recorded"):
        labels(workspace, ask({"table": "subscriptions", "at": "ended_at"}), cohort("c"))


def test_recording_begins_with_the_first_outcome_that_counts(tmp_path):
    orders = [order(1, "c", at(-5 * DAY), category="tyre"), order(2, "c", at(), category="car")]
    workspace = make_workspace(tmp_path, {"customers": people("c"), "orders": orders})
    only_cars = {"table": "orders", "at": "occurred_at", "where": ["category = 'car'"]}
    assert recorded_since(workspace, ask({"absent": "orders"})) == AS_OF - 5 * DAY
    assert recorded_since(workspace, ask(only_cars)) == AS_OF
    with pytest.raises(DataFloorError, match="outcomes in `orders`"):
        recorded_since(workspace, ask({**only_cars, "where": ["category = 'boat'"]}))
