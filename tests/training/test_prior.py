from __future__ import annotations

import numpy as np
import pytest

from training import prior
from training.calibration import Calibration, log_odds, sigmoid
from training.prior import Estimate, Origin


def drawn(rows: int, rate: float, calibrated_at: float = 0.2, seed: int = 0):
    """Two normal distributions of raw scores, mixed at `rate`; probabilities as they are right at another rate."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < rate).astype(np.int8)
    raw = random.normal(1.5 * labels - 0.75, 1.0)
    return sigmoid(1.5 * raw + float(log_odds(np.array(calibrated_at)))), labels


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_a_moved_rate_is_found_from_probabilities_alone(rate):
    probability, _ = drawn(8_000, rate)
    found = prior.estimate(probability, 0.2)
    assert found.rate == pytest.approx(rate, abs=0.02)
    assert found.low < rate < found.high
    assert found.moved(0.2) == (rate != 0.2)


def test_the_estimate_is_what_expectation_maximisation_converges_to():
    probability, _ = drawn(900, 0.4)
    rate = 0.2
    for _ in range(2_000):
        positive = probability * rate / 0.2
        rate = float((positive / (positive + (1 - probability) * (1 - rate) / 0.8)).mean())
    assert prior.estimate(probability, 0.2).rate == pytest.approx(rate, abs=1e-6)


def test_grouping_many_rows_changes_nothing_that_matters():
    probability, labels = drawn(300_000, 0.35)
    assert prior.estimate(probability, 0.2).rate == pytest.approx(labels.mean(), abs=0.005)


def test_probabilities_that_say_nothing_leave_the_rate_open():
    found = prior.estimate(np.full(500, 0.2) + np.linspace(-1e-4, 1e-4, 500), 0.2)
    assert found.high - found.low > 0.5
    assert not found.moved(0.2)


def test_a_correction_moves_every_log_odds_by_the_same():
    line = Calibration(method="isotonic", x=(-1.0, 0.0, 2.0), y=(-3.0, -1.0, 0.5), below=0.5, above=0.7)
    raw = np.linspace(-5, 5, 41)
    moved = prior.corrected(line, 0.2, 0.4)
    by = float(log_odds(np.array(0.4)) - log_odds(np.array(0.2)))
    assert moved.log_odds(raw) - line.log_odds(raw) == pytest.approx(np.full(41, by))
    assert prior.corrected(moved, 0.4, 0.2).log_odds(raw) == pytest.approx(line.log_odds(raw))


def test_a_correction_to_the_true_rate_calibrates():
    probability, labels = drawn(50_000, 0.45)
    assert probability.mean() < 0.35
    moved = sigmoid(log_odds(probability) + prior.offset(0.2, 0.45))
    assert moved.mean() == pytest.approx(labels.mean(), abs=0.01)


def shifting(seeds: range) -> list[Origin]:
    return [Origin(*drawn(2_000, 0.2 + 0.1 * (seed % 3), seed=seed), 0.2) for seed in seeds]


def changing(seeds: range) -> list[Origin]:
    """The rows change, the outcome given the row does not: higher scores are rightly higher, and no rate has moved by itself."""
    made = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        probability = sigmoid(random.normal(-0.3, 0.5, 2_000))
        made.append(Origin(probability, (random.random(2_000) < probability).astype(np.int8), 0.2))
    return made


def test_a_correction_that_paid_is_applied():
    probability, _ = drawn(2_000, 0.4, seed=9)
    made = prior.decide(shifting(range(6)), prior.estimate(probability, 0.2), 0.2)
    assert made.applied
    assert "lowered the log loss" in made.sentence
    assert made.sentence.endswith(": corrected.")


def test_a_correction_that_did_harm_is_not():
    origins = changing(range(6))
    newest = prior.estimate(origins[0].probability, 0.2)
    assert newest.moved(0.2)
    made = prior.decide(origins, newest, 0.2)
    assert not made.applied
    assert "raised the log loss" in made.sentence


def test_nothing_is_corrected_where_nothing_moved_or_too_little_is_known():
    origins = shifting(range(6))
    still = prior.decide(origins, Estimate(0.21, 0.18, 0.24), 0.2)
    assert not still.applied
    assert "no different" in still.sentence
    few = prior.decide(origins[:2], Estimate(0.4, 0.3, 0.5), 0.2)
    assert not few.applied
    assert "2 earlier dates cannot tell" in few.sentence
    assert "1 earlier date cannot" in prior.decide(origins[:1], Estimate(0.4, 0.3, 0.5), 0.2).sentence
