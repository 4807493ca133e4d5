"""The fallback: what is said of an entity while the online store does not answer, from what is known without it.

That is the last stored score, who is held out (the id alone decides), and what the request itself says. Whether somebody has
objected since a score was stored is only known where the request says so, or where the score was made from records of the newest
as_of that is known here: objections become known with a new as_of, as everything does. Where neither is so, and the workspace
suppresses anybody, the stored score is not shown.
"""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from features.errors import StoreError
from features.record_file import record_files
from features.settings import Workspace
from features.snapshot import label
from serving.answer import SCORE
from serving.ledger import Stored
from serving.reader import Ask, Reader
from serving.score import Row, Score
from serving.scorer import Scorer


class Fallback:
    """One failure of the store, for entities of one kind."""

    def __init__(self, workspace: Workspace, reader: Reader, failure: StoreError, now: datetime) -> None:
        """Take what does not answer.

        Args:
            workspace: whose records are away.
            reader: of the entity.
            failure: what the store said.
            now: the instant of the request.
        """
        self._reader, self._failure, self._now = reader, failure, now
        files = record_files(workspace, reader.entity)
        labels = [files[-1].name[: len(label(now))]] if files else []
        self._newest = max([*labels, *([label(reader.newest)] if reader.newest else [])], default=None)

    def score(self, scorer: Scorer, ask: Ask, stored: Stored | None) -> Score:
        """The last stored score of somebody who has an id, marked as degraded, or a sentence why there is none.

        Args:
            scorer: the version that would answer.
            ask: who is asked about.
            stored: the last stored score, if there is one.
        """
        told = self._reader.told(ask, self._now)
        kept = stored.known if stored else {}
        withheld = scorer.policy.surely_withheld(ask.entity_id, {**kept, **told})
        if withheld is not None:
            return scorer.unscored(ask.entity_id, withheld.why, None, self._now, withheld.kind)
        if stored is None:
            return self._nothing(scorer, ask, "no score is stored")
        score = replace(SCORE.decode(stored.document), degraded=True)
        if score.score is None:
            return score
        if not self._may_be_shown(scorer, score, kept, told):
            return self._nothing(scorer, ask, f"whether this {scorer.propensity.entity} has objected since is not known")
        names = kept if stored.contributions else scorer.model.columns  # a night without reasons kept what policy looks at alone
        return replace(
            score, stale=tuple(name for name in names if name not in scorer.policy.columns or name in scorer.model.columns)
        )

    def _may_be_shown(self, scorer: Scorer, score: Score, kept: Row, told: Row) -> bool:
        """Whether everything that policy looks at is known, by the request, or as the newest records have it."""
        columns = set(scorer.policy.columns)
        return columns <= told.keys() or (columns <= {**kept, **told}.keys() and self._is_newest(score))

    def _is_newest(self, score: Score) -> bool:
        """Whether a score was made from records as new as any that are known of."""
        return self._newest is not None and score.feature_as_of is not None and label(score.feature_as_of) >= self._newest

    def _nothing(self, scorer: Scorer, ask: Ask, why: str) -> Score:
        unscored = scorer.unscored(ask.entity_id, f"{self._failure.where} does not answer, and {why}", None, self._now)
        return replace(unscored, degraded=True)


def says_something(score: Score) -> bool:
    """Whether a caller learns more from it than that the store does not answer."""
    return score.score is not None or score.policy is not None or score.feature_as_of is not None
