from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from training import slices as room
from training.calibration import sigmoid
from training.slices import LEAST_ROWS, MISSING, OTHER, collapsed, groups, slices, values


def judged(rows: int = 3_000, seed: int = 0):
    """Calibrated probabilities, and three regions of which one holds half of the rows."""
    random = np.random.default_rng(seed)
    probability = sigmoid(random.normal(-1, 1.2, rows))
    labels = (random.random(rows) < probability).astype(np.int8)
    region = random.choice(["north", "south", "west"], rows, p=[0.5, 0.3, 0.2])
    return probability, labels, pd.Series(np.arange(rows)), pd.DataFrame({"region": region})


def test_figures_are_those_of_the_slice_alone():
    probability, labels, entities, attributes = judged()
    found = slices(probability, labels, entities, attributes, seed=1)
    assert [part.value for part in found] == ["north", "south", "west"], "largest first"
    for part in found:
        mine = (attributes["region"] == part.value).to_numpy()
        assert (part.rows, part.positives) == (mine.sum(), labels[mine].sum())
        assert part.auc.value == pytest.approx(roc_auc_score(labels[mine], probability[mine]))
        assert part.happened.value == pytest.approx(labels[mine].mean())
        assert part.predicted == pytest.approx(probability[mine].mean())
        assert part.auc.low < part.auc.value < part.auc.high
        assert part.happened.low < part.happened.value < part.happened.high


def test_the_steps_of_many_rows_leave_the_figures_as_they_are(monkeypatch):
    probability, labels, entities, attributes = judged(12_000)
    stepped = slices(probability, labels, entities, attributes, seed=1)
    monkeypatch.setattr(room, "STEPS", len(labels))
    exact = slices(probability, labels, entities, attributes, seed=1)
    assert stepped != exact, "they were in steps"
    for one, other in zip(stepped, exact, strict=True):
        for figure, same in ((one.auc, other.auc), (one.lift_at_10pct, other.lift_at_10pct), (one.happened, other.happened)):
            assert [figure.value, figure.low, figure.high] == pytest.approx([same.value, same.low, same.high], rel=2e-3)
        assert one.predicted == pytest.approx(other.predicted, abs=1e-4)
        assert one.why == other.why


def test_an_honest_model_collapses_nowhere():
    """Not in four samples of eight slices each, of which some are worse by chance."""
    for seed in range(4):
        probability, labels, entities, attributes = judged(2_000, seed)
        attributes["day"] = np.random.default_rng(seed + 100).integers(1, 6, len(labels))
        assert collapsed(slices(probability, labels, entities, attributes, seed=1)) == ()


def test_a_slice_that_is_not_ranked_collapses():
    probability, labels, entities, attributes = judged()
    west = (attributes["region"] == "west").to_numpy()
    labels[west] = np.random.default_rng(1).permutation(labels[west])
    (bad,) = collapsed(slices(probability, labels, entities, attributes, seed=1))
    assert bad.value == "west"
    assert bad.why.startswith("it hardly ranks here: AUC 0.5")
    assert "promise 0.7" in bad.why


def test_a_slice_of_which_the_model_claims_to_know_little_does_not_collapse():
    """In the west every probability is nearly the same: that it does not rank there is what it says itself."""
    probability, _, entities, attributes = judged()
    west = (attributes["region"] == "west").to_numpy()
    probability = np.where(west, 0.3 + 0.001 * probability, probability)
    labels = (np.random.default_rng(2).random(len(west)) < probability).astype(np.int8)
    found = slices(probability, labels, entities, attributes, seed=1)
    assert next(part for part in found if part.value == "west").auc.value < 0.58
    assert collapsed(found) == ()


def test_a_slice_that_is_predicted_wrongly_collapses():
    probability, labels, entities, attributes = judged()
    south = (attributes["region"] == "south").to_numpy()
    probability = np.where(south, sigmoid(np.log(probability / (1 - probability)) + 1.5), probability)
    (bad,) = collapsed(slices(probability, labels, entities, attributes, seed=1))
    assert bad.value == "south"
    assert "happened" in bad.why


