"""An answer is the score as JSON, byte for byte what is sent and stored; what is no new score is not stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from features.feature import Feature
from features.record import Record
from serving.answer import SCORE, Answer, Call, answered, entry, written
from serving.desk import Said, said
from serving.ledger import Stored
from serving.reasons import Reason
from serving.score import Cause, Change
from serving.scorer import Scorer
from training.model import Model

NOW = datetime(2018, 5, 15, 6, 7, 30, 752_655, tzinfo=UTC)
CALL = Call("request", "key", "hook")


@pytest.fixture(scope="module")
def answers(model: Model, declarations: Mapping[str, Feature], rows_of: Callable[..., Any]) -> list[Said]:
    scorer = Scorer(model, "3", declarations)
    records = [Record(f"c{i}", NOW, row) for i, row in enumerate(rows_of(30))]
    return said(scorer, records, scorer.scored(records, NOW))


def kept(one: Said, **change: Any) -> Any:
    score = structs.replace(one.score, **change)
    return entry(replace(one, score=score), Answer(score, written(score)), NOW, CALL)


def scored(answers: list[Said]) -> Said:
    return next(one for one in answers if one.score.score is not None)


def test_what_is_written_reads_back_the_same(answers: list[Said]) -> None:
    causes = (Cause("model", "version 4 answers", None, 0.5),)
    change: Change = {"from": 40, "to": 50, "since": NOW - timedelta(days=1), "causes": causes}
    for one in answers:
        score = structs.replace(one.score, change=change, trend="rising")
        assert SCORE.decode(written(score)) == score
        assert json.loads(written(score))["change"]["from"] == 40
    assert b"NaN" not in b"".join(written(one.score) for one in answers)


def test_a_document_of_an_earlier_release_reads_as_the_score_it_was() -> None:
    told = (
        b'{"entity_id":"C1","propensity":"churn","eligible":true,"why":null,"policy":null,"score":57,"probability":0.25,'
        b'"percentile":0.565,"grade":"B","expected_value":null,"reasons":[{"feature":"visits","features":["visits"],"value":3,'
        b'"text":"Visits: 3","direction":"raises","contribution":0.5}],"missing":["age"],"unseen":[],"stale":[],'
        b'"feature_as_of":"2026-11-22T00:00:00Z","scored_at":"2026-11-22T06:07:30.752655Z","model_version":"3"}'
    )
    score = SCORE.decode(told)
    assert (score.score, score.explore, score.degraded, score.change, score.missing) == (57, False, False, None, ("age",))
    assert score.reasons == (Reason("visits", ("visits",), 3.0, "Visits: 3", "raises", 0.5),)
    assert score.feature_as_of == datetime(2026, 11, 22, tzinfo=UTC)
    stored = json.loads(written(score))
    assert {name: stored[name] for name in json.loads(told)} == json.loads(told)


def test_an_answer_goes_into_the_audit_with_the_score_to_be_stored(answers: list[Said]) -> None:
    for one in answers:
        made, score = kept(one), one.score
        assert made[:7] == (NOW, "request", "key", "hook", "churn", score.entity_id, "3")
        assert (made.probability, made.score, made.why, made.policy) == (score.probability, score.score, score.why, score.policy)
        assert isinstance(made.stored, Stored) and made.stored.document == written(score)
        assert (made.stored.contributions is None) == (score.score is None) == (made.stored.features is None)
        if made.stored.features is not None:
            assert set(made.stored.features) == set(one.scorer.model.columns)  # and no column that only policy looks at


@pytest.mark.parametrize("change", [{"entity_id": None}, {"feature_as_of": None}, {"degraded": True}])
def test_somebody_nameless_or_unknown_and_a_score_that_stood_in_are_not_stored(
    answers: list[Said], change: dict[str, Any]
) -> None:
    made = kept(scored(answers), **change)
    assert made.stored is None and made.request_id == "request" and made.degraded == change.get("degraded", False)


def test_answers_of_champion_and_challenger_are_each_compared_by_their_own_scorer(answers: list[Said]) -> None:
    one = scored(answers)
    of_challenger = replace(one, score=structs.replace(one.score), scorer=Scorer(one.scorer.model, "4", {}))
    stored = kept(one).stored
    assert stored is not None
    first, second = answered([one, of_challenger], {stored.entity_id: stored})
    assert first.score.change is not None and first.score.change["causes"] == ()
    assert second.score.change is not None and [cause.cause for cause in second.score.change["causes"]] == ["model"]
    assert json.loads(second.document)["change"]["causes"][0]["cause"] == "model"


def test_without_entities_there_are_no_answers() -> None:
    assert answered([], {}) == []


def test_numbers_and_texts_of_numpy_are_written_as_pythons() -> None:
    assert written([np.float64(1.5), np.float64("nan"), np.int64(3), np.str_("x"), np.bool_(True)]) == b'[1.5,null,3,"x",true]'
    with pytest.raises(TypeError, match="object has no form in JSON"):
        written(object())
