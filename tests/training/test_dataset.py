from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from features import snapshot, store
from features.catalog import Catalog
from features.cohort import cohort
from features.errors import DataFloorError, PropensityError, WorkspaceError
from features.propensity import GRID_ORIGIN, Propensity, Value, load
from features.views import views
from tests.training.conftest import NOW
from tests.worlds import make_workspace
from training import dataset


@pytest.fixture(scope="module")
def shop(make_shop):
    return make_shop()


@pytest.fixture(scope="module")
def question(shop):
    return load(shop, "churn")


@pytest.fixture(scope="module")
def built(shop, question):
    instants = dataset.as_ofs(shop, question)
    snapshot.build(shop, instants)
    store.apply(shop)
    return dataset.build(shop, question, instants)


def test_the_grid_is_mature_and_begins_with_history(shop, question):
    instants = dataset.as_ofs(shop, question)
    assert instants[-1] + question.horizon <= NOW < instants[-1] + question.horizon + question.every
    assert instants[0] >= question.first_as_of
    assert {b - a for a, b in pairwise(instants)} == {timedelta(days=28)}


@pytest.mark.parametrize(("first", "kept"), [(56, [1, 2, 3]), (57, [2, 3]), (100, [3]), (106, [3]), (120, [3])])
def test_no_label_looks_at_a_time_before_the_first_outcome(tmp_path, first, kept):
    """28 days a step, 28 days of blackout: the as_of of day 28 looks at days 56 to 86. What nothing replaces may look in part."""
    begin = GRID_ORIGIN.replace(tzinfo=None)
    order = {"order_id": "O", "customer_id": "c", "occurred_at": begin + timedelta(days=first), "amount": 1}
    people = [{"customer_id": "c", "created_at": begin - timedelta(days=1)}]
    now = (GRID_ORIGIN + timedelta(days=3 * 28 + 58)).date().isoformat()
    workspace = make_workspace(tmp_path, {"customers": people, "orders": [order]}, now=now)
    times = {"horizon": "58d", "lead_time": "28d", "every": "28d", "first_as_of": "2018-01-01"}
    churn = Propensity.model_validate(
        {"name": "churn", "question": "?", "entity": "customer", **times, "outcome": {"absent": "orders"}}
    )
    found = [(instant - GRID_ORIGIN).days // 28 for instant in dataset.as_ofs(workspace, churn)]
    assert found == kept


def test_nobody_is_lost(shop, question, built):
    rows = cohort(shop, question, dataset.as_ofs(shop, question))
    assert built.frame[["entity_id", "as_of"]].equals(rows)
    assert set(np.unique(built.labels)) == {0, 1}
    assert built.frame["as_of"].dtype == "datetime64[us, UTC]"


def test_features_are_what_the_snapshots_hold(shop, question, built):
    held = snapshot.read(shop, "customer", dataset.as_ofs(shop, question), list(built.dtypes))
    joined = built.frame[["entity_id", "as_of"]].merge(held, on=["entity_id", "as_of"])
    pd.testing.assert_frame_equal(built.frame[list(built.dtypes)], joined[list(built.dtypes)], check_dtype=False)


def test_numbers_are_floats_and_categories_text(built):
    assert built.dtypes["customer_kind"] == "category"
    for name, dtype in built.dtypes.items():
        column = built.frame[name]
        assert column.dtype == "float64" if dtype == "number" else all(isinstance(v, str) for v in column.dropna())


def test_features_of_one_value_are_dropped_and_listed(built):
    assert built.dropped
    assert not set(built.dropped) & set(built.dtypes)
    assert all(built.frame[name].nunique(dropna=False) > 1 for name in built.dtypes)


def test_attributes_know_where_they_are_declared(built):
    assert built.attributes["customer_kind"].source == "customers.kind"


def test_equal_data_have_equal_fingerprints_and_other_data_others(shop, question, built):
    again = dataset.build(shop, question, dataset.as_ofs(shop, question))
    assert again.fingerprint == built.fingerprint
    changed = built.frame.copy()
    changed.loc[7, "orders_count_90d"] += 1
    assert dataset.fingerprint(changed) != built.fingerprint
    assert dataset.fingerprint(built.frame.rename(columns={"orders_count_90d": "orders"})) != built.fingerprint


def test_a_propensity_may_choose_its_features(shop, question):
    present = [view for view in views(shop, Catalog.load(shop)) if view.entity == "customer"]
    chosen = question.model_copy(update={"features": {"customer_orders": ("orders_count_90d",), "customer_profile": ("*",)}})
    names = dataset.chosen_features(chosen, present)
    assert "orders_count_90d" in names
    assert "customer_kind" in names
    assert "orders_amount_sum_90d" not in names
    for features, near in (
        ({"customer_ordres": ("*",)}, "customer_orders"),
        ({"customer_orders": ("orders_count_9d",)}, "orders_count_90d"),
    ):
        with pytest.raises(PropensityError, match=near):
            dataset.chosen_features(question.model_copy(update={"features": features}), present)


def with_protected(workspace, *names):
    return replace(workspace, settings=workspace.settings.model_copy(update={"protected": names}))


def test_a_protected_column_is_kept_aside_and_is_no_feature(shop, question, built):
    made = dataset.build(with_protected(shop, "customer_vat", "customer_kind"), question, dataset.as_ofs(shop, question))
    assert "customer_kind" in built.dtypes
    assert "customer_kind" not in made.dtypes
    assert "customer_kind" not in made.frame
    assert made.aside["customer_kind"].tolist() == built.frame["customer_kind"].tolist()
    assert made.frame.columns.tolist() == [name for name in built.frame if name != "customer_kind"]


def test_a_protected_column_is_a_feature_where_it_is_listed_by_its_own_name(shop, question):
    present = [view for view in views(shop, Catalog.load(shop)) if view.entity == "customer"]
    whole = question.model_copy(update={"features": {"customer_profile": ("*",)}})
    named = question.model_copy(update={"features": {"customer_profile": ("*", "customer_kind")}})
    assert "customer_kind" not in dataset.chosen_features(whole, present, ("customer_kind",))
    assert "customer_kind" in dataset.chosen_features(named, present, ("customer_kind",))


def test_a_protected_column_that_does_not_exist_is_named_with_its_neighbour(shop, question):
    with pytest.raises(WorkspaceError, match="customer_kind"):
        dataset.build(with_protected(shop, "customer_kin"), question, dataset.as_ofs(shop, question))


def test_worth_and_age_are_kept_aside_whether_or_not_they_are_features(shop, question, built):
    assert "customer_age_days" in built.aside
    features = {"customer_orders": ("orders_count_90d",)}
    asked = question.model_copy(update={"value": Value(column="orders_amount_sum_365d"), "features": features})
    made = dataset.build(shop, asked, dataset.as_ofs(shop, question))
    assert list(made.dtypes) == ["orders_count_90d"]
    assert set(made.aside) == {"orders_amount_sum_365d", "customer_age_days", "customer_vat"}
    assert made.aside.index.equals(made.frame.index)
    wrong = question.model_copy(update={"value": Value(column="orders_amount_sum_366d")})
    with pytest.raises(PropensityError, match="orders_amount_sum_365d"):
        dataset.build(shop, wrong, dataset.as_ofs(shop, question))


def test_a_worth_that_is_no_number_is_refused_before_anything_is_learned(shop, question):
    wrong = question.model_copy(update={"value": Value(column="customer_kind", times=12)})
    with pytest.raises(PropensityError, match="customer_kind") as caught:
        dataset.build(shop, wrong, dataset.as_ofs(shop, question))
    assert "which is a category" in caught.value.received


def test_nobody_eligible_is_said(shop, question, built):
    nobody = question.model_copy(update={"eligible": ("orders_count_90d >= 1000000",)})
    with pytest.raises(DataFloorError, match="orders_count_90d >= 1000000"):
        dataset.build(shop, nobody, dataset.as_ofs(shop, question))


def test_history_shorter_than_the_horizon_is_said(shop, question):
    with pytest.raises(DataFloorError, match="at least 700 days back"):
        dataset.as_ofs(shop, question.model_copy(update={"horizon": timedelta(days=700)}))


def test_a_digest_tells_values_order_and_missing_apart():
    column = pd.Series([1.0, 2.0, np.nan])
    frame = pd.DataFrame({"a": column, "same": column, "swapped": column[[1, 0, 2]].to_numpy(), "filled": column.fillna(0.0)})
    found = dataset.digests(frame)
    assert found["a"] == found["same"]
    assert len({found["a"], found["swapped"], found["filled"]}) == 3


def test_a_digest_of_text_tells_none_from_its_name():
    frame = pd.DataFrame({"none": ["a", None], "word": ["a", "None"]}, dtype=object)
    assert len(set(dataset.digests(frame).values())) == 2
