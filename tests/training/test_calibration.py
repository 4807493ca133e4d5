from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from training import backtest, calibration
from training.calibration import FLOOR, sigmoid
from training.candidates import CANDIDATES, learn
from training.dataset import Dataset
from training.split import Split


def scored(rows: int, slope: float = 0.5, shift: float = -1.0, seed: int = 1):
    """Raw scores whose true log-odds are a line of them."""
    random = np.random.default_rng(seed)
    raw = random.normal(0, 2, rows)
    labels = (random.random(rows) < sigmoid(shift + slope * raw)).astype(np.int8)
    return raw, labels


def test_platt_finds_the_line_the_labels_came_from():
    line = calibration.fit_platt(*scored(50_000), np.ones(50_000))
    assert line.below == line.above == pytest.approx(0.5, abs=0.02)
    assert line.y[0] == pytest.approx(-1.0, abs=0.03)


@pytest.mark.parametrize("rows", [400, 8_000])
def test_mean_probability_is_the_rate_that_was_seen(rows):
    raw, labels = scored(rows)
    fitted = calibration.fit(raw, labels)
    assert fitted.probability(raw).mean() == pytest.approx(labels.mean(), abs=0.005)


def bent(rows: int, seed: int = 3):
    """Raw scores whose true log-odds are a beta calibration's curve: nearly flat below 0, steep above."""
    random = np.random.default_rng(seed)
    raw = random.normal(-0.5, 2, rows)
    p = sigmoid(raw)
    labels = (random.random(rows) < sigmoid(0.2 * np.log(p) - 1.6 * np.log(1 - p) - 1.2)).astype(np.int8)
    return raw, labels


def stepped(rows: int):
    """Raw scores of which only the sign matters: a step that neither a line nor one bend can follow."""
    random = np.random.default_rng(2)
    raw = random.normal(0, 2, rows)
    truth = np.where(raw > 0, 0.30, 0.05)
    return raw, (random.random(rows) < truth).astype(np.int8), truth


def test_a_line_stays_platts_however_many_rows_there_are():
    assert calibration.fit(*scored(500)).method == "platt"
    assert calibration.fit(*scored(10_000)).method == "platt"


def test_a_bend_is_given_to_beta_and_a_step_to_isotonic():
    assert calibration.fit(*bent(4_000)).method == "beta"
    assert calibration.fit(*stepped(20_000)[:2]).method == "isotonic"


def test_isotonic_is_not_asked_below_its_floor():
    raw, labels, _ = stepped(4_000)
    ones, entities = np.ones(len(raw)), pd.Series(np.arange(len(raw)))
    assert calibration.rarer(labels, ones) < calibration.ISOTONIC_FROM
    assert set(calibration.held_out_losses(raw, labels, entities, ones)) == {"platt", "beta"}


def test_rows_of_one_entity_are_held_out_together_and_count_once():
    """Copies of 100 rows of a line look like evidence for every wiggle, until they are known to be copies."""
    raw, labels = scored(100)
    copies = np.repeat(np.arange(100), 100)
    assert calibration.fit(raw[copies], labels[copies]).method != "platt"
    assert calibration.fit(raw[copies], labels[copies], pd.Series(copies)).method == "platt"


def test_a_single_entity_leaves_nothing_to_hold_out():
    raw, labels = bent(500)
    assert calibration.fit(raw, labels, pd.Series(["C1"] * 500)).method == "platt"


def test_the_error_of_a_mean_grows_with_the_rows_of_an_entity():
    values = np.random.default_rng(0).normal(0, 1, 400)
    mean, alone = calibration.clustered_mean(values, pd.Series(np.arange(400)), np.ones(400))
    assert mean == pytest.approx(values.mean())
    assert alone == pytest.approx(values.std() / 20)
    copies = np.repeat(np.arange(400), 9)
    assert calibration.clustered_mean(values[copies], pd.Series(copies), np.ones(3_600))[1] == pytest.approx(alone)


