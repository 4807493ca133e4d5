from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from features import snapshot, store
from features.catalog import Catalog
from features.cohort import cohort
from features.errors import DataFloorError, PropensityError
from features.propensity import load
from features.views import views
from tests.training.conftest import NOW
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


def test_nobody_eligible_is_said(shop, question, built):
    nobody = question.model_copy(update={"eligible": ("orders_count_90d >= 1000000",)})
    with pytest.raises(DataFloorError, match="orders_count_90d >= 1000000"):
        dataset.build(shop, nobody, dataset.as_ofs(shop, question))


def test_history_shorter_than_the_horizon_is_said(shop, question):
    with pytest.raises(DataFloorError, match="at least 700 days back"):
        dataset.as_ofs(shop, question.model_copy(update={"horizon": timedelta(days=700)}))
