"""Documents made by columns are byte for byte those that are made row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from features.feature import Feature
from features.record import Record
from serving.answer import written
from serving.columns import ColumnScorer
from serving.documents import documents
from serving.policy import Policy
from serving.score import Score
from serving.scorer import Scorer
from tests.serving.conftest import Rows
from tests.serving.test_columns import AS_OF, CATEGORY, NOW, NUMBERS, POLICY, batch_of
from training.model import Model

Words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@pytest.mark.parametrize("at", [NOW, datetime(2018, 5, 15, 6, 30, 0, 12, tzinfo=UTC)])
def test_a_score_is_written_as_over_http(
    model: Model, declarations: dict[str, Feature], rows_of: Callable[..., Rows], at: datetime
) -> None:
    scorer = Scorer(model, 'v "3"', declarations, Policy(POLICY.model_copy(update={"exploration": 0.3}), "customer"))
    rows = rows_of(400, seed=8)
    odd = ['"', "\\", "\n\x00\x1f", "müßig 🚗", "", "\x7f\u2028"]
    without_end = dict.fromkeys(NUMBERS, math.inf)
    extreme = {4: without_end, 5: dict.fromkeys(NUMBERS, 3e17), 6: dict.fromkeys(NUMBERS, 2e-7)}
    rows = [{**row, CATEGORY: odd[i % 6] if i % 2 else row[CATEGORY], **extreme.get(i % 9, {})}
            for i, row in enumerate(rows)]  # fmt: skip
    expected = scorer.scored([Record(f"c{i}", AS_OF, row) for i, row in enumerate(rows)], at)
    made = ColumnScorer(scorer).scored(batch_of(rows, [AS_OF] * 400), at)
    assert any(reason.value == math.inf for score in expected.scores for reason in score.reasons)
    assert {score.explore for score in expected.scores} == {True, False}
    assert documents(made.scores, model.categories) == [written(score) for score in expected.scores]
    assert documents(made.scores.slice(100, 50), model.categories) == [written(score) for score in expected.scores[100:150]]
    assert documents(made.scores.slice(7, 1), model.categories) == [written(expected.scores[7])]
    assert documents(made.scores.slice(0, 0), model.categories) == []


def test_what_is_the_same_of_all_is_written_once_and_of_each(
    model: Model, declarations: dict[str, Feature], rows_of: Callable[..., Rows]
) -> None:
    rows, scorer = rows_of(3, seed=8), Scorer(model, "3", declarations, Policy(POLICY, "customer"))
    ids = {"entity_id": pa.array(["a", "b", "a"])}
    made = ColumnScorer(scorer, reasons=False).scored(batch_of(rows, [AS_OF] * 3), NOW).scores
    alike = pa.concat_batches([made.slice(0, 1)] * 3)
    for name, column in {**ids, "expected_value": pa.array([0.0, -0.0, 0.0])}.items():
        alike = alike.set_column(alike.schema.names.index(name), name, column)
    one = scorer.scored([Record("a", AS_OF, rows[0])], NOW).scores[0]
    told = [("a", 0.0), ("b", -0.0), ("a", 0.0)]
    expected = [structs.replace(one, entity_id=who, expected_value=worth, reasons=()) for who, worth in told]
    assert documents(alike, model.categories) == list(map(written, expected))


@pytest.fixture(scope="module")
def made(model: Model, declarations: dict[str, Feature], rows_of: Callable[..., Rows]) -> tuple[pa.RecordBatch, Score]:
    """One score, by columns and as it is."""
    rows, scorer = rows_of(1, seed=8), Scorer(model, "3", declarations, Policy(POLICY, "customer"))
    scored = ColumnScorer(scorer, reasons=False).scored(batch_of(rows, [AS_OF]), NOW).scores
    return scored, structs.replace(scorer.scored([Record("c0", AS_OF, rows[0])], NOW).scores[0], reasons=())


def same(made: tuple[pa.RecordBatch, Score], told: Sequence[tuple[str, float | None]]) -> None:
    """Scores that tell of other ids and values are written alike."""
    batch = pa.concat_batches([made[0]] * len(told))
    columns = {"entity_id": pa.array([who for who, _ in told]), "expected_value": pa.array([n for _, n in told], pa.float64())}
    for name, column in columns.items():
        batch = batch.set_column(batch.schema.names.index(name), name, column)
    assert documents(batch, []) == [written(structs.replace(made[1], entity_id=who, expected_value=worth)) for who, worth in told]


@settings(max_examples=200, deadline=None)
@given(told=st.lists(st.tuples(Words, st.none() | st.floats()), min_size=1))
def test_whatever_words_and_numbers_are_written_alike(made: tuple[pa.RecordBatch, Score], told: list[tuple[str, float]]) -> None:
    same(made, told)


@pytest.mark.parametrize("number", [0.0, -0.0, 1e-5, 1.5e-5, 9.9e-5, 1e-4, 999_999_999.0, 1e9, 1e10, 1e15, 1e16, 1 / 3, 5e-324])
def test_the_edges_of_numbers(made: tuple[pa.RecordBatch, Score], number: float) -> None:
    same(made, [("1", number), ("2", -number)])
