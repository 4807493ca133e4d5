"""The desk: where one propensity is asked about entities. The champion answers, or the version that is pinned; a challenger may
take a stable share of the entities (canary), or only be heard for comparison (shadow).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from msgspec import structs

from features.errors import ForesellError
from features.record import Record, has_all
from serving.policy import share
from serving.reader import Ask
from serving.score import Row, Score
from serving.scorer import Lap, Scored, Scorer, untimed
from training.contract import Floats

Known = Record | ForesellError | None


@dataclass(slots=True)
class Said:
    """One answer: the score, who gave it, and where there is one, what it was made from.

    `values` and `contributions` are the entity's features and what each added; None where there is no score.
    """

    score: Score
    scorer: Scorer
    values: Row | None = None
    contributions: Floats | None = None


@dataclass(frozen=True)
class Desk:
    """One propensity, open. A new version means a new desk, so that whoever holds one gets answers of one and the same version.

    Attributes:
        scorer: the version that answers.
        challenger: the version that waits, if it is wanted for a canary or as a shadow.
        canary: the share of the entities that the challenger answers for, the same ones always.
        is_shadowed: whether the challenger is heard about everybody else, off the hot path.
    """

    scorer: Scorer
    challenger: Scorer | None = None
    canary: float = 0.0
    is_shadowed: bool = False

    @property
    def entity(self) -> str:
        """`lead` or `customer`."""
        return self.scorer.propensity.entity

    def answer(self, asks: Sequence[Ask], known: Sequence[Known], now: datetime, lap: Lap = untimed) -> list[Said]:
        """One answer for each, in the same order.

        Of an entity that is unknown or ineligible, whose record is damaged or lacks a feature of the version that answers, it is
        said why there is no score.

        Args:
            asks: who is asked about.
            known: what is known of each of them.
            now: the instant of the request.
        """
        answers: list[Said | None] = [None] * len(asks)
        for scorer, places in self._parted(asks):
            able = [place for place in places if _can_be_scored(scorer, known[place])]
            for place in set(places) - set(able):
                answers[place] = Said(_unscored(scorer, asks[place], known[place], now), scorer)
            records = [record for place in able if isinstance(record := known[place], Record)]
            for place, one in zip(able, said(scorer, records, scorer.scored(records, now, lap)), strict=True):
                is_named = one.score.entity_id == asks[place].entity_id
                answers[place] = (
                    one if is_named else replace(one, score=structs.replace(one.score, entity_id=asks[place].entity_id))
                )
        return [answer for answer in answers if answer is not None]

    def _parted(self, asks: Sequence[Ask]) -> list[tuple[Scorer, list[int]]]:
        """Who answers for whom: places in the request."""
        if self.challenger is None or not self.canary:
            return [(self.scorer, list(range(len(asks))))]
        name = self.scorer.propensity.name
        taken = [ask.entity_id is not None and share(f"canary:{name}:{ask.entity_id}") < self.canary for ask in asks]
        return [
            (self.scorer, [place for place, one in enumerate(taken) if not one]),
            (self.challenger, [place for place, one in enumerate(taken) if one]),
        ]


def said(scorer: Scorer, records: Sequence[Record], scored: Scored) -> list[Said]:
    """Scores with what they were made from."""
    return [
        Said(score, scorer, *((None, None) if row is None else (record.values, scored.contributions[row, :-1])))
        for record, score, row in zip(records, scored.scores, scored.foreseen, strict=True)
    ]


def _can_be_scored(scorer: Scorer, known: Known) -> bool:
    return isinstance(known, Record) and has_all(known.values, scorer.needed)


def _unscored(scorer: Scorer, ask: Ask, known: Known, now: datetime) -> Score:
    if known is None:
        why = f"no {scorer.propensity.entity} of this id is in the online store"
        return scorer.unscored(ask.entity_id, why, None, now)
    if isinstance(known, ForesellError):
        return scorer.unscored(ask.entity_id, f"{known.where}: {known.received}; {known.repair}", None, now)
    lacking = ", ".join(name for name in scorer.columns if name not in known.values)
    why = f"the record in the online store was written without {lacking}; `foresell snapshot` writes it anew"
    return scorer.unscored(ask.entity_id, why, known.as_of, now)
