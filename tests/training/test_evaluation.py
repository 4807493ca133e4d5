from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics

from training.evaluation import Ranking, auc_difference, curves, evaluate, wilson


def drawn(rows: int = 3_000, seed: int = 0, decimals: int = 2):
    """Calibrated probabilities with many ties, their labels, and entities of three rows each."""
    random = np.random.default_rng(seed)
    probability = np.round(random.beta(1, 6, rows), decimals).clip(0.005, 0.995)
    labels = (random.random(rows) < probability).astype(np.int8)
    return probability, labels, pd.Series(np.arange(rows) // 3).astype(str)


def test_figures_equal_scikit_learn_under_any_weights():
    probability, labels, _ = drawn()
    weights = np.random.default_rng(1).integers(0, 4, len(labels)).astype(float)
    figures = Ranking(probability, labels).figures(weights)
    assert figures["auc"] == pytest.approx(metrics.roc_auc_score(labels, probability, sample_weight=weights))
    assert figures["pr_auc"] == pytest.approx(metrics.average_precision_score(labels, probability, sample_weight=weights))
    assert figures["log_loss"] == pytest.approx(metrics.log_loss(labels, probability, sample_weight=weights))
    assert figures["brier"] == pytest.approx(metrics.brier_score_loss(labels, probability, sample_weight=weights))


def test_a_weight_of_two_is_the_row_twice():
    probability, labels, _ = drawn(400, decimals=6)
    weights = np.ones(400)
    weights[:100] = 2
    twice = np.r_[np.arange(400), np.arange(100)]
    weighted = Ranking(probability, labels).figures(weights)
    repeated = Ranking(probability[twice], labels[twice]).figures(np.ones(500))
    for name in ("auc", "pr_auc", "log_loss", "brier", "lift_at_10pct", "lift_at_20pct"):
        assert weighted[name] == pytest.approx(repeated[name]), name


def test_the_promised_auc_is_what_labels_drawn_from_the_probabilities_show():
    probability, _, _ = drawn(4_000)
    random = np.random.default_rng(1)
    *_, promised = Ranking(probability, np.ones(4_000, dtype=np.int8)).order_figures(np.ones(4_000))
    shown = [metrics.roc_auc_score(random.random(4_000) < probability, probability) for _ in range(30)]
    assert promised == pytest.approx(np.mean(shown), abs=0.005)


def test_the_figures_of_the_order_are_those_among_all():
    probability, labels, _ = drawn()
    weights = np.random.default_rng(1).integers(0, 4, len(labels)).astype(float)
    ranking = Ranking(probability, labels)
    figures = ranking.figures(weights)
    assert ranking.order_figures(weights[ranking.order])[:2] == (figures["auc"], figures["lift_at_10pct"])


def test_lift_by_hand():
    probability = np.linspace(0.9, 0.1, 100)
    labels = np.zeros(100, dtype=np.int8)
    labels[[0, 1, 2, 3, 4, 50, 60, 70, 80, 90]] = 1
    figures = Ranking(probability, labels).figures(np.ones(100))
    assert figures["lift_at_10pct"] == pytest.approx(5.0)
    assert figures["lift_at_1pct"] == pytest.approx(10.0)


def test_lift_of_ties_is_what_drawing_among_them_gives():
    labels = np.array([1] * 30 + [0] * 70, dtype=np.int8)
    assert Ranking(np.full(100, 0.3), labels).figures(np.ones(100))["lift_at_10pct"] == pytest.approx(1.0)


def test_calibration_error_by_hand():
    probability = np.full(1_000, 0.2)
    labels = np.tile(np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0], dtype=np.int8), 100)
    assert Ranking(probability, labels).figures(np.ones(1_000))["calibration_error"] == pytest.approx(0.1)


def test_chance_explains_the_calibration_error_of_calibrated_probabilities_only():
    probability, labels, entities = drawn(2_000, decimals=6)
    honest = evaluate(probability, labels, entities, seed=1, replicates=20)
    inflated = evaluate(np.minimum(2 * probability, 0.99), labels, entities, seed=1, replicates=20)
    assert honest["calibration_error"].value < 3 * honest.chance_calibration_error
    assert inflated["calibration_error"].value > 5 * inflated.chance_calibration_error