@pytest.mark.parametrize("method", [calibration.fit_platt, calibration.fit_beta, calibration.fit_isotonic])
def test_a_weight_of_a_half_twice_is_a_row_once(method):
    raw, labels, _ = stepped(9_000)
    halves = method(np.repeat(raw, 2), np.repeat(labels, 2), np.full(18_000, 0.5))
    once = method(raw, labels, np.ones(9_000))
    points = np.linspace(-6, 6, 50)
    assert halves.probability(points) == pytest.approx(once.probability(points), abs=0.002)


def test_rows_too_old_to_weigh_anything_are_as_if_they_were_not_there():
    raw, labels, _ = stepped(9_000)
    weights = np.where(np.arange(9_000) < 1_000, 0.0, 1.0)
    for method in (calibration.fit_platt, calibration.fit_beta, calibration.fit_isotonic):
        without = method(raw[1_000:], labels[1_000:], np.ones(8_000))
        assert method(raw, labels, weights).probability(raw) == pytest.approx(without.probability(raw), abs=1e-6)


def test_weights_let_the_calibration_follow_the_rate():
    """The outcome becomes twice as frequent: weighted rows say the new rate, all rows alike the mean of both."""
    raw, labels = scored(6_000)
    newer = np.arange(6_000) >= 3_000
    labels[newer & (np.random.default_rng(5).random(6_000) < 0.5)] = 1
    weights = np.where(newer, 1.0, 0.02)
    alike, weighted = calibration.fit(raw, labels), calibration.fit(raw, labels, weights=weights)
    assert weighted.probability(raw[newer]).mean() == pytest.approx(labels[newer].mean(), abs=0.01)
    assert alike.probability(raw[newer]).mean() < labels[newer].mean() - 0.1


def test_recency_halves_with_every_half_horizon():
    as_of = pd.Series(pd.date_range("2024-01-01", periods=10, freq="15D", tz="UTC").repeat(400))
    labels = np.tile(np.array([0, 1], dtype=np.int8), 2_000)
    weights = calibration.recency(as_of, labels, timedelta(days=30))
    assert weights[::400].tolist() == [0.5**age for age in range(9, -1, -1)]


def test_recency_is_stretched_until_enough_of_the_rarer_class_counts():
    as_of = pd.Series(pd.date_range("2024-01-01", periods=10, freq="90D", tz="UTC").repeat(200))
    labels = np.tile(np.array([0, 1], dtype=np.int8), 1_000)
    weights = calibration.recency(as_of, labels, timedelta(days=30))
    assert calibration.rarer(labels, weights) >= calibration.ENOUGH
    assert (np.diff(weights) >= 0).all()
    assert weights[0] < 0.6
    few = calibration.recency(as_of[:500], labels[:500], timedelta(days=30))
    assert few.tolist() == [1.0] * 500


def test_beta_finds_the_curve_the_labels_came_from():
    raw, labels = bent(100_000)
    curve = calibration.fit_beta(raw, labels, np.ones(len(raw)))
    assert curve.below == pytest.approx(0.2, abs=0.03)
    assert curve.above == pytest.approx(1.6, abs=0.06)
    far = np.linspace(-12, 12, 200)
    p = sigmoid(far)
    at_zero = curve.log_odds(np.zeros(1))[0] + (curve.below - curve.above) * np.log(2)
    formula = curve.below * np.log(p) - curve.above * np.log1p(-p) + at_zero
    assert curve.log_odds(far) == pytest.approx(formula, abs=0.005)


def test_beta_never_turns_round():
    raw, labels = bent(4_000)
    curve = calibration.fit_beta(raw, 1 - labels, np.ones(len(raw)))
    assert min(curve.below, curve.above) >= calibration.LEAST_SLOPE * (1 - 1e-9)
    assert (np.diff(curve.log_odds(np.linspace(-20, 20, 999))) > 0).all()


