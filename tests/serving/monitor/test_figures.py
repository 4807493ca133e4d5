"""The figures of matured rows: the estimates of a report, and intervals that hold what they say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from serving.monitor.figures import SHOWN, Figures, figures
from training.evaluation import evaluate


def drawn(rows: int, seed: int, entities: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    of_entity = random.beta(1, 6, entities or rows)
    who = np.arange(rows) if entities is None else random.integers(0, entities, rows)
    probability = np.round(of_entity[who], 3).clip(0.001, 0.999)  # with ties
    return probability, (random.random(rows) < probability).astype(np.int8), who


def test_estimates_and_intervals_are_those_of_the_bootstrap_of_entities() -> None:
    probability, labels, who = drawn(4_000, 1, entities=900)
    found, slow = figures(probability, labels, who), evaluate(probability, labels, pd.Series(who), 0, replicates=400)
    assert (found.rows, found.positives, found.entities) == (slow.rows, slow.positives, slow.entities)
    for name in SHOWN:
        assert found[name].value == slow[name].value
        if name != "calibration_error":  # whose replicates have chance of their own
            assert found[name].high - found[name].low == pytest.approx(slow[name].high - slow[name].low, rel=0.15), name
    assert found.chance_calibration_error == pytest.approx(slow.chance_calibration_error, rel=0.1)
    assert found.chance_calibration_sd == pytest.approx(slow.chance_calibration_sd, rel=0.25)


def test_the_truth_is_inside_nineteen_intervals_of_twenty() -> None:
    probability, _, _ = drawn(200_000, 0)
    weight = np.sort(probability)
    truth = {"happened": probability.mean(), "gap": 0.0}
    order, below = np.argsort(probability, kind="stable"), np.cumsum(1 - weight) - (1 - weight) / 2
    truth["auc"] = float((probability[order] * below).sum() / (probability.sum() * (1 - probability).sum()))
    inside = {name: 0 for name in truth}
    for seed in range(200):
        found = figures(*drawn(1_500, 1_000 + seed))
        for name, value in truth.items():
            inside[name] += found[name].low <= value <= found[name].high
    assert all(180 <= count <= 199 for count in inside.values()), inside


def test_a_customer_who_is_seen_every_week_counts_once() -> None:
    probability, labels, who = drawn(800, 3)
    once, often = figures(probability, labels, who), figures(*(np.tile(each, 10) for each in (probability, labels, who)))
    for name in ("auc", "log_loss", "brier", "gap", "happened", "lift_at_10pct"):
        assert often.errors[name] == pytest.approx(once.errors[name], rel=0.02), name  # ties at the best tenth


def test_what_cannot_be_told_is_not_there() -> None:
    probability, _, who = drawn(50, 4)
    negatives = figures(probability, np.zeros(50, np.int8), who)
    assert "auc" not in negatives.figures and "lift_at_10pct" not in negatives.figures
    assert negatives["happened"].value == negatives["happened"].low == 0 < negatives["happened"].high < 0.1
    one = figures(np.array([0.3]), np.array([1], np.int8), np.array([0]))
    assert one.rows == 1 and "auc" not in one.figures and one["happened"].high == 1


def test_profit_is_of_one_list() -> None:
    probability, labels, who = drawn(100, 5)
    earned = np.where(probability > 0.2, labels * 50.0 - 2, 0.0)
    found: Figures = figures(probability, labels, who, earned, lists=4)
    assert found["profit"].value == pytest.approx(earned.sum() / 4)
    assert found["profit"].low < found["profit"].value < found["profit"].high