def test_an_attribute_that_ranks_by_itself_does_not_condemn_its_slices():
    """Between the regions lies most of the order; within each, half as much is left, and that is no collapse."""
    random = np.random.default_rng(4)
    region = random.choice(["good", "bad"], 4_000)
    probability = sigmoid(np.where(region == "good", 0.8, -2.5) + random.normal(0, 0.9, 4_000))
    labels = (random.random(4_000) < probability).astype(np.int8)
    found = slices(probability, labels, pd.Series(np.arange(4_000)), pd.DataFrame({"region": region}), seed=1)
    assert max(part.auc.value for part in found) < roc_auc_score(labels, probability) - 0.08
    assert collapsed(found) == ()


def test_rare_values_are_judged_together_and_missing_ones_by_themselves():
    labels = np.tile(np.array([0, 1], dtype=np.int8), 500)
    column = pd.Series(["a"] * 500 + [f"rare {n}" for n in range(200)] + [None] * 300, dtype=object)
    assert groups(column, labels).value_counts().to_dict() == {"a": 500, MISSING: 300, OTHER: 200}


def test_numbers_are_cut_into_quarters_and_flags_are_not():
    labels = np.tile(np.array([0, 1], dtype=np.int8), 500)
    quarters = groups(pd.Series(np.arange(1_000.0)), labels).value_counts()
    assert len(quarters) == 4
    assert (quarters == 250).all()
    assert {"up to 249.8", "over 749.2"} <= set(quarters.index)
    flags = groups(pd.Series([0.0, 0.0, 1.0, 1.0] * 249 + [np.nan] * 4), labels)
    assert flags.value_counts().to_dict() == {"0": 498, "1": 498, OTHER: 4}
    skewed = groups(pd.Series([0.0] * 800 + list(np.arange(1.0, 201.0))), labels)
    assert skewed.value_counts().to_dict() == {"up to 0": 800, "over 0": 200}


def test_numbers_are_told_in_plain_digits_that_keep_them_apart():
    labels = np.tile(np.array([0, 1], dtype=np.int8), 500)

    def told(numbers) -> list[str]:
        column = pd.Series(numbers, dtype=float)
        return values(groups(column, labels), column)

    assert told(np.repeat([1_000_001.0, 1_000_002.0], 500)) == ["1000001", "1000002"]
    assert told(np.arange(1_000) * 43.736)[0] == "up to 10923"
    assert told(np.repeat([-0.00123, 0.0, 2_024.0, 1e7], 250)) == ["-0.00123", "0", "2024", "10000000"]
    assert told(1e6 + np.arange(1_000) / 1_000) == [
        "up to 1000000.2", "1000000.2 to 1000000.5", "1000000.5 to 1000000.7", "over 1000000.7"
    ]  # fmt: skip
    assert told(np.repeat([np.inf, 5.0], 500)) == ["5", "inf"]


def test_of_a_rare_outcome_a_gap_that_is_large_for_it_collapses():
    """One in a hundred was promised everywhere; in the south three times as many happened."""
    random, rows = np.random.default_rng(0), 24_000
    south = np.arange(rows) % 6 == 0
    probability = np.clip(0.01 * random.gamma(4, 0.25, rows), 1e-4, 0.2)
    labels = (random.random(rows) < probability * np.where(south, 2.9, 0.8)).astype(np.int8)
    attributes = pd.DataFrame({"region": np.where(south, "south", "north")})
    (bad,) = collapsed(slices(probability, labels, pd.Series(np.arange(rows)), attributes, seed=1))
    assert bad.value == "south" and bad.why.startswith("it predicts 1.0 % here, and ")
    assert bad.happened.value - bad.predicted < 0.02


def test_numbers_come_from_low_to_high_and_what_is_rare_or_missing_last():
    labels = np.tile(np.array([0, 1], dtype=np.int8), 500)
    numbers = pd.Series([*np.arange(900.0), *[np.nan] * 100])
    assert values(groups(numbers, labels), numbers) == ["up to 224.8", "224.8 to 449.5", "449.5 to 674.2", "over 674.2", MISSING]
    words = pd.Series(["rare"] * 20 + ["a"] * 300 + ["b"] * 680, dtype=object)
    assert values(groups(words, labels), words) == ["b", "a", OTHER]


def test_too_few_rows_make_no_slice():
    probability, labels, entities, attributes = judged(LEAST_ROWS - 1)
    assert slices(probability, labels, entities, attributes, seed=1) == ()
    assert slices(probability, labels, entities, attributes[[]], seed=1) == ()
