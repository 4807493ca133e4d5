"""The columnar scorer: a record batch of features in, a record batch of scores out, for everybody who is scored in the thousands.

What it says of a row is to the bit what `Scorer.scored` says of it; both ask the same functions. Those that read one value are
asked once for each different one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.condition import Condition
from features.record import Record
from serving.partition import SCHEMA
from serving.reason_columns import Distinct, Places, ReasonColumns, floats, listed
from serving.scorer import NOTHING, Scorer, grade, points
from training.contract import Floats


class ColumnScores(NamedTuple):
    """The scores of a record batch, and what the model saw.

    Attributes:
        scores: one row for each row of the batch, in its order: the columns of `serving.partition.SCHEMA`.
        rows: the places of those that have a score, ascending; `matrix` and `contributions` have one row for each of them.
        matrix: the encoded features.
        contributions: what each feature added, in log-odds, last the model's base value; without reasons no row.
    """

    scores: pa.RecordBatch
    rows: Places
    matrix: Floats
    contributions: Floats


class ColumnScorer:
    """One version, ready to score record batches."""

    def __init__(self, scorer: Scorer, reasons: bool = True, objections: Mapping[str, str] = MappingProxyType({})) -> None:
        """Take a scorer.

        Args:
            scorer: whose model, words and policy these are.
            reasons: whether scores come with reasons; without them they are the same, and made in a fraction of the time.
            objections: by id, why no score may be given of those who have objected since what is known of them was.
        """
        self.scorer, self.with_reasons, self.objections = scorer, reasons, objections
        self._reasons = ReasonColumns(scorer.reasoner, scorer.model.columns)

    def scored(self, batch: pa.RecordBatch, scored_at: datetime) -> ColumnScores:
        """Score everybody in a batch.

        Args:
            batch: one row per entity: `entity_id` (string), `as_of` (timestamp with a time zone) and at least the scorer's
                `columns`; numbers of any type, categories as strings or a dictionary of them, missing values as nulls or NaN.
            scored_at: the instant of scoring.

        Raises:
            ContractError: the batch lacks a column, or has text where a number belongs.
        """
        batch = self.readable(batch)
        is_able, answers = self._withheld(batch, scored_at)
        rows = np.flatnonzero(is_able)
        able = batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))
        matrix, probabilities, contributions = self._foresee(able)
        made = {
            **self.of_everybody(batch, scored_at), **answers, **self._of_scored(able, rows, len(batch), probabilities),
            **self._lists(able, batch, rows, matrix, contributions, scored_at),
        }  # fmt: skip
        made["explore"] = self.explored(batch["entity_id"], made["score"], scored_at)
        scores = pa.RecordBatch.from_arrays([made[name] for name in SCHEMA.names], schema=SCHEMA)
        return ColumnScores(scores, rows, matrix, contributions)

    def explored(self, ids: pa.Array, scores: pa.Array, scored_at: datetime) -> pa.Array:
        """Who is to be acted on though the score does not say so; nobody without a score."""
        if not self.scorer.policy.explores:
            return pa.array(np.zeros(len(ids), dtype=np.bool_))
        drawn = pa.array(self.scorer.explored(ids.to_pylist(), scored_at), pa.bool_())
        return pc.and_(drawn, scores.is_valid())

    def readable(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns that are needed, numbers as float64."""
        lacking = [name for name in self.scorer.columns if name not in batch.schema.names]
        if lacking:
            raise self.scorer.lacks(lacking)
        names = ["entity_id", "as_of", *self.scorer.columns]
        return pa.RecordBatch.from_arrays([_plain(batch[name]) for name in names], names)

    def _foresee(self, able: pa.RecordBatch) -> tuple[Floats, Floats, Floats]:
        model = self.scorer.model
        matrix = model.matrix(pd.DataFrame({name: series(able[name]) for name in model.columns}, index=range(len(able))))
        if not len(able):
            return matrix, np.empty(0), NOTHING
        if not self.with_reasons:
            return matrix, model.probability(matrix), NOTHING
        return matrix, *model.foreseen(matrix)

    def _withheld(self, batch: pa.RecordBatch, scored_at: datetime) -> tuple[NDArray[np.bool_], dict[str, pa.Array]]:
        """Who gets a score, and of each whether the question applies, which policy withholds the score, and why."""
        size, scorer = len(batch), self.scorer
        concerned = np.zeros(size, dtype=np.bool_)
        for condition in scorer.policy.conditions:
            concerned |= _holds(condition, batch)
        for condition in scorer.conditions:
            concerned |= ~_holds(condition, batch)
        if self.objections:
            concerned |= np.array([one in self.objections for one in batch["entity_id"].to_pylist()], dtype=np.bool_)
        if scorer.policy.holds_out:
            concerned |= np.array([scorer.policy.is_held_out(one) for one in batch["entity_id"].to_pylist()], dtype=np.bool_)
        eligible, why, policy = np.ones(size, dtype=np.bool_), np.full(size, None), np.full(size, None)
        rows = np.flatnonzero(concerned)
        for row, record in zip(rows.tolist(), _records(batch.take(pa.array(rows)), scorer.asked), strict=True):
            objection = self.objections.get(record.entity_id)
            answer = scorer.withheld(replace(record, objection=objection) if objection else record, scored_at)
            if answer is None:
                concerned[row] = False
            else:
                eligible[row], why[row], policy[row] = answer.eligible, answer.why, answer.policy
        return ~concerned, {
            "eligible": pa.array(eligible), "why": pa.array(why, pa.string()), "policy": pa.array(policy, pa.string()),
        }  # fmt: skip

    def of_everybody(self, batch: pa.RecordBatch, scored_at: datetime) -> dict[str, pa.Array]:
        """The columns of the scores that say nothing of the values."""
        name, version, at = (SCHEMA.field(one).type for one in ("propensity", "model_version", "scored_at"))
        size = len(batch)
        names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, dtype=np.int32)), [self.scorer.propensity.name])
        return {
            "entity_id": batch["entity_id"].cast(pa.string()), "propensity": names.cast(name),
            "feature_as_of": batch["as_of"].cast(at), "scored_at": pa.repeat(pa.scalar(scored_at, at), size),
            "model_version": pa.repeat(pa.scalar(self.scorer.version, version), size),
        }  # fmt: skip

    def _of_scored(self, able: pa.RecordBatch, rows: Places, size: int, probabilities: Floats) -> dict[str, pa.Array]:
        """What is said of those who have a score; of the others nothing."""
        percentiles = self.scorer.model.percentile(probabilities)
        distinct = Distinct.of(pa.array(percentiles))
        grades = [grade(one, self.scorer.propensity.grades) for one in distinct.values]
        said = {
            "score": pa.array(map(points, distinct.values), pa.int32()).take(pa.array(distinct.places)),
            "probability": pa.array(probabilities),
            "percentile": pa.array(percentiles),
            "grade": pa.array(grades, pa.string()).take(pa.array(distinct.places)),
            "expected_value": self._expected_values(able, probabilities),
        }
        if len(rows) == size:
            return said
        places = np.full(size, -1, dtype=np.int64)
        places[rows] = np.arange(len(rows))
        at = pa.array(places, mask=places < 0)
        return {name: column.take(at) for name, column in said.items()}

    def _expected_values(self, able: pa.RecordBatch, probabilities: Floats) -> pa.Array:
        value = self.scorer.propensity.value
        if value is None:
            return pa.nulls(len(able), pa.float64())
        if value.column is None:
            return pa.array(probabilities * (value.worth({}) or 0.0))
        worth = _mapped(able[value.column], lambda one: value.worth({value.column or "": one}), object)
        known = np.array([one is not None for one in worth], dtype=np.bool_)
        return pa.array(probabilities * np.where(known, worth, 0.0).astype(np.float64), mask=~known)

    def _lists(
        self, able: pa.RecordBatch, batch: pa.RecordBatch, rows: Places, matrix: Floats, contributions: Floats,
        scored_at: datetime,
    ) -> dict[str, pa.Array]:  # fmt: skip
        size, model = len(batch), self.scorer.model
        categories, others = model.others(matrix)
        stale = _mapped(able["as_of"], lambda as_of: self.scorer.is_stale(as_of, scored_at), np.bool_)
        if len(contributions):
            reasons = self._reasons.of(able, contributions[:, :-1], rows, size)
        else:
            reasons = listed(np.zeros(size, dtype=np.int64), pa.array([], SCHEMA.field("reasons").type.value_type))
        return {
            "reasons": reasons,
            "missing": _named(np.isnan(matrix), model.columns, rows, size),
            "unseen": _named(others, categories, rows, size),
            "stale": _named(np.repeat(stale[:, np.newaxis], len(model.columns), axis=1), model.columns, rows, size),
        }


