"""The reasons of many scores at once, as one Arrow column: what `Reasoner.reasons` says row by row, each sentence made once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from serving.partition import REASON, text_of
from serving.reasons import Places, Reasoner
from training.contract import Floats


class Distinct(NamedTuple):
    """The different values of a column, and for each row the place of its own; a missing value is None."""

    values: list[Any]
    places: Places

    @classmethod
    def of(cls, column: pa.Array) -> Distinct:
        """Numbers differ when their bits do: a reason tells the zero below zero from zero."""
        if pa.types.is_floating(column.type):
            numbers = floats(column)
            encoded = pa.array(numbers.view(np.int64)).dictionary_encode()
            found = encoded.dictionary.to_numpy().view(np.float64).tolist()
            return cls([None if one != one else one for one in found], encoded.indices.to_numpy().astype(np.intp))
        encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        values = encoded.dictionary.to_pylist()
        places = np.asarray(encoded.indices.fill_null(len(values)), dtype=np.intp)
        return cls([*values, None] if encoded.indices.null_count else values, places)


def floats(column: pa.Array) -> Floats:
    """Numbers, with one bit pattern for missing ones."""
    numbers = np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.where(np.isnan(numbers), np.nan, numbers)


class ReasonColumns:
    """Speaks about the scores of one model."""

    def __init__(self, reasoner: Reasoner, names: Sequence[str]) -> None:
        """Take how to speak, and the features' names in the model's order."""
        self._reasoner = reasoner
        self._names = pa.array(names, pa.string())
        self._twins = pa.array([[names[i] for i in mine] for mine in reasoner.twins], pa.list_(pa.string()))

    def of(self, values: pa.RecordBatch, contributions: Floats, rows: Places, total: int) -> pa.ListArray:
        """The reasons of some rows of a batch; the others have none.

        Args:
            values: the features, one row for each row of `contributions`.
            contributions: the log-odds that each feature adds, without the model's base value.
            rows: the place of each of them in the batch, ascending.
            total: how many rows the batch has.
        """
        if not self._reasoner.twins:
            return listed(np.zeros(total, dtype=np.int64), pa.array([], REASON))
        measures, sums = self._reasoner.largest(contributions)
        is_told = sums != 0
        counts = np.zeros(total, dtype=np.int64)
        counts[rows] = is_told.sum(axis=1)
        row, _ = np.nonzero(is_told)
        return listed(counts, self._reasons(values, contributions, row, measures[is_told], sums[is_told]))

    def _reasons(
        self, values: pa.RecordBatch, contributions: Floats, row: Places, measure: Places, total: Floats
    ) -> pa.StructArray:  # fmt: skip
        spoken = self._reasoner.spoken(contributions, row, measure, total)
        value, text = self._told(values, row, spoken)
        direction = pa.array(["lowers", "raises"]).take(pa.array((total > 0).astype(np.int8)))
        told = [self._names.take(pa.array(spoken)), self._twins.take(pa.array(measure)), value, text, direction, pa.array(total)]
        return pa.StructArray.from_arrays(told, fields=list(REASON))

    def _told(self, values: pa.RecordBatch, row: Places, spoken: Places) -> tuple[pa.Array, pa.Array]:
        """The value of each spoken feature, and its sentence: each different one is made once."""
        shown: list[str | None] = []
        sentences: list[str] = []
        places = np.empty(len(spoken), dtype=np.int64)
        order = np.argsort(spoken, kind="stable")
        features, starts = np.unique(spoken[order], return_index=True)
        for feature, mine in zip(features.tolist(), np.split(order, starts[1:]), strict=True):
            distinct = Distinct.of(values[self._names[feature].as_py()].take(pa.array(row[mine])))
            places[mine] = distinct.places + len(sentences)
            sentences += map(self._reasoner.wording[feature].sentence, distinct.values)
            shown += map(text_of, distinct.values)
        at = pa.array(places)
        return pa.array(shown, pa.string()).take(at), pa.array(sentences, pa.string()).take(at)


def listed(counts: Places, values: pa.Array) -> pa.ListArray:
    """A list for each count, with as many of the values one after the other."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
