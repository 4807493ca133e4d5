"""A renewal: the scores of a chunk, carried over from the partition before where they would be the same, made anew elsewhere.

They are made anew for whoever is new or has other values.
"""

from __future__ import annotations

from datetime import datetime
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.columns import ColumnScorer, ColumnScores
from serving.earlier import CARRIED, Digests, Earlier, digests
from serving.partition import SCHEMA
from serving.reason_columns import Places


class Renewed(NamedTuple):
    """What was said of a chunk.

    Attributes:
        scores: of everybody in it.
        fresh: the features of those whose scores were made anew.
        made: those scores.
    """

    scores: pa.RecordBatch
    fresh: pa.RecordBatch
    made: ColumnScores


class Renewal:
    """Renews the scores of one propensity at one as_of, chunk by chunk in the order of the entities."""

    def __init__(self, scorer: ColumnScorer, as_of: datetime, earlier: Earlier | None, inputs: IO[bytes]) -> None:
        """Take the scorer and what was there before.

        Args:
            scorer: makes scores.
            as_of: the instant of scoring.
            earlier: the partition before, if the same scorer made it.
            inputs: is given the digests of the values, row by row.
        """
        self._scorer, self._as_of, self._earlier, self._inputs = scorer, as_of, earlier, inputs

    def of(self, chunk: pa.RecordBatch) -> Renewed:
        """Score a chunk."""
        known = digests(chunk, self._scorer.scorer.columns)
        self._inputs.write(known.astype("<u8").tobytes())
        if self._earlier is None:
            made = self._scorer.scored(chunk, self._as_of)
            return Renewed(made.scores, chunk, made)
        rows, before = self._earlier.until(chunk["entity_id"][-1].as_py())
        places = _places(chunk, rows)
        is_fresh = ~_is_same(places, known, before)
        fresh = chunk.filter(pa.array(is_fresh))
        made = self._scorer.scored(fresh, self._as_of)
        if len(fresh) == len(chunk):
            return Renewed(made.scores, fresh, made)
        places = np.where(is_fresh, len(rows) + np.cumsum(is_fresh) - 1, places)
        carried = pa.concat_tables([rows.select(CARRIED), pa.Table.from_batches([made.scores.select(CARRIED)])])
        said = carried.combine_chunks().take(pa.array(places)).to_batches()[0]
        columns = {**{name: said[name] for name in CARRIED}, **self._scorer.of_everybody(chunk, self._as_of)}
        columns["explore"] = self._scorer.explored(chunk["entity_id"], columns["score"], self._as_of)
        scores = pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)
        return Renewed(scores, fresh, made)


def _places(chunk: pa.RecordBatch, rows: pa.Table) -> Places:
    """For each row of a chunk that of the same entity; -1 where there is none."""
    found = pc.index_in(chunk["entity_id"], rows["entity_id"].combine_chunks())
    return np.asarray(found.fill_null(-1), dtype=np.intp)


def _is_same(places: Places, known: Digests, before: Digests) -> np.ndarray:
    if not len(before):
        return np.zeros(len(known), dtype=np.bool_)
    is_same: np.ndarray = (places >= 0) & (before[places] == known)
    return is_same
