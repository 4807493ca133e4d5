from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from features.errors import DataFloorError
from training.split import folds, split

HORIZON = timedelta(days=90)


def panel(entities: int, dates: int, *, days: int = 28, rate: float = 0.2, seed: int = 0):
    """Every entity at every date, with labels drawn at one rate."""
    as_ofs = pd.date_range("2020-01-06", periods=dates, freq=f"{days}D", tz="UTC").astype("datetime64[us, UTC]")
    names = [f"e{number}" for number in range(entities)]
    rows = pd.DataFrame([(name, as_of) for as_of in as_ofs for name in names], columns=["entity_id", "as_of"])
    labels = (np.random.default_rng(seed).random(len(rows)) < rate).astype(np.int8)
    return rows, labels


@pytest.mark.parametrize(("entities", "dates"), [(300, 8), (300, 20), (1_500, 30)])
def test_everything_learned_had_matured_before_the_test(entities, dates):
    rows, labels = panel(entities, dates)
    made = split(rows, labels, HORIZON)
    first_test = rows["as_of"][made.test].min()
    assert made.by == "time"
    assert (rows["as_of"][made.fit] + HORIZON <= first_test).all()
    assert (rows["as_of"][made.calibration] + HORIZON <= first_test).all()
    assert rows["as_of"][made.test].max() == rows["as_of"].max()
    assert not (made.test & (made.fit | made.calibration)).any()


def test_the_gap_is_half_open():
    """A label that matures in the very instant the test begins has matured; one microsecond later it has not."""
    rows, labels = panel(400, 6, days=30)
    exact = split(rows, labels, timedelta(days=60))
    first_test = rows["as_of"][exact.test].min()
    assert (rows["as_of"][exact.fit].max() + timedelta(days=60)) == first_test
    longer = split(rows, labels, timedelta(days=60, microseconds=1))
    assert rows["as_of"][longer.fit].max() + timedelta(days=90) == rows["as_of"][longer.test].min()


def test_plenty_of_data_get_a_calibration_slice_of_their_own_with_its_own_gap(monkeypatch):
    rows, labels = panel(4_000, 30)
    assert split(rows, labels, HORIZON).calibrated == "cross-fitted", "the newest rows are worth more to the fit"
    monkeypatch.setattr("training.split.HELD_OUT_FROM", 50_000)
    made = split(rows, labels, HORIZON)
    assert made.calibrated == "held out"
    assert not (made.fit & made.calibration).any()
    assert (rows["as_of"][made.fit] + HORIZON <= rows["as_of"][made.calibration].min()).all()


def test_thin_data_are_calibrated_by_cross_fitting_on_the_fitted_rows_which_age_by_the_horizon():
    rows, labels = panel(300, 12)
    made = split(rows, labels, HORIZON)
    assert made.calibrated == "cross-fitted"
    assert (made.fit == made.calibration).all()
    assert made.horizon == HORIZON


def test_one_date_is_split_by_entity_and_says_so():
    rows, labels = panel(600, 1)
    made = split(rows, labels, HORIZON)
    assert made.by == "entity"
    assert made.test.all()
    assert made.fit.all()
    assert "single date" in made.sentences[0]


def test_folds_keep_an_entity_together_and_depend_on_nothing_else():
    rows, _ = panel(500, 3)
    fold = folds(rows["entity_id"])
    assert rows.assign(fold=fold).groupby("entity_id")["fold"].nunique().max() == 1
    assert np.bincount(fold).min() > 0.8 * len(rows) / 5
    assert (folds(rows["entity_id"][::-1])[::-1] == fold).all()


@pytest.mark.parametrize(
    ("entities", "dates", "rate", "received"),
    [(12, 6, 0.5, "24 rows"), (300, 8, 0.01, "positives"), (300, 8, 0.99, "negatives"), (80, 1, 0.5, "80 rows")],
)
def test_too_little_is_refused_with_the_counts(entities, dates, rate, received):
    rows, labels = panel(entities, dates, rate=rate)
    with pytest.raises(DataFloorError) as caught:
        split(rows, labels, HORIZON)
    assert received in caught.value.received
    assert "at least 100 rows with 20 positives and 20 negatives" in caught.value.expected


def test_history_without_a_gap_is_refused_in_words():
    rows, labels = panel(1_000, 3)
    with pytest.raises(DataFloorError) as caught:
        split(rows, labels, HORIZON)
    assert "two dates at least 90 days apart" in caught.value.expected
    assert caught.value.received == "dates from 2020-01-06 to 2020-03-02"
