"""The last scores of a night: what the ledger keeps of it, so that a later score can be compared with it and read back.

They are kept while the partition is written; a night that breaks off leaves those it had made, which are true of its as_of.
The partition is what counts: a ledger that does not answer costs nobody a score, is left alone for the night, and told of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ForesellError
from features.record import EPOCH, Layout, Values, pack
from features.settings import Workspace
from features.stream import among
from serving.columns import ColumnScorer, ColumnScores
from serving.documents import documents
from serving.ledger import Ledger, Stored
from serving.reason_columns import floats

IDS_PER_READ = 250_000
ROWS_PER_WRITE = 5_000  # in one transaction, so that others get their turn in between


class LastScores:
    """Keeps the scores of one propensity at one as_of."""

    def __init__(self, workspace: Workspace, ledger: Ledger, scorer: ColumnScorer, as_of: datetime) -> None:
        """Take the ledger; `failure` is what it failed with, None while it works. After it nothing is kept."""
        self._workspace, self._ledger, self._scorer, self._as_of = workspace, ledger, scorer, as_of
        self.failure: ForesellError | None = None
        self._cohort: list[pa.Array] = []

    def keep(self, cohort: pa.Array, chunk: pa.RecordBatch, made: ColumnScores) -> None:
        """Keep scores, and the answers about those who are withheld one, in place of what was stored of these entities.

        Args:
            cohort: the ids of all who are eligible, as far as this chunk goes.
            chunk: the features of those whose answers are to be kept.
            made: these answers.
        """
        self._cohort.append(cohort)
        if self.failure is None:
            self._keep(self._stored(chunk, made))

    def are_of(self, sha256: str) -> bool:
        """Whether the ledger was given every answer of a partition, so that only others need be kept.

        Where it does not answer nothing is kept, and nothing is to be made for its sake.
        """
        is_held = True
        with self._noting():
            if self.failure is None:
                is_held = self._ledger.night(self._name) == sha256
        return is_held

    def begin(self) -> None:
        """Note that from now on the ledger need not hold every answer of any partition."""
        with self._noting():
            if self.failure is None:
                self._ledger.begin_night(self._name)

    def end(self, sha256: str) -> None:
        """Note that every answer of a partition is kept, if it is."""
        with self._noting():
            if self.failure is None:
                self._ledger.end_night(self._name, sha256)

    def replace_others(self) -> None:
        """Answer anew about those who have a stored score and are known, but are no longer in the cohort.

        They have become ineligible, or policy withholds their score now: what is read back must say so.
        """
        if self.failure is not None:
            return
        scorer = self._scorer
        with self._noting():
            for ids in self._others():
                if self.failure is not None:
                    return
                known = among(self._workspace, scorer.scorer.propensity.entity, self._as_of, ids, scorer.scorer.columns)
                self._keep(self._stored(known, scorer.scored(known, self._as_of)))

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except ForesellError as failure:
            self.failure = failure

    @property
    def _name(self) -> str:
        return self._scorer.scorer.propensity.name

    def _others(self) -> Iterator[list[str]]:
        """Who has a stored score and is not in the cohort, some at a time."""
        cohort, last = pa.chunked_array(self._cohort, pa.string()), ""
        while page := self._ledger.answered(self._name, last, IDS_PER_READ):
            ids, last = pa.array(page, pa.string()), page[-1]
            others = ids.filter(pc.invert(pc.is_in(ids, cohort))).to_pylist()
            for start in range(0, len(others), ROWS_PER_WRITE):
                if scored := self._ledger.scored(self._name, others[start : start + ROWS_PER_WRITE]):
                    yield scored

    def _keep(self, stored: Sequence[Stored]) -> None:
        with self._noting():
            for start in range(0, len(stored), ROWS_PER_WRITE):
                self._ledger.keep_latest(stored[start : start + ROWS_PER_WRITE])

    def _stored(self, chunk: pa.RecordBatch, made: ColumnScores) -> list[Stored]:
        """One for each row but theirs whose objection the ledger holds; who has no score leaves no contributions, no features."""
        scorer, size = self._scorer.scorer, chunk.num_rows
        contributions: list[bytes | None] = [None] * size
        features: list[Values | None] = [None] * size
        kept = scorer.remembered if self._scorer.with_reasons else scorer.remembered_without_reasons
        rows = made.rows.tolist()
        for row, told in zip(rows, _records(kept, chunk.take(pa.array(made.rows, pa.int64()))), strict=True):
            features[row] = Values(kept, told)
        if len(made.contributions):
            for row, added in zip(rows, made.contributions[:, :-1], strict=True):
                contributions[row] = added.tobytes()
        ids, probabilities = made.scores["entity_id"].to_pylist(), made.scores["probability"].to_pylist()
        columns = (ids, probabilities, documents(made.scores, scorer.model.categories), contributions, features)
        return [
            Stored(self._name, entity_id, self._as_of, scorer.version, probability, document, added, told)
            for entity_id, probability, document, added, told in zip(*columns, strict=True)
            if entity_id not in self._scorer.objections
        ]


def _records(layout: Layout, rows: pa.RecordBatch) -> list[bytes]:
    """What is kept of each row, as `serving.ledger.kept` packs it."""
    numbers = np.empty((rows.num_rows, len(layout.numbers)))
    for place, name in enumerate(layout.numbers):
        numbers[:, place] = floats(rows[name])
    return pack(layout, EPOCH, numbers, [rows[name].to_pylist() for name in layout.categories])
