"""Bins: deciles, values that many rows have, categories, and what is missing; every row falls into one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.monitor.drift.bins import Bins
from training.contract import Column, Typical

NUMBER = Column(name="n", dtype="number", typical=Typical(missing=0))
CATEGORY = Column(name="c", dtype="category", categories=("a", "b"), typical=Typical(missing=0))


def test_a_plain_number_has_ten_parts_of_equal_size() -> None:
    values = np.random.default_rng(1).normal(size=10_000)
    bins = Bins.of(NUMBER, values)
    assert bins.number == 11
    assert bins.count(values).tolist() == pytest.approx([1000] * 10 + [0], abs=2)


def test_a_value_that_most_rows_have_is_a_bin_of_its_own() -> None:
    values = np.r_[np.zeros(700), np.random.default_rng(1).uniform(1, 5, 300)]
    bins = Bins.of(NUMBER, values)
    assert bins.labels[:3] == ("below 0", "0", f"over 0 to {bins.edges[2]:.3g}")
    assert bins.count(values).tolist() == pytest.approx([0, 700, 100, 100, 100, 0], abs=1)
    assert bins.count(np.array([-1e-9, 0.0, -0.0, 1e-300, np.nan])).tolist() == [1, 2, 1, 0, 0, 1]


def test_a_constant_shows_what_is_below_and_above_it() -> None:
    bins = Bins.of(NUMBER, np.full(50, 3.0))
    assert bins.labels == ("below 3", "3", "over 3", "missing")
    assert bins.count(np.array([2.0, 3.0, np.nextafter(3, 4), np.nan])).tolist() == [1, 1, 1, 1]


def test_a_feature_without_a_value_has_one_bin_for_any_that_may_come() -> None:
    bins = Bins.of(NUMBER, np.full(5, np.nan))
    assert bins.labels == ("any value", "missing")
    assert bins.count(np.array([np.nan, 1.0, np.inf])).tolist() == [2, 1]


def test_a_category_has_those_the_model_knows_the_others_and_the_missing() -> None:
    bins = Bins.of(CATEGORY, np.array([0.0, 1.0]))
    assert bins.labels == ("a", "b", "other", "missing")
    assert bins.count(np.array([0.0, 0.0, 1.0, 2.0, np.nan])).tolist() == [2, 1, 1, 1]


def test_no_rows_are_counted_as_none() -> None:
    assert Bins.of(NUMBER, np.empty(0)).count(np.empty(0)).tolist() == [0, 0]


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 2.5, -7.0, 1e300, np.inf, np.nan]), max_size=60))
def test_every_row_falls_into_one_bin_and_every_bin_has_a_name(values: list[float]) -> None:
    bins = Bins.of(NUMBER, np.array(values))
    counts = bins.count(np.array(values))
    assert counts.sum() == len(values)
    assert len(counts) == bins.number == len(bins.labels)
    assert list(bins.edges) == sorted(set(bins.edges))
    assert Bins.model_validate_json(bins.model_dump_json()) == bins