def test_chance_says_what_drawing_the_labels_again_gives():
    """The error of labels drawn anew from the probabilities, a hundred times, has that mean and that spread."""
    probability, labels, entities = drawn(2_000, decimals=6)
    made = evaluate(probability, labels, entities, seed=1, replicates=5)
    random = np.random.default_rng(9)
    again = [Ranking(probability, (random.random(2_000) < probability).astype(np.int8)) for _ in range(100)]
    errors = [ranking.figures(np.ones(2_000))["calibration_error"] for ranking in again]
    assert made.chance_calibration_error == pytest.approx(np.mean(errors), rel=0.1)
    assert made.chance_calibration_sd == pytest.approx(np.std(errors), rel=0.35)
    assert made["calibration_error"].value == pytest.approx(made.chance_calibration_error, abs=4 * made.chance_calibration_sd)


def test_intervals_hold_their_estimate_and_repeat_with_the_seed():
    probability, labels, entities = drawn()
    first, again = (evaluate(probability, labels, entities, seed=7, replicates=50) for _ in range(2))
    assert first == again
    assert all(0 <= figure.low <= figure.value <= figure.high for figure in first.figures.values())
    assert evaluate(probability, labels, entities, seed=8, replicates=50) != first


def test_no_interval_leaves_the_range_of_its_figure():
    """Four positives that are ranked well: the spread moved to the estimate alone would reach beyond 1."""
    labels = np.array([0] * 56 + [1] * 4, dtype=np.int8)
    probability = np.where(labels == 1, 0.8, 0.2) + np.random.default_rng(3).normal(0, 0.18, 60)
    made = evaluate(probability.clip(0.01, 0.99), labels, pd.Series(np.arange(60)), seed=1)
    assert made["auc"].high == made["pr_auc"].high == 1.0
    assert all(made[name].high <= 1 for name in ("brier", "calibration_error"))
    assert made["lift_at_10pct"].high > 1


def test_rows_of_one_entity_stay_together():
    """Ten copies of every row say nothing new: the interval must not shrink, as it would if rows were drawn."""
    probability, labels, _ = drawn(300, decimals=6)
    copies = np.repeat(np.arange(300), 10)
    single = evaluate(probability, labels, pd.Series(np.arange(300)), seed=3)
    copied = evaluate(probability[copies], labels[copies], pd.Series(copies), seed=3)
    width = {name: e["auc"].high - e["auc"].low for name, e in (("single", single), ("copied", copied))}
    assert width["copied"] == pytest.approx(width["single"], rel=0.25)


def test_difference_of_a_model_to_itself_is_nothing_and_to_noise_is_something():
    probability, labels, entities = drawn()
    noise = np.random.default_rng(4).random(len(labels))
    same = auc_difference(probability, probability, labels, entities, seed=1)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert auc_difference(probability, noise, labels, entities, seed=1).low > 0
    assert auc_difference(noise, probability, labels, entities, seed=1).high < 0


def test_curves_count_everyone_once():
    probability, labels, _ = drawn()
    made = curves(probability, labels)
    assert sum(rows for *_, rows in made.reliability) == len(labels)
    assert all(low <= observed <= high for _, observed, low, high, _ in made.reliability)
    assert made.gains[0] == (0.0, 0.0)
    assert made.gains[-1] == (1.0, 1.0)
    assert sum(positives for _, _, positives, _ in made.histogram) == pytest.approx(1.0)
    assert sum(negatives for *_, negatives in made.histogram) == pytest.approx(1.0)


def test_ties_are_one_bin_whatever_the_order_of_the_rows():
    labels = np.array([1] * 50 + [0] * 50, dtype=np.int8)
    for order in (labels, labels[::-1].copy(), np.tile([1, 0], 50).astype(np.int8)):
        figures = Ranking(np.full(100, 0.5), order).figures(np.ones(100))
        assert figures["calibration_error"] == pytest.approx(0.0)
        assert len(curves(np.full(100, 0.5), order).reliability) == 1


def test_an_interval_holds_its_share_for_every_count():
    for trials in range(1, 400):
        for successes in {0, 1, trials // 2, trials - 1, trials}:
            low, high = wilson(successes, trials)
            assert 0 <= low <= successes / trials <= high <= 1
