from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.calibration import sigmoid
from training.fairness import cramers_v, fairness, proxies


def treated(rows: int = 4_000, favour: float = 0.0):
    """Two genders with the same outcomes; one is predicted higher by `favour` in log-odds."""
    random = np.random.default_rng(0)
    gender = random.choice(["female", "male"], rows, p=[0.4, 0.6])
    line = random.normal(-1.5, 1, rows)
    labels = (random.random(rows) < sigmoid(line)).astype(np.int8)
    probability = sigmoid(line + favour * (gender == "male"))
    return probability, labels, pd.Series(np.arange(rows)), pd.DataFrame({"gender": gender})


def test_shares_are_those_of_the_group():
    probability, labels, entities, protected = treated()
    best = probability >= np.sort(probability)[-400]
    found = fairness(probability, labels, entities, protected, seed=1)
    assert [group.value for group in found] == ["male", "female"]
    for group in found:
        mine = (protected["gender"] == group.value).to_numpy()
        assert group.rows == mine.sum()
        assert group.selected.value == pytest.approx(best[mine].mean())
        assert group.found is not None
        assert group.found.value == pytest.approx(best[mine & (labels == 1)].mean())
        assert group.predicted == pytest.approx(probability[mine].mean())
        assert group.happened.value == pytest.approx(labels[mine].mean())
        assert group.happened.low < group.predicted < group.happened.high
    assert sum(group.selected.value * group.rows for group in found) == pytest.approx(400)


def test_favour_shows_in_selection_and_in_calibration():
    male, female = fairness(*treated(favour=1.0), seed=1)
    assert male.selected.low > female.selected.high
    assert male.found.low > female.found.high
    assert male.predicted > male.happened.high


def test_ties_are_selected_in_equal_shares_whatever_the_order_of_the_rows():
    """All with one probability, the old before the new: a model that tells nobody apart favours nobody."""
    _, labels, entities, _ = treated()
    protected = pd.DataFrame({"since": ["old"] * 2_000 + ["new"] * 2_000})
    old, new = fairness(np.full(len(labels), 0.2), labels, entities, protected, seed=1)
    assert old.selected.value == new.selected.value == pytest.approx(0.1)
    levels = np.where(np.arange(4_000) % 2_000 < 300, 0.6, 0.1)
    old, new = fairness(levels, labels, entities, protected, seed=1)
    assert old.selected.value == new.selected.value == pytest.approx(0.1), "400 among the 600 of the upper level"


def test_small_groups_are_one_and_of_too_few_positives_no_share_is_found():
    probability, labels, entities, _ = treated(1_000)
    protected = pd.DataFrame({"tongue": ["a"] * 900 + [f"rare {n}" for n in range(100)]})
    labels[900:] = 0
    labels[900:919] = 1
    most, other = fairness(probability, labels, entities, protected, seed=1)
    assert (most.value, other.value, other.rows, other.positives) == ("a", "other", 100, 19)
    assert most.found is not None and other.found is None
    assert other.happened.value == 0.19


def test_the_rest_is_left_out_where_it_is_too_small_to_judge():
    probability, labels, entities, _ = treated(1_000)
    protected = pd.DataFrame({"tongue": ["a"] * 901 + [f"rare {n}" for n in range(99)]})
    assert [group.value for group in fairness(probability, labels, entities, protected, seed=1)] == ["a"]


def test_a_proxy_is_found_and_noise_is_not():
    random = np.random.default_rng(0)
    _, labels, _, protected = treated()
    male = (protected["gender"] == "male").to_numpy()
    frame = pd.DataFrame(
        {
            "height": 165 + 12 * male + random.normal(0, 6, len(male)),
            "title": np.where(male, "Mr", "Ms"),
            "noise": random.normal(size=len(male)),
            "word": random.choice(list("abcdefgh"), len(male)),
            "empty": np.full(len(male), np.nan),
        }
    )
    found = proxies(frame, list(frame), protected, labels)
    assert [proxy.feature for proxy in found] == ["title", "height"]
    assert found[0].strength == pytest.approx(1, abs=0.01)
    assert 0.5 < found[1].strength < 0.9


def test_a_protected_feature_is_no_proxy_of_itself():
    _, labels, _, protected = treated()
    assert proxies(protected, ["gender"], protected, labels) == ()


def test_cramers_v_by_hand():
    one = pd.Series(["a"] * 50 + ["b"] * 50)
    other = pd.Series(["x"] * 40 + ["y"] * 10 + ["x"] * 10 + ["y"] * 40)
    phi = 0.36 - 1 / 99  # chi-squared 36 of 100 rows, less what chance shows
    assert cramers_v(one, other) == pytest.approx(np.sqrt(phi / (1 - 1 / 99)))
    assert cramers_v(one, pd.Series(["x"] * 100)) == 0