def _plain(column: pa.Array) -> pa.Array:
    """Numbers, and columns without a single value, as float64; instants in microseconds; anything else as it is."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        return column.cast(SCHEMA.field("feature_as_of").type)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    return pa.array(floats(column)) if is_number else column


def series(column: pa.Array) -> pd.Series:
    """Numbers as float64 with NaN for missing, anything else as objects with None for missing."""
    return pd.Series(floats(column)) if pa.types.is_floating(column.type) else column.to_pandas().astype(object)


def _holds(condition: Condition, batch: pa.RecordBatch) -> NDArray[np.bool_]:
    return _mapped(batch[condition.column], lambda value: condition.holds({condition.column: value}), np.bool_)


def _mapped(column: pa.Array, function: Callable[[Any], Any], dtype: type) -> NDArray[Any]:
    """What a function says of each value."""
    values, places = Distinct.of(column)
    found: NDArray[Any] = np.empty(len(values), dtype=dtype)
    found[:] = [function(value) for value in values]
    return found[places]


def _records(batch: pa.RecordBatch, columns: Sequence[str]) -> list[Record]:
    """Rows with the values of some columns."""
    values = [batch[name].to_pylist() for name in columns]
    rows = zip(*values, strict=True) if values else [()] * len(batch)
    known = zip(batch["entity_id"].to_pylist(), batch["as_of"].to_pylist(), rows, strict=True)
    return [Record(entity_id, as_of, dict(zip(columns, row, strict=True))) for entity_id, as_of, row in known]


def _named(mask: NDArray[np.bool_], names: Sequence[str], rows: Places, size: int) -> pa.ListArray:
    """For each row of a batch the names whose column is true."""
    counts = np.zeros(size, dtype=np.int64)
    counts[rows] = mask.sum(axis=1)
    return listed(counts, pa.array(names, pa.string()).take(pa.array(np.nonzero(mask)[1])))
