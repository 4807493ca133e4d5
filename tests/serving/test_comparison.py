"""A comparison of champion and challenger tells how far they are apart, and when it is too early to tell."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy.stats import rankdata

from serving.comparison import ENOUGH, GRADES, compare, latest, rank_correlation, stability, top_overlap
from serving.ledger import Compared
from serving.scorer import grade
from training.contract import Floats
from training.model import Model

AT = datetime(2026, 11, 1, tzinfo=UTC)


def rows(old: Floats, new: Floats, versions: tuple[str, str] = ("1", "2")) -> list[Compared]:
    return [
        Compared(AT + timedelta(minutes=i), "churn", f"c{i}", versions[0], one, versions[1], two)
        for i, (one, two) in enumerate(zip(old.tolist(), new.tolist(), strict=True))
    ]


@pytest.fixture(scope="module")
def said() -> tuple[Floats, Floats]:
    random = np.random.default_rng(5)
    old = random.beta(2, 6, 1_000)
    return old, np.clip(old + random.normal(0, 0.05, 1_000), 0.001, 0.999)


def test_the_figures_are_what_numpy_says(model: Model, said: tuple[Floats, Floats]) -> None:
    old, new = said
    found = compare(rows(*said), model, model)
    assert (found.entities, found.answers, found.left_out, found.is_enough) == (1_000, 1_000, 0, True)
    assert (found.first, found.last) == (AT, AT + timedelta(minutes=999))
    assert found.champion_mean == pytest.approx(old.mean()) and found.challenger_mean == pytest.approx(new.mean())
    assert found.mean_difference == pytest.approx((new - old).mean())
    assert found.largest_distance == pytest.approx(np.abs(new - old).max())
    assert found.rank_correlation == pytest.approx(np.corrcoef(rankdata(old), rankdata(new))[0, 1])
    best = set(np.sort(old)[-100:]) & set(old[np.argsort(new)[-100:]])
    assert found.top_overlap == pytest.approx(len(best) / 100)


def test_grades_are_those_that_each_model_would_answer_with(model: Model, said: tuple[Floats, Floats]) -> None:
    found = compare(rows(*said), model, model)
    floors = model.propensity.grades
    before, after = ([grade(p, floors) for p in model.percentile(one).tolist()] for one in said)
    assert found.regraded == sum(one != two for one, two in zip(before, after, strict=True)) > 0
    for name in GRADES:
        assert sum(found.grades[name].values()) == before.count(name)
        assert sum(row[name] for row in found.grades.values()) == after.count(name)


def test_a_challenger_that_says_the_same_changes_nothing(model: Model, said: tuple[Floats, Floats]) -> None:
    found = compare(rows(said[0], said[0]), model, model)
    assert (found.regraded, found.psi, found.top_overlap, found.largest_distance) == (0, 0.0, 1.0, 0.0)
    assert found.rank_correlation == pytest.approx(1.0) and "hardly differ" in found.sentences[0]


def test_the_last_answer_about_an_entity_counts_and_newcomers_are_one_each(model: Model) -> None:
    twice = [Compared(AT, "churn", "a", "1", 0.1, "2", 0.9), Compared(AT, "churn", "a", "1", 0.2, "2", 0.3)]
    nameless = [Compared(AT, "churn", None, "1", 0.5, "2", 0.5)] * 2
    assert latest([*twice, *nameless]) == [twice[1], *nameless]
    found = compare([*twice, *nameless], model, model)
    assert (found.answers, found.entities) == (4, 3) and found.largest_distance == pytest.approx(0.1)


def test_only_the_two_versions_that_were_compared_last_count(model: Model) -> None:
    earlier = rows(np.full(5, 0.9), np.full(5, 0.1), ("1", "2"))
    found = compare([*earlier, *rows(np.full(3, 0.5), np.full(3, 0.5), ("2", "3"))], model, model)
    assert (found.champion, found.challenger, found.left_out, found.entities) == ("2", "3", 5, 3)
    assert found.mean_difference == 0.0


@pytest.mark.parametrize(("number", "is_enough"), [(1, False), (ENOUGH - 1, False), (ENOUGH, True)])
def test_it_says_when_there_is_too_little_to_tell(model: Model, number: int, is_enough: bool) -> None:
    old = np.linspace(0.1, 0.9, number)
    found = compare(rows(old, old[::-1]), model, model)
    assert found.is_enough is is_enough and ("too few to tell" in found.sentences[0]) is not is_enough


def test_where_one_says_the_same_of_everybody_there_is_no_rank(model: Model) -> None:
    assert rank_correlation(np.full(9, 0.5), np.linspace(0, 1, 9)) is None and rank_correlation(np.ones(1), np.ones(1)) is None
    found = compare(rows(np.full(ENOUGH, 0.5), np.linspace(0, 1, ENOUGH)), model, model)
    assert "cannot be compared in rank" in found.sentences[0]


def test_stability_is_zero_for_the_same_and_grows_with_the_shift() -> None:
    old = np.random.default_rng(1).random(5_000)
    shifts = [stability(old, np.clip(old + by, 0, 1)) for by in (0.0, 0.05, 0.2, 0.6)]
    assert shifts[0] == 0.0 and shifts == sorted(shifts) and shifts[-1] > 0.25 and np.isfinite(shifts).all()


def test_of_equal_probabilities_the_earlier_come_first() -> None:
    assert top_overlap(np.full(20, 0.5), np.full(20, 0.5)) == 1.0 and top_overlap(np.arange(20.0), -np.arange(20.0)) == 0.0
