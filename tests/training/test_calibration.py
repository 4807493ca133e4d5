from __future__ import annotations

import numpy as np
import pytest

from training import calibration
from training.calibration import FLOOR, sigmoid


def scored(rows: int, slope: float = 0.5, shift: float = -1.0, seed: int = 1):
    """Raw scores whose true log-odds are a line of them."""
    random = np.random.default_rng(seed)
    raw = random.normal(0, 2, rows)
    labels = (random.random(rows) < sigmoid(shift + slope * raw)).astype(np.int8)
    return raw, labels


def test_platt_finds_the_line_the_labels_came_from():
    line = calibration.fit_platt(*scored(50_000))
    assert line.slope == pytest.approx(0.5, abs=0.02)
    assert line.y[0] == pytest.approx(-1.0, abs=0.03)


@pytest.mark.parametrize("rows", [400, 20_000])
def test_mean_probability_is_the_rate_that_was_seen(rows):
    raw, labels = scored(rows)
    fitted = calibration.fit(raw, labels)
    assert fitted.probability(raw).mean() == pytest.approx(labels.mean(), abs=0.005)


def test_size_chooses_the_method():
    assert calibration.fit(*scored(500)).method == "platt"
    assert calibration.fit(*scored(20_000)).method == "isotonic"


def test_isotonic_follows_a_curve_that_platt_cannot():
    random = np.random.default_rng(2)
    raw = random.normal(0, 2, 40_000)
    truth = np.where(raw > 0, 0.30, 0.05)
    labels = (random.random(len(raw)) < truth).astype(np.int8)
    isotonic, platt = calibration.fit(raw, labels), calibration.fit_platt(raw, labels)
    away = np.abs(raw) > 0.5
    assert np.abs(isotonic.probability(raw) - truth)[away].mean() < 0.01
    assert np.abs(platt.probability(raw) - truth)[away].mean() > 0.03


def test_isotonic_keeps_the_order_of_the_raw_scores():
    raw, labels = scored(20_000)
    fitted = calibration.fit(raw, labels)
    assert fitted.method == "isotonic"
    distinct = np.unique(raw)
    probability = fitted.probability(distinct)
    assert (np.diff(probability) >= 0).all()
    assert len(np.unique(probability)) > 0.99 * len(distinct)


def test_a_raw_score_that_ranks_backwards_keeps_its_order_and_the_rate():
    raw, labels = scored(2_000, slope=-0.5)
    fitted = calibration.fit_platt(raw, labels)
    assert fitted.slope == calibration.LEAST_SLOPE
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
    for fitted in (calibration.fit(raw, labels), calibration.fit_platt(raw, labels)):
        assert np.isfinite(fitted.probability(raw)).all()
        assert np.isfinite([*fitted.x, *fitted.y, fitted.slope]).all()


def test_numbers_survive_json_to_the_bit():
    fitted = calibration.fit(*scored(20_000))
    raw = np.linspace(-8, 8, 101)
    again = calibration.Calibration.model_validate_json(fitted.model_dump_json())
    assert again == fitted
    assert (again.probability(raw) == fitted.probability(raw)).all()


def test_one_row_is_calibrated_as_among_many():
    raw, labels = scored(20_000)
    fitted = calibration.fit(raw, labels)
    together = fitted.probability(raw[:500])
    assert [fitted.probability(raw[i : i + 1])[0] for i in range(500)] == together.tolist()
