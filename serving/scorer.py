"""The scorer: feature values and a champion in, scores with reasons out. The service and the nightly batch both call it.

Pure: it reads nothing, writes nothing and does not know what time it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, cast

import numpy as np
import pandas as pd

from features.cohort import obstacle
from features.condition import Condition
from features.errors import ContractError
from features.feature import Feature
from features.propensity import Grades, Propensity
from features.record import Record
from serving.reasons import NOT_KNOWN, Range, Reason, Value, top_reasons, wordings
from training.contract import Typical
from training.model import Model

Grade = Literal["A", "B", "C", "D"]
Row = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Score:
    """What is foreseen of one entity for one propensity, or why nothing is.

    Attributes:
        entity_id: the CRM's id; None for a newcomer that has none yet.
        propensity: which question.
        eligible: whether the question applies; if not, `why` says so and there is neither score nor reason.
        score: 1 to 100, the percentile rounded up.
        probability: calibrated, 0 to 1.
        percentile: the share of the model's reference population with a lower probability, 0 to 1.
        grade: A to D, by the propensity's percentile floors.
        expected_value: the probability times what an outcome is worth; None without a `[value]`.
        reasons: the features that moved it most, largest first.
        missing: the model's features for which there is no value.
        unseen: the features whose category the model never learned.
        feature_as_of: the instant before which the features were known.
        scored_at: the instant at which the score was made.
        model_version: the champion's version.
    """

    entity_id: str | None
    propensity: str
    eligible: bool
    why: str | None
    score: int | None
    probability: float | None
    percentile: float | None
    grade: Grade | None
    expected_value: float | None
    reasons: tuple[Reason, ...]
    missing: tuple[str, ...]
    unseen: tuple[str, ...]
    feature_as_of: datetime | None
    scored_at: datetime
    model_version: str


class Scorer:
    """One champion, ready to score. Equal rows get equal scores to the bit, alone or among thousands."""

    def __init__(self, model: Model, version: str, declarations: Mapping[str, Feature]) -> None:
        """Prepare a model's words.

        Args:
            model: the champion; its own contract says which features, which propensity and what is usual.
            version: the champion's version, written into every score.
            declarations: the declared features of the entity, by name, for the words of the reasons.
        """
        self.model = model
        self.version = version
        self.propensity: Propensity = model.propensity
        usual = {c.name: _quartiles(c.typical) for c in model.contract.features}
        self._wording = wordings(model.columns, declarations, self.propensity.reasons, usual)

    @property
    def eligibility_columns(self) -> tuple[str, ...]:
        """The columns that decide who is eligible."""
        return tuple(dict.fromkeys(condition.column for condition in self.propensity.conditions))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column a row must have: the model's features, the eligibility's and the value's."""
        value = self.propensity.value.columns if self.propensity.value else ()
        return tuple(dict.fromkeys((*self.model.columns, *self.eligibility_columns, *value)))

    def score(self, records: Sequence[Record], scored_at: datetime) -> list[Score]:
        """One score for each record, in the same order.

        Args:
            records: what was known of each entity; the values of at least `columns`.
            scored_at: the instant of scoring.

        Raises:
            ContractError: a record lacks a column, or has text where a number belongs.
        """
        self._require_columns(records)
        obstacles = [self._obstacle(record.values) for record in records]
        able = [record for record, why in zip(records, obstacles, strict=True) if why is None]
        foreseen = iter(self._foresee(able, scored_at))
        return [
            next(foreseen) if why is None else self.unscored(record.entity_id, why, record.as_of, scored_at)
            for record, why in zip(records, obstacles, strict=True)
        ]

    def unscored(self, entity_id: str, why: str, feature_as_of: datetime | None, scored_at: datetime) -> Score:
        """The answer about an entity that cannot be scored, with a sentence why."""
        return Score(
            entity_id, self.propensity.name, False, why, None, None, None, None, None, (), (), (),
            feature_as_of, scored_at, self.version,
        )  # fmt: skip

    def _obstacle(self, row: Row) -> str | None:
        """In a sentence, why the question does not apply; None when it does."""
        failed = obstacle(self.propensity, row)
        if failed is None:
            return None
        value = row[Condition.parse(failed).column]
        return f"not eligible for {self.propensity.name}: that takes {failed}, but here it is {_told(value)}"

    def _foresee(self, records: Sequence[Record], scored_at: datetime) -> list[Score]:
        """The scores of eligible entities."""
        if not records:
            return []
        matrix = np.vstack([self.model.row(record.values) for record in records])
        probabilities = self.model.probability(matrix)
        percentiles = self.model.percentile(probabilities).tolist()
        contributions = self.model.contributions(matrix)[:, :-1].tolist()
        absent = np.isnan(matrix)
        return [
            Score(
                entity_id=record.entity_id,
                propensity=self.propensity.name,
                eligible=True,
                why=None,
                score=points(percentiles[i]),
                probability=probability,
                percentile=percentiles[i],
                grade=grade(percentiles[i], self.propensity.grades),
                expected_value=self._expected_value(probability, record.values),
                reasons=top_reasons(self._wording, self._values(record.values, absent[i]), contributions[i]),
                missing=tuple(self.model.columns[j] for j in np.flatnonzero(absent[i])),
                unseen=tuple(self.model.unseen(record.values)),
                feature_as_of=record.as_of,
                scored_at=scored_at,
                model_version=self.version,
            )
            for i, (record, probability) in enumerate(zip(records, probabilities.tolist(), strict=True))
        ]

    def _values(self, row: Row, absent: np.ndarray) -> list[Value]:
        return [None if gone else row[name] for name, gone in zip(self.model.columns, absent, strict=True)]

    def _expected_value(self, probability: float, row: Row) -> float | None:
        if self.propensity.value is None:
            return None
        worth = self.propensity.value.worth(row)
        return None if worth is None else probability * worth

    def _require_columns(self, records: Sequence[Record]) -> None:
        lacking = sorted({name for record in records for name in self.columns if name not in record.values})
        if lacking:
            raise ContractError(
                "the records to be scored",
                expected=f"the {len(self.columns)} columns that version {self.version} of {self.propensity.name} needs",
                received=f"none of the name {', '.join(lacking)}",
                repair="restore the table or declaration that gave them, or train and promote again without them",
            )


def _quartiles(typical: Typical) -> Range:
    return NOT_KNOWN if typical.p25 is None or typical.p75 is None else (typical.p25, typical.p75)


def records(frame: pd.DataFrame) -> list[Record]:
    """The rows of a frame with `entity_id`, `as_of` and feature columns, as records."""
    rows = cast(list[dict[str, Value]], frame.drop(columns=["entity_id", "as_of"]).to_dict("records"))
    return [
        Record(entity_id, as_of.to_pydatetime(), row)
        for entity_id, as_of, row in zip(frame["entity_id"].tolist(), frame["as_of"], rows, strict=True)
    ]


def _told(value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "not known"
    return f"{value:g}" if isinstance(value, float) else str(value)


def points(percentile: float) -> int:
    """The number shown: 1 to 100."""
    return min(100, max(1, math.ceil(100 * percentile)))


def grade(percentile: float, floors: Grades) -> Grade:
    """A to D: the first grade whose floor the percentile reaches."""
    if percentile >= floors.A:
        return "A"
    if percentile >= floors.B:
        return "B"
    return "C" if percentile >= floors.C else "D"
