"""A score is the same alone or among thousands, says what it is built on, and is not given where the question does not apply."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from features.errors import ContractError
from features.feature import Feature
from features.propensity import Grades
from features.record import Record
from serving.score import Score
from serving.scorer import Scorer, grade, points, records
from training.model import Model

AS_OF = datetime(2018, 5, 15, tzinfo=UTC)
NOW = datetime(2018, 5, 15, 9, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def scorer(model: Model, declarations: dict[str, Feature]) -> Scorer:
    return Scorer(model, "3", declarations)


Rows = list[dict[str, float | str | None]]


def recorded(rows: Rows) -> list[Record]:
    return [Record(f"c{i}", AS_OF, row) for i, row in enumerate(rows)]


def score(scorer: Scorer, rows: Rows) -> list[Score]:
    return scorer.score(recorded(rows), NOW)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_score_is_the_same_to_the_bit_in_company_of_any_size(scorer: Scorer, rows_of: Callable[..., Rows], size: int) -> None:
    all_records = recorded(rows_of(1001, seed=3))
    in_parts: list[Score] = []
    for start in range(0, len(all_records), size):
        in_parts += scorer.score(all_records[start : start + size], NOW)
    assert in_parts == scorer.score(all_records, NOW)


def test_the_probability_and_the_contributions_are_the_models(scorer: Scorer, model: Model, rows_of: Callable[..., Rows]) -> None:
    rows = [{**row, "subscriptions_active_count": 1.0} for row in rows_of(50, seed=4)]
    matrix = model.matrix(pd.DataFrame(rows))
    scores = score(scorer, rows)
    assert [s.probability for s in scores] == model.probability(matrix).tolist()
    shares = model.foreseen(matrix).contributions
    for i, s in enumerate(scores):
        by_name = dict(zip(model.columns, shares[i], strict=False))
        assert all(reason.contribution == sum(by_name[name] for name in reason.features) for reason in s.reasons)
        sizes = [abs(reason.contribution) for reason in s.reasons]
        assert sizes == sorted(np.abs(shares[i][:-1]).tolist(), reverse=True)[: len(sizes)]


def test_score_grade_and_worth_follow_from_the_probability(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    for s in score(scorer, rows_of(300, seed=5)):
        if s.eligible:
            assert s.percentile is not None and s.probability is not None and s.expected_value is not None
            assert s.score == points(s.percentile) and s.grade == grade(s.percentile, Grades())
            assert 0 < s.probability < 1 and s.expected_value >= s.probability * 120


def test_an_ineligible_entity_gets_a_sentence_and_nothing_else(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    row = {**rows_of(1)[0], "subscriptions_active_count": 0.0}
    (answer,) = score(scorer, [row])
    assert not answer.eligible and answer.score is None and answer.probability is None and answer.reasons == ()
    assert answer.why == "not eligible for churn: that takes subscriptions_active_count >= 1, but here it is 0"
    assert answer.feature_as_of == AS_OF


@pytest.mark.parametrize("missing", [None, math.nan])
def test_an_unknown_eligibility_is_no_eligibility(scorer: Scorer, rows_of: Callable[..., Rows], missing: float | None) -> None:
    (answer,) = score(scorer, [{**rows_of(1)[0], "subscriptions_active_count": missing}])
    assert not answer.eligible and answer.why is not None and answer.why.endswith("but here it is not known")


def test_eligible_and_ineligible_entities_keep_their_places(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    rows = rows_of(40, seed=6)
    answers = score(scorer, rows)
    assert [a.entity_id for a in answers] == [f"c{i}" for i in range(40)]
    assert [a.eligible for a in answers] == [row["subscriptions_active_count"] == 1 for row in rows]


def test_missing_values_and_unseen_categories_are_reported(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    row = {**rows_of(1)[0], "nps_latest": math.nan, "logins_change_90d": None, "subscriptions_tier_latest": "gold"}
    (answer,) = score(scorer, [{**row, "subscriptions_active_count": 1.0}])
    assert set(answer.missing) >= {"nps_latest", "logins_change_90d"} and answer.unseen == ("subscriptions_tier_latest",)
    told = {reason.feature: reason for reason in answer.reasons}
    assert told["subscriptions_tier_latest"].value == "gold"
    assert told["logins_change_90d"].value is None


def test_a_reason_is_in_words(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    row = {**rows_of(1)[0], "logins_change_90d": -0.6, "subscriptions_active_count": 1.0}
    (answer,) = score(scorer, [row])
    assert "Logins have fallen over the last 90 days (-0.6)" in [reason.text for reason in answer.reasons]
    assert len(answer.reasons) <= 5


def test_a_row_without_a_column_of_the_contract_is_an_error_that_names_it(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    row = rows_of(1)[0]
    del row["nps_latest"]
    with pytest.raises(ContractError, match="nps_latest"):
        score(scorer, [row])


def test_text_where_a_number_belongs_is_an_error(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    with pytest.raises(ContractError, match="nps_latest"):
        score(scorer, [{**rows_of(1)[0], "nps_latest": "nine", "subscriptions_active_count": 1.0}])


def test_nobody_gives_nothing(scorer: Scorer) -> None:
    assert score(scorer, []) == []


@pytest.mark.parametrize(("percentile", "shown"), [(0.0, 1), (0.001, 1), (0.5, 50), (0.501, 51), (0.999, 100), (1.0, 100)])
def test_the_number_shown_is_the_percentile_rounded_up(percentile: float, shown: int) -> None:
    assert points(percentile) == shown


@pytest.mark.parametrize(
    ("percentile", "given"), [(0.9, "A"), (0.8999, "B"), (0.7, "B"), (0.6999, "C"), (0.4, "C"), (0.3999, "D"), (0.0, "D")]
)
def test_a_grade_begins_at_its_floor(percentile: float, given: str) -> None:
    assert grade(percentile, Grades()) == given


def test_a_frame_becomes_records(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    rows = rows_of(3)
    frame = pd.DataFrame(rows).assign(entity_id=["a", "b", "c"], as_of=pd.Series([AS_OF] * 3, dtype="datetime64[us, UTC]"))
    made = records(frame)
    assert [record.entity_id for record in made] == ["a", "b", "c"] and made[0].as_of == AS_OF
    assert [s.probability for s in scorer.score(made, NOW)] == [s.probability for s in score(scorer, rows)]
