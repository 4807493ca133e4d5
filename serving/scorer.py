"""The scorer: feature values and a champion in, scores with reasons out. The service and the nightly batch both call it.

Pure: it reads nothing, writes nothing and does not know what time it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache, partial
from itertools import count, repeat
from typing import cast

import numpy as np
import pandas as pd

from features.errors import ContractError
from features.feature import Dtype, Feature, View
from features.operation import PolicySettings
from features.propensity import Grades, Propensity
from features.record import Layout, Record, has_all
from features.settings import Workspace
from features.views import feature_map
from serving.policy import Held, Policy
from serving.reasons import Reason, Reasoner
from serving.score import Grade, Row, Score
from serving.wording import NOT_KNOWN, Range, Value, wordings
from training.contract import Floats, Typical
from training.model import Model
from training.registry import Registered

Lap = Callable[[str], None]
NOTHING: Floats = np.empty((0, 0))
MARKS_KEPT = 10_000


def untimed(stage: str) -> None:
    """A `Lap` for whoever does not care."""


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores, and what the model saw: what is kept with a stored score, so that a later one can be compared with it.

    Attributes:
        scores: one for each record, in the same order.
        foreseen: for each score the row of `contributions` and `matrix` it was made from; None where there is none.
        matrix: the encoded features, one row per score that was made.
        contributions: what each feature added, in log-odds, for the same rows; last the model's base value.
    """

    scores: list[Score]
    foreseen: list[int | None]
    matrix: Floats
    contributions: Floats


