"""The last scores of a night: what the ledger keeps of it, so that a later score can be compared with it and read back.

They are kept while the partition is written; a night that breaks off leaves those it had made, which are true of its as_of.
The partition is what counts: a ledger that does not answer costs nobody a score, is left alone for the night, and told of.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from features import snapshot
from features.errors import ForesellError
from features.record import Record
from features.settings import Workspace
from serving.answer import Answer, Call, entry, written
from serving.desk import said
from serving.ledger import Ledger
from serving.scorer import Scored, Scorer, records

NIGHT = Call("batch", None, "batch")


class LastScores:
    """Keeps the scores of one propensity at one as_of."""

    def __init__(self, ledger: Ledger, as_of: datetime) -> None:
        """Take the ledger; `failure` is what it failed with, None while it works."""
        self._ledger, self._as_of = ledger, as_of
        self.failure: ForesellError | None = None

    def keep(self, scorer: Scorer, rows: Sequence[Record], scored: Scored) -> None:
        """Keep scores, and the answers about those who are withheld one, in place of what was stored of these entities."""
        if self.failure is not None or not rows:
            return
        answers = [(one, Answer(one.score, written(one.score))) for one in said(scorer, rows, scored)]
        entries = [entry(one, answer, self._as_of, NIGHT) for one, answer in answers]
        try:
            self._ledger.keep_latest([one.stored for one in entries if one.stored])
        except ForesellError as failure:
            self.failure = failure

    def replace_others(self, workspace: Workspace, scorer: Scorer, cohort: pd.DataFrame) -> None:
        """Answer anew about those who have a stored score and are known, but are no longer in the cohort.

        They have become ineligible, or policy withholds their score now: what is read back must say so.
        """
        if self.failure is not None:
            return
        try:
            others = set(self._ledger.scored(scorer.propensity.name)).difference(cohort["entity_id"])
            known = self._known(workspace, scorer, others) if others else []
            self.keep(scorer, known, scorer.scored(known, self._as_of))
        except ForesellError as failure:
            self.failure = failure

    def _known(self, workspace: Workspace, scorer: Scorer, ids: set[str]) -> list[Record]:
        """What is known of these entities, as far as they are known."""
        everybody = snapshot.read(workspace, scorer.propensity.entity, [self._as_of], scorer.columns)
        return records(everybody[everybody["entity_id"].isin(ids)])