def test_isotonic_follows_a_curve_that_platt_cannot():
    raw, labels, truth = stepped(40_000)
    isotonic, platt = calibration.fit(raw, labels), calibration.fit_platt(raw, labels, np.ones(len(raw)))
    away = np.abs(raw) > 0.5
    assert np.abs(isotonic.probability(raw) - truth)[away].mean() < 0.01
    assert np.abs(platt.probability(raw) - truth)[away].mean() > 0.03


def test_isotonic_keeps_the_order_of_the_raw_scores():
    raw, labels, _ = stepped(20_000)
    fitted = calibration.fit(raw, labels)
    assert fitted.method == "isotonic"
    distinct = np.unique(raw)
    probability = fitted.probability(distinct)
    assert (np.diff(probability) >= 0).all()
    assert len(np.unique(probability)) > 0.99 * len(distinct)


def test_a_raw_score_that_ranks_backwards_keeps_its_order_and_the_rate():
    raw, labels = scored(2_000, slope=-0.5)
    fitted = calibration.fit_platt(raw, labels, np.ones(len(raw)))
    assert fitted.below == fitted.above == pytest.approx(calibration.LEAST_SLOPE)
    assert fitted.probability(raw).mean() == pytest.approx(labels.mean(), abs=0.01)


def test_equal_raw_scores_do_not_break_anything():
    labels = np.array([0, 1] * 100, dtype=np.int8)
    assert calibration.fit(np.zeros(200), labels).probability(np.zeros(3)) == pytest.approx([0.5] * 3, abs=0.01)


def test_nothing_is_ever_certain():
    raw, labels = scored(5_000)
    extremes = calibration.fit(raw, labels).probability(np.array([-1e6, 1e6]))
    assert extremes.tolist() == [FLOOR, 1 - FLOOR]


def test_separable_scores_stay_finite():
    raw = np.linspace(-1, 1, 4_000)
    labels = (raw > 0).astype(np.int8)
    for fitted in (
        fit(raw, labels, np.ones(len(raw))) for fit in (calibration.fit_platt, calibration.fit_beta, calibration.fit_isotonic)
    ):
        assert np.isfinite(fitted.probability(raw)).all()
        assert np.isfinite([*fitted.x, *fitted.y, fitted.below, fitted.above]).all()


def test_numbers_survive_json_to_the_bit():
    fitted = calibration.fit(*bent(4_000))
    raw = np.linspace(-8, 8, 101)
    again = calibration.Calibration.model_validate_json(fitted.model_dump_json())
    assert again == fitted
    assert (again.probability(raw) == fitted.probability(raw)).all()


def test_one_row_is_calibrated_as_among_many():
    raw, labels = bent(4_000)
    fitted = calibration.fit(raw, labels)
    together = fitted.probability(raw[:500])
    assert [fitted.probability(raw[i : i + 1])[0] for i in range(500)] == together.tolist()


@pytest.mark.parametrize("calibrated", ["held out", "cross-fitted"])
def test_the_calibration_of_a_backtest_follows_a_rate_that_moved(calibrated):
    """The rate doubles at the newest of six dates, a year after the others: they hardly count."""
    rows = 6 * 1_000
    as_of = pd.to_datetime(["2023-01-01"] * 5_000 + ["2024-01-01"] * 1_000, utc=True)
    random = np.random.default_rng(0)
    labels = (random.random(rows) < np.where(np.arange(rows) < 5_000, 0.2, 0.45)).astype(np.int8)
    frame = pd.DataFrame(
        {"entity_id": np.arange(rows).astype(str), "as_of": as_of, "label": labels, "x": random.normal(size=rows)}
    )
    data = Dataset(frame, {"x": "number"}, (), {}, "")
    every = np.ones(rows, dtype=bool)
    divided = Split("time", every, every, ~every, calibrated, (), timedelta(days=30))
    learned = learn(CANDIDATES[:1], data.examples(every), True)[CANDIDATES[0].name]
    line = backtest.calibrate(data, divided, every, learned)
    assert line.probability(learned.out_of_fold).mean() == pytest.approx(labels[5_000:].mean(), abs=0.02)