class Scorer:
    """One version, ready to score. Equal rows get equal scores to the bit, alone or among thousands."""

    def __init__(
        self,
        model: Model,
        version: str,
        declarations: Mapping[str, Feature],
        policy: Policy | None = None,
        fresh_for: timedelta = timedelta.max,
    ) -> None:
        """Prepare a model's words.

        Args:
            model: its own contract says which features, which propensity and what is usual.
            version: its version, written into every score.
            declarations: the declared features of the entity, by name, for the words of the reasons.
            policy: who gets no score; None withholds nobody's.
            fresh_for: features that were known longer ago are told as stale.
        """
        self.model = model
        self.version = version
        self.propensity: Propensity = model.propensity
        self.conditions = self.propensity.conditions
        self.policy = policy or Policy(PolicySettings(), self.propensity.entity)
        self._fresh_for = fresh_for
        value = self.propensity.value.columns if self.propensity.value else ()
        eligibility = (condition.column for condition in self.conditions)
        self.columns: tuple[str, ...] = tuple(dict.fromkeys((*model.columns, *eligibility, *value, *self.policy.columns)))
        usual = {c.name: _quartiles(c.typical) for c in model.contract.features}
        of_model: dict[str, Dtype] = {one: "category" if one in model.categories else "number" for one in model.columns}
        self._dtypes = {name: feature.dtype for name, feature in declarations.items()} | of_model
        self._marks = lru_cache(MARKS_KEPT)(partial(_marks, self.propensity.grades))  # a model knows so many percentiles
        self.reasoner = Reasoner(wordings(model.columns, declarations, self.propensity.reasons, usual), model.categories)

    def score(self, records: Sequence[Record], scored_at: datetime) -> list[Score]:
        """One score for each record, in the same order.

        Args:
            records: what was known of each entity; the values of at least `columns`.
            scored_at: the instant of scoring.

        Raises:
            ContractError: a record lacks a column, or has text where a number belongs.
        """
        self._require_columns(records)
        return self.scored(records, scored_at).scores

    def scored(self, records: Sequence[Record], scored_at: datetime, lap: Lap = untimed) -> Scored:
        """As `score`, of records that do not lack a column, with what the model saw.

        `lap` is called at the end of each stage: `predict`, `reasons`.
        """
        answers = [self.withheld(record, scored_at) for record in records]
        able = [record for record, answer in zip(records, answers, strict=True) if answer is None]
        if not able:
            return Scored(cast(list[Score], answers), [None] * len(records), NOTHING, NOTHING)
        made, matrix, contributions = self._foresee(able, scored_at, lap)
        position = count()
        rows = [next(position) if answer is None else None for answer in answers]
        scores = [made[row] if row is not None else answer for answer, row in zip(answers, rows, strict=True)]
        return Scored(cast(list[Score], scores), rows, matrix, contributions)

    def _foresee(self, able: Sequence[Record], scored_at: datetime, lap: Lap) -> tuple[list[Score], Floats, Floats]:
        """The scores of those who get one, their features as numbers, and what each feature added."""
        values = [record.values for record in able]
        matrix = self.model.rows(values)
        probabilities, contributions = self.model.foreseen(matrix)
        percentiles = self.model.percentile(probabilities)
        lap("predict")
        reasons = self.reasoner.reasons(values, contributions[:, :-1], matrix)
        lap("reasons")
        absent, unseen = self._missing(matrix), self.model.unseen(matrix)
        explored = self.explored([record.entity_id for record in able], scored_at)
        columns = (able, probabilities.tolist(), percentiles.tolist(), reasons, absent, unseen, explored, repeat(scored_at))
        return list(map(self._score, *columns)), matrix, contributions

    def again(self, values: Sequence[Row]) -> tuple[Floats, Floats]:
        """The probabilities, and what each feature adds, of values that were kept, whatever policy or eligibility say.

        Raises:
            ContractError: a feature of the model is not among them.
        """
        probabilities, contributions = self.model.foreseen(self.model.rows(values))
        return probabilities, contributions[:, :-1]

    def told(self, values: Row, contributions: Floats) -> tuple[Reason, ...]:
        """What moved a score, in words, by contributions of one's own: such as their difference from earlier ones."""
        return self.reasoner.reasons([values], contributions[np.newaxis])[0]

    def shown(self, name: str, value: Value) -> str:
        """A value of a feature of the model, as people write it."""
        return self.reasoner.shown(name, value)

    def warm(self) -> None:
        """Do once what costs more the first time, so that it is not the first caller who waits."""
        empty = np.full((1, len(self.model.columns)), np.nan)
        self.model.percentile(self.model.foreseen(empty).probability)

    def unscored(
        self, entity_id: str | None, why: str, feature_as_of: datetime | None, scored_at: datetime, policy: Held | None = None
    ) -> Score:
        """The answer about an entity that gets no score, with a sentence why; only one that policy withholds is eligible."""
        return Score(
            entity_id, self.propensity.name, policy is not None, why, policy, None, None, None, None, None, (), (), (), (),
            feature_as_of, scored_at, self.version,
        )  # fmt: skip

    def withheld(self, record: Record, scored_at: datetime) -> Score | None:
        """The answer about an entity that gets no score: policy withholds it, or the question does not apply."""
        if record.objection is not None:  # told before: it is not kept anew, or it would never grow old
            return self.unscored(record.entity_id, record.objection, None, scored_at, "suppressed")
        found = self.policy.withheld(record.entity_id or None, record.values)
        if found is not None:
            return self.unscored(record.entity_id, found.why, record.as_of, scored_at, found.kind)
        failed = next((condition for condition in self.conditions if not condition.holds(record.values)), None)
        if failed is None:
            return None
        why = (
            f"not eligible for {self.propensity.name}: that takes {failed}, but here it is {_told(record.values[failed.column])}"
        )
        return self.unscored(record.entity_id, why, record.as_of, scored_at)

    def _score(
        self, record: Record, probability: float, percentile: float, reasons: tuple[Reason, ...], missing: tuple[str, ...],
        unseen: tuple[str, ...], explore: bool, scored_at: datetime,
    ) -> Score:  # fmt: skip
        shown, letter = self._marks(percentile)
        return Score(
            record.entity_id, self.propensity.name, True, None, None, shown, probability, percentile, letter,
            self._expected_value(probability, record.values), reasons, missing, unseen, self._stale(record, scored_at),
            record.as_of, scored_at, self.version, explore,
        )  # fmt: skip

    def explored(self, ids: Sequence[str | None], scored_at: datetime) -> list[bool]:
        """Of those who have a score, who is to be acted on though it does not say so."""
        if not self.policy.explores:
            return [False] * len(ids)
        return [self.policy.is_explored(self.propensity.name, one, scored_at) for one in ids]

    def _missing(self, matrix: Floats) -> list[tuple[str, ...]]:
        absent = np.isnan(matrix)
        names = list(map(self.model.columns.__getitem__, np.nonzero(absent)[1].tolist()))
        ends = np.cumsum(absent.sum(axis=1)).tolist()
        return [tuple(names[start:end]) for start, end in zip([0, *ends], ends, strict=False)]

    def _stale(self, record: Record, scored_at: datetime) -> tuple[str, ...]:
        """Every feature but those that are newer than the record, because the request gave them."""
        if not self.is_stale(record.as_of, scored_at):
            return ()
        return tuple(name for name in self.model.columns if name not in record.given) if record.given else self.model.columns

    def is_stale(self, as_of: datetime, scored_at: datetime) -> bool:
        """Whether features of an as_of were known longer ago than the workspace calls fresh."""
        return scored_at - as_of > self._fresh_for

    def _expected_value(self, probability: float, row: Row) -> float | None:
        if self.propensity.value is None:
            return None
        worth = self.propensity.value.worth(row)
        return None if worth is None else probability * worth

    def _require_columns(self, records: Sequence[Record]) -> None:
        needed = self.needed
        if all(has_all(record.values, needed) for record in records):
            return
        raise self.lacks({name for record in records for name in needed if name not in record.values})

    def lacks(self, names: Iterable[str]) -> ContractError:
        """The error about columns that are not there."""
        return ContractError(
            "the records to be scored",
            expected=f"the {len(self.columns)} columns that version {self.version} of {self.propensity.name} needs",
            received=f"none of the name {', '.join(sorted(names))}",
            repair="restore the table or declaration that gave them, or train and promote again without them",
        )

    @cached_property
    def asked(self) -> tuple[str, ...]:
        """What decides whether an entity gets a score: the columns of policy and eligibility."""
        return tuple(dict.fromkeys((*self.policy.columns, *(condition.column for condition in self.conditions))))

    @cached_property
    def remembered(self) -> Layout:
        """What is kept of an entity with its score: the model's features, and what policy looks at."""
        return self._layout(dict.fromkeys((*self.model.columns, *self.policy.columns)))

    @cached_property
    def remembered_without_reasons(self) -> Layout:
        """What is kept of an entity with a score whose reasons are not: what policy looks at."""
        return self._layout(self.policy.columns)

    def _layout(self, names: Iterable[str]) -> Layout:
        return Layout(tuple((name, self._dtypes[name]) for name in names))

    @cached_property
    def needed(self) -> frozenset[str]:
        """`columns` as a set."""
        return frozenset(self.columns)


def scorer_of(workspace: Workspace, views: Iterable[View], registered: Registered) -> Scorer:
    """The scorer of a registered version, with the words and the policy of a workspace.

    Raises:
        WorkspaceError, CallError: the workspace's policy is wrong.
    """
    entity = registered.model.propensity.entity
    declared = feature_map(views, entity)
    policy = Policy(workspace.settings.policy, entity)
    policy.require_columns(declared)
    return Scorer(registered.model, registered.version, declared, policy, workspace.settings.serving.fresh_for)


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


def _marks(floors: Grades, percentile: float) -> tuple[int, Grade]:
    return points(percentile), grade(percentile, floors)


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
