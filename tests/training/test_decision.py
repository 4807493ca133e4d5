from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.propensity import Value
from training.decision import MODEL, NEWEST, RANDOM, STEPS, Listed, decide, sentences


def listed(rows: int = 2_000, dates: int = 2, seed: int = 0) -> Listed:
    """Calibrated probabilities on lists of equal length, each row an entity of its own worth 100."""
    random = np.random.default_rng(seed)
    probability = random.beta(1, 4, rows)
    return Listed(
        probability=probability,
        labels=(random.random(rows) < probability).astype(np.int8),
        worth=np.full(rows, 100.0),
        entities=pd.Series(np.arange(rows)),
        as_of=pd.Series(np.arange(rows) % dates),
        length=rows / dates,
        age=random.random(rows),
    )


def test_profit_by_hand():
    """Four rows on one list, contacts cost 10 and win half of 100: 40 a positive, -10 a negative."""
    rows = Listed(
        probability=np.array([0.1, 0.9, 0.5, 0.3]),
        labels=np.array([0, 1, 1, 0], dtype=np.int8),
        worth=np.full(4, 100.0),
        entities=pd.Series(list("abcd")),
        as_of=pd.Series([0] * 4),
        length=4,
        age=np.array([1.0, 2.0, 3.0, 4.0]),
    )
    made = decide(rows, Value(amount=100, cost=10, success=0.5), 28, seed=1)
    quarters = [0, 25, 50, 75, 100]
    assert [made.curves[MODEL][at].value for at in quarters] == pytest.approx([0, 40, 80, 70, 60])
    assert [made.curves[NEWEST][at].value for at in quarters] == pytest.approx([0, -10, 30, 70, 60])
    assert [made.curves[RANDOM][at].value for at in quarters] == pytest.approx([0, 15, 30, 45, 60])
    assert made.list_length == 4
    assert made.pays == 0.75, "0.1 * 50 < 10: the last is not worth the contact"
    assert made.profit[MODEL].value == pytest.approx(70)
    assert made.over[NEWEST].value == pytest.approx(0)
    assert made.over[RANDOM].value == pytest.approx(25)


def test_the_cut_off_is_where_a_contact_no_longer_pays_and_near_the_best():
    made = decide(listed(20_000), Value(amount=100, cost=20, success=0.5), 28, seed=1)
    assert made.limit == "profit"
    assert made.pays == pytest.approx((1 - 0.4) ** 4, abs=0.01), "a Beta(1, 4) is above 0.4 so often"
    best = max(point.value for point in made.curves[MODEL])
    assert made.profit[MODEL].value == pytest.approx(best, rel=0.05)
    assert made.over[RANDOM].low > 0


def test_capacity_limits_the_list():
    made = decide(listed(), Value(amount=100, cost=1, capacity_per_day=5), 20, seed=1)
    assert made.capacity == made.share == pytest.approx(0.1), "100 contacts for lists of 1,000"
    assert made.limit == "capacity"
    wide = decide(listed(), Value(amount=100, cost=1, capacity_per_day=500), 20, seed=1)
    assert wide.capacity == 1.0
    assert wide.limit == "profit"


def test_where_no_contact_pays_nobody_is_contacted():
    made = decide(listed(), Value(amount=100, cost=1_000), 28, seed=1)
    assert made.share == made.pays == 0
    assert made.profit[MODEL].value == 0


