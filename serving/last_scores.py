"""The last scores of a night: what the ledger keeps of it, so that a later score can be compared with it and read back.

They are kept while the partition is written; a night that breaks off leaves those it had made, which are true of its as_of.
The partition is what counts: a ledger that does not answer costs nobody a score, is left alone for the night, and told of.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ForesellError
from features.settings import Workspace
from features.stream import among
from serving.columns import ColumnScorer, ColumnScores
from serving.documents import documents, values
from serving.ledger import Ledger, Stored

IDS_PER_READ = 250_000
ROWS_PER_WRITE = 5_000  # in one transaction, so that others get their turn in between


class LastScores:
    """Keeps the scores of one propensity at one as_of."""

    def __init__(self, workspace: Workspace, ledger: Ledger, scorer: ColumnScorer, as_of: datetime) -> None:
        """Take the ledger; `failure` is what it failed with, None while it works."""
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

    def follows(self, sha256: str) -> bool:
        """Whether the ledger holds every answer of a partition, so that only others are to be kept; from now on it need not.

        Where it does not answer nothing is kept, and nothing is to be made for its sake.
        """
        name = self._scorer.scorer.propensity.name
        try:
            is_held = self._ledger.night(name) == sha256
            self._ledger.begin_night(name)
        except ForesellError as failure:
            self.failure, is_held = failure, True
        return is_held

    def end(self, sha256: str) -> None:
        """Note that every answer of a partition is kept, if it is."""
        try:
            if self.failure is None:
                self._ledger.end_night(self._scorer.scorer.propensity.name, sha256)
        except ForesellError as failure:
            self.failure = failure

    def replace_others(self, scored: pa.Array | None) -> None:
        """Answer anew about those who have a stored score and are known, but are no longer in the cohort.

        They have become ineligible, or policy withholds their score now: what is read back must say so.

        Args:
            scored: who had a score in the partition that the ledger holds; None to ask it who has one.
        """
        if self.failure is not None:
            return
        scorer = self._scorer
        try:
            for ids in self._others(scored):
                if self.failure is not None:
                    return
                known = among(self._workspace, scorer.scorer.propensity.entity, self._as_of, ids, scorer.scorer.columns)
                self._keep(self._stored(known, scorer.scored(known, self._as_of)))
        except ForesellError as failure:
            self.failure = failure

    def _others(self, scored: pa.Array | None) -> Iterator[list[str]]:
        """Who has a stored score and is not in the cohort, some at a time."""
        cohort = pa.chunked_array(self._cohort, pa.string())
        for ids in [scored] if scored is not None else self._stored_ids():
            others = ids.filter(pc.invert(pc.is_in(ids, cohort))).to_pylist()
            for start in range(0, len(others), ROWS_PER_WRITE):
                yield others[start : start + ROWS_PER_WRITE]

    def _stored_ids(self) -> Iterator[pa.Array]:
        name, last = self._scorer.scorer.propensity.name, ""
        while page := self._ledger.scored(name, last, IDS_PER_READ):
            last = page[-1]
            yield pa.array(page, pa.string())

    def _keep(self, stored: Sequence[Stored]) -> None:
        try:
            for start in range(0, len(stored), ROWS_PER_WRITE):
                self._ledger.keep_latest(stored[start : start + ROWS_PER_WRITE])
        except ForesellError as failure:
            self.failure = failure

    def _stored(self, chunk: pa.RecordBatch, made: ColumnScores) -> list[Stored]:
        """One for each row but theirs whose objection the ledger holds; who has no score leaves no contributions, no features."""
        scorer, size = self._scorer.scorer, chunk.num_rows
        contributions: list[bytes | None] = [None] * size
        features: list[bytes | None] = [None] * size
        kept = scorer.remembered if self._scorer.with_reasons else scorer.policy.columns
        rows = made.rows.tolist()
        able = chunk.select(["entity_id", *kept]).take(pa.array(made.rows, pa.int64()))
        for row, told in zip(rows, values(able, kept), strict=True):
            features[row] = told
        if len(made.contributions):
            for row, added in zip(rows, made.contributions[:, :-1], strict=True):
                contributions[row] = added.tobytes()
        ids, probabilities = made.scores["entity_id"].to_pylist(), made.scores["probability"].to_pylist()
        columns = (ids, probabilities, documents(made.scores, scorer.model.categories), contributions, features)
        name, version = scorer.propensity.name, scorer.version
        return [
            Stored(name, entity_id, self._as_of, version, probability, document, added, told)
            for entity_id, probability, document, added, told in zip(*columns, strict=True)
            if entity_id not in self._scorer.objections
        ]
