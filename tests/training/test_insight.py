from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.boosting import learn
from training.calibration import Calibration, sigmoid
from training.contract import Contract, Window
from training.examples import Examples
from training.insight import DEPENDENCE_ROWS, EXPLAINED_ROWS, importance, insights, partial_dependence
from training.model import Model

DTYPES = {"recency": "number", "plan": "category", "noise": "number", "flag": "number"}
LINE = Calibration(method="platt", x=(0.0,), y=(0.0,), below=1.0, above=1.0)


@pytest.fixture(scope="module")
def world():
    """Recency raises the risk in a straight line, gold lowers it, missing recency is safe."""
    random = np.random.default_rng(0)
    rows = 6_000
    frame = pd.DataFrame(
        {
            "entity_id": [f"C{n}" for n in range(rows)],
            "recency": np.where(random.random(rows) < 0.1, np.nan, random.uniform(0, 10, rows)),
            "plan": random.choice(np.array(["basic", "gold", *[f"p{n}" for n in range(10)], None], dtype=object), rows,
                                  p=[0.4, 0.3, *[0.02] * 10, 0.1]),
            "noise": random.normal(size=rows),
            "flag": random.integers(0, 2, rows).astype(float),
        }
    )  # fmt: skip
    risk = sigmoid(-3 + 0.4 * frame["recency"].fillna(0).to_numpy() - 1.0 * (frame["plan"] == "gold"))
    labels = (random.random(rows) < risk).astype(np.int8)
    learned = learn(Examples.of(frame, labels, DTYPES), cross_fit=False)
    window = Window(first="2018-01-01", last="2018-01-01", rows=1, positives=1)
    contract = Contract(
        propensity={}, candidate="lightgbm", members=("model.txt",), features=learned.features, calibration=LINE,
        reference=(0.0, 1.0), fingerprint="f", windows={"test": window},
    )  # fmt: skip
    model = Model(contract, learned.predictor)
    return model, frame, labels, model.probability(model.matrix(frame))


def test_importance_is_the_mean_size_of_the_contributions(world):
    model, frame, _, _ = world
    matrix = model.matrix(frame)[:1_000]
    expected = np.abs(model.foreseen(matrix).contributions[:, :-1]).mean(axis=0)
    found = importance(model, matrix, seed=1)
    assert list(found) == list(DTYPES)
    assert list(found.values()) == pytest.approx(expected)
    assert found["recency"] > found["plan"] > found["noise"]


def test_many_rows_are_drawn_from_and_equal_seeds_draw_equal_rows(world):
    model, frame, _, _ = world
    matrix = model.matrix(frame)
    assert len(matrix) > EXPLAINED_ROWS > DEPENDENCE_ROWS
    assert importance(model, matrix, seed=1) == importance(model, matrix, seed=1) != importance(model, matrix, seed=2)
    assert importance(model, matrix, seed=1)["recency"] == pytest.approx(importance(model, matrix, seed=2)["recency"], rel=0.05)


def test_the_bins_of_a_feature_hold_every_row_once_and_say_what_happened(world):
    model, frame, labels, probability = world
    for made in insights(model, frame, labels, probability, 4, seed=1):
        assert sum(part.rows for part in made.bins) == len(frame)
        assert sum(part.rows * part.happened for part in made.bins) == pytest.approx(labels.sum())
        assert sum(part.rows * part.predicted for part in made.bins) == pytest.approx(probability.sum())
        assert all(part.low <= part.happened <= part.high for part in made.bins)


def test_numbers_go_from_low_to_high_and_missing_values_come_last(world):
    model, frame, labels, probability = world
    recency = insights(model, frame, labels, probability, 1, seed=1)[0]
    assert recency.feature == "recency"
    assert [part.value.split()[0] for part in recency.bins][:1] == ["up"]
    assert recency.bins[-1].value == "missing"
    rising = [part.dependence for part in recency.bins[:-1]]
    assert rising == sorted(rising)
    assert rising[-1] > 3 * rising[0]
    assert recency.bins[-1].dependence < rising[2]


def test_rare_categories_are_one_bin(world):
    model, frame, labels, probability = world
    plan = next(made for made in insights(model, frame, labels, probability, 4, seed=1) if made.feature == "plan")
    assert [part.value for part in plan.bins][:2] == ["basic", "gold"]
    assert [part.value for part in plan.bins][-2:] == ["other", "missing"]
    assert len(plan.bins) == 9
    basic, gold = plan.bins[:2]
    assert gold.dependence < basic.dependence
    flag = next(made for made in insights(model, frame, labels, probability, 4, seed=1) if made.feature == "flag")
    assert [part.value for part in flag.bins] == ["0", "1"]


def test_partial_dependence_by_hand(world):
    model, frame, _, _ = world
    rows = frame.head(50).assign(plan="gold")
    matrix = model.matrix(frame.head(50))
    gold = model.matrix(rows)[0, 1]
    assert partial_dependence(model, matrix, 1, gold) == pytest.approx(model.probability(model.matrix(rows)).mean())