def test_the_worthiest_come_first_and_unknown_worth_is_nothing():
    rows = listed()
    worth = np.where(np.arange(2_000) < 1_000, 1_000.0, np.nan)
    made = decide(replace(rows, worth=worth), Value(column="mrr", cost=5), 28, seed=1)
    assert made.without_worth == 0.5
    assert made.mean_worth == pytest.approx(1_000), "of those whose worth is known"
    assert made.pays <= 0.5
    whole = float((rows.labels[:1_000] * 1_000.0 - 5).sum()) / 2
    assert made.curves[MODEL][STEPS // 2].value == pytest.approx(whole), "the half of known worth comes first"


def test_without_an_outcome_or_a_known_worth_there_is_no_mean_worth():
    rows, value = listed(), Value(column="mrr", cost=5)
    for other in (replace(rows, labels=np.zeros(2_000, dtype=np.int8)), replace(rows, worth=np.full(2_000, np.nan))):
        made = decide(other, value, 28, seed=1)
        assert made.mean_worth is None
        assert "of the outcomes it meets, of unknown worth" in sentences(made, value, 28)[0]


def test_rows_that_a_policy_cannot_tell_apart_are_contacted_in_no_order():
    """One probability and one age for all, the outcomes first among the rows: no policy may bring more than chance."""
    rows = replace(listed(dates=1), probability=np.full(2_000, 0.3), labels=(np.arange(2_000) < 600).astype(np.int8))
    made = decide(replace(rows, age=np.full(2_000, np.nan)), Value(amount=100, capacity_per_day=10), 20, seed=1)
    for name in (MODEL, NEWEST):
        assert [point.value for point in made.curves[name]] == pytest.approx([point.value for point in made.curves[RANDOM]])
    assert made.over[RANDOM].value == pytest.approx(0)
    assert made.over[RANDOM].low == pytest.approx(0, abs=1e-6) == made.over[RANDOM].high


def test_every_policy_earns_the_same_when_everyone_is_contacted():
    made = decide(listed(), Value(amount=100, cost=7), 28, seed=1)
    ends = [points[-1].value for points in made.curves.values()]
    assert ends == pytest.approx([ends[0]] * 3)
    assert len(made.curves[MODEL]) == STEPS + 1
    assert all(point.low <= point.value <= point.high for points in made.curves.values() for point in points)


def test_lists_are_sorted_each_by_itself():
    """The second date's probabilities are all higher; still, half of each list is contacted, not the whole second."""
    rows = listed()
    later = rows.as_of.to_numpy() == 1
    made = decide(replace(rows, probability=np.where(later, 0.5 + rows.probability / 2, rows.probability / 2)),
                  Value(amount=1, capacity_per_day=50), 10, seed=1)  # fmt: skip
    halves = [np.argsort(-rows.probability[later == each])[:500] for each in (False, True)]
    found = sum(rows.labels[later == each][half].sum() for each, half in zip((False, True), halves, strict=True))
    assert made.share == 0.5
    assert made.profit[MODEL].value == pytest.approx(100 * found / 2)


def test_a_sample_tells_of_lists_as_long_as_they_are():
    """A tenth of the rows was looked at: profit and capacity are of the whole list."""
    rows, value = listed(), Value(amount=100, cost=5, capacity_per_day=50)
    sampled = decide(replace(rows, length=10_000), value, 20, seed=1)
    assert sampled.capacity == pytest.approx(0.1)
    whole = decide(rows, value.model_copy(update={"capacity_per_day": 5}), 20, seed=1)
    assert sampled.profit[MODEL].value == pytest.approx(10 * whole.profit[MODEL].value)


def test_who_has_no_age_is_contacted_last():
    rows = listed()
    age = np.where(np.arange(2_000) < 1_000, 1.0, np.nan)
    made = decide(replace(rows, age=age, as_of=pd.Series([0] * 2_000), length=2_000), Value(amount=1), 28, seed=1)
    assert made.curves[NEWEST][STEPS // 2].value == pytest.approx(100 * rows.labels[:1_000].sum())


def test_where_everyone_is_contacted_the_order_makes_no_difference():
    value = Value(amount=100)
    told = sentences(decide(listed(), value, 28, seed=1), value, 28)
    assert told[1] == "Contact the best 100 % of a list: by the model's own probabilities every contact pays."
    assert told[2].endswith("a list of 1,000: the order of the list makes no difference.")


def test_without_an_age_there_is_no_newest_first():
    made = decide(replace(listed(), age=None), Value(amount=100), 28, seed=1)
    assert set(made.curves) == {MODEL, RANDOM}


def test_copies_of_an_entity_do_not_narrow_the_interval():
    rows = listed(500, dates=1)
    copies = np.repeat(np.arange(500), 8)
    lists = pd.Series(np.tile(np.arange(8), 500))
    many = Listed(rows.probability[copies], rows.labels[copies], rows.worth[copies], pd.Series(copies), lists, 500)
    value = Value(amount=100, cost=10)
    one, eight = (decide(each, value, 28, seed=1).profit[MODEL] for each in (replace(rows, age=None), many))
    assert eight.high - eight.low == pytest.approx(one.high - one.low, rel=0.2)
