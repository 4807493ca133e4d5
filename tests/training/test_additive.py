"""Additive models: their terms at knots, edges and codes, and what they owe a serving contract."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tests.training.panels import DTYPES, panel
from training import logistic, scorecard
from training.additive import Additive, Term, centred
from training.examples import Examples
from training.predictor import Mean, read
from training.trees import Trees


def examples(**more) -> Examples:
    data = panel(dates=3, **more)
    return Examples.of(data.frame, data.labels, DTYPES)


LEARNERS = {"rule": scorecard.rule, "naive-bayes": scorecard.naive_bayes, "logistic": logistic.learn}


def test_a_line_is_level_beyond_its_outer_knots():
    term = Term(feature="f", shape="line", at=(0.0, 10.0), weights=(1.0, 3.0), missing=-7.0, spread=0.0)
    assert term.added(np.array([-5.0, 0.0, 5.0, 10.0, 99.0, np.nan])).tolist() == [1.0, 1.0, 2.0, 3.0, 3.0, -7.0]


def test_a_step_holds_its_upper_edge():
    term = Term(feature="f", shape="step", at=(0.0, 10.0), weights=(1.0, 2.0, 3.0), missing=-7.0, spread=0.0)
    assert term.added(np.array([-1.0, 0.0, 0.001, 10.0, 10.001, np.nan])).tolist() == [1.0, 1.0, 2.0, 2.0, 3.0, -7.0]


def test_a_code_has_its_own_weight():
    term = Term(feature="f", shape="code", weights=(1.0, 2.0, 3.0), missing=-7.0, spread=0.0)
    assert term.added(np.array([2.0, 0.0, 1.0, np.nan])).tolist() == [3.0, 1.0, 2.0, -7.0]


def test_what_is_taken_out_to_centre_a_term_is_its_mean():
    values = np.array([0.0, 1.0, np.nan, 1.0])
    term, mean = centred("f", "line", np.array([0.0, 1.0]), np.array([0.0, 4.0]), 2.0, values)
    assert mean == 2.5
    assert term.added(values).mean() == pytest.approx(0)
    assert (term.added(values) + mean).tolist() == [0.0, 4.0, 2.0, 4.0]


@pytest.mark.parametrize("name", LEARNERS)
def test_contributions_add_up_and_one_row_is_as_among_many_to_the_bit(name):
    rows = examples()
    predictor = LEARNERS[name](rows, False).predictor
    together, parts = predictor.raw(rows.matrix), predictor.explained(rows.matrix).contributions
    np.testing.assert_allclose(parts.sum(axis=1), together, atol=1e-12)
    assert parts[:, :-1].mean(axis=0) == pytest.approx(0, abs=1e-9), "a contribution departs from the mean in training"
    for position in range(0, rows.rows, 50):
        alone = predictor.raw(rows.matrix[position : position + 1])
        assert alone.tobytes() == together[position : position + 1].tobytes()


@pytest.mark.parametrize("name", LEARNERS)
def test_kept_as_plain_numbers_it_comes_back_the_same_to_the_bit(name):
    rows = examples()
    predictor = LEARNERS[name](rows, False).predictor
    again = read(predictor.files())
    assert again == predictor
    assert again.raw(rows.matrix).tobytes() == predictor.raw(rows.matrix).tobytes()


def test_the_mean_of_two_is_their_mean_in_score_and_contributions_and_comes_back():
    rows = examples()
    first, second = (LEARNERS[name](rows, False).predictor for name in ("naive-bayes", "logistic"))
    mean = Mean([first, second])
    np.testing.assert_allclose(mean.raw(rows.matrix), (first.raw(rows.matrix) + second.raw(rows.matrix)) / 2, atol=1e-12)
    assert np.array_equal(mean.explained(rows.matrix).raw, mean.raw(rows.matrix))
    np.testing.assert_allclose(mean.explained(rows.matrix).contributions.sum(axis=1), mean.raw(rows.matrix), atol=1e-12)
    assert mean.importance().sum() == pytest.approx(1)
    assert sorted(mean.files()) == ["model-1.json", "model-2.json"]
    assert read(mean.files()).raw(rows.matrix).tobytes() == mean.raw(rows.matrix).tobytes()


def test_a_file_of_something_else_is_refused():
    with pytest.raises(ValidationError):
        read({"model.json": '{"intercept": 0, "words": []}'})


def test_equal_rows_give_an_equal_model_whatever_its_family():
    for learner in LEARNERS.values():
        first, again = (learner(examples(seed=4), True) for _ in range(2))
        assert first.predictor.files() == again.predictor.files()
        assert (first.out_of_fold == again.out_of_fold).all()


def test_the_rule_is_one_feature_and_says_which():
    learned = scorecard.rule(examples(strength=2.0), True)
    assert learned.parameters["feature"] == "visits"
    assert learned.predictor.importance().tolist() == [1.0, 0.0, 0.0, 0.0]
    assert isinstance(learned.predictor, Additive) and not isinstance(learned.predictor, Trees)


@pytest.mark.parametrize("name", LEARNERS)
def test_out_of_fold_scores_know_nothing_of_the_entity(name):
    """A column that numbers the entities explains every label in the sample and none out of it."""
    data = panel(dates=1, entities=900, strength=0.0)
    frame = data.frame.assign(visits=np.arange(900.0), plan=[f"p{n // 12}" for n in range(900)], age=0.0, noise=0.0)
    labels = np.random.default_rng(3).integers(0, 2, 900).astype(np.int8)
    learned = LEARNERS[name](Examples.of(frame, labels, DTYPES), True)
    gap = learned.out_of_fold[labels == 1].mean() - learned.out_of_fold[labels == 0].mean()
    assert abs(gap) < 0.15


def test_a_column_without_a_value_or_with_one_weighs_nothing():
    data = panel(dates=2)
    frame = data.frame.assign(age=np.nan, noise=1.0)
    for learner in LEARNERS.values():
        predictor = learner(Examples.of(frame, data.labels, DTYPES), False).predictor
        assert (predictor.importance()[[1, 3]] < 1e-20).all()  # some processors round a sum of zeros differently
        assert np.isfinite(predictor.raw(np.array([[0.0, 5.0, 0.0, np.nan], [np.nan] * 4]))).all()
