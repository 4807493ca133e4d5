"""What has changed since the last stored score, and by what: other data, another model, or both.

A stored score keeps the values and the contributions it was made from. As long as the same version answers, the difference of two
raw scores is the difference of their contributions. When another version answers, it is asked once more about the stored values:
from what the old version said of them to what the new one says of them, the model moved the score; from there on, the data did.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from features.errors import ContractError
from serving.ledger import Stored
from serving.reasons import Reason
from serving.score import Cause, Change, Row, Score, Trend, heading
from serving.scorer import Scorer
from training.contract import Floats

MOST_CAUSES = 3
LEAST_CAUSE = 1e-9  # log-odds; less is the rounding of a sum
APART = "; what changed in the data cannot be told apart from that"
UNREADABLE, NOT_KEPT = f", which read other features{APART}", f", of whose score the reasons were not kept{APART}"
Again = tuple[float, Floats]


@dataclass(slots=True)
class Case:
    """One entity then and now.

    Attributes:
        before: the stored score.
        score: the new one.
        values: the entity's features now.
        contributions: what each of them adds, without the model's base value.
    """

    before: Stored
    score: Score
    values: Row
    contributions: Floats


def changes(scorer: Scorer, cases: Sequence[Case]) -> list[Change | None]:
    """What moved each score since it was last stored, in the same order; None where either of the two is no score.

    Args:
        scorer: the one that made the new scores.
        cases: the entities.
    """
    found = [_change(case, case.score.score or 0) if _is_same(scorer, case) else None for case in cases]
    moved = [i for i, one in enumerate(found) if one is None]
    for i, change in zip(moved, _moved(scorer, [cases[i] for i in moved]), strict=True):
        found[i] = change
    return found


def trend(found: Change | None) -> Trend | None:
    """Where a score is heading; None without an earlier one."""
    return None if found is None else heading(found["from"], found["to"])


def _is_same(scorer: Scorer, case: Case) -> bool:
    before, now = case.before, case.score.probability
    return now is not None and before.probability == now and before.model_version == scorer.version


def _change(case: Case, before: int, causes: tuple[Cause, ...] = ()) -> Change:
    return {"from": before, "to": case.score.score or before, "since": case.before.scored_at, "causes": causes}


def _moved(scorer: Scorer, cases: Sequence[Case]) -> list[Change | None]:
    points = [_points(case) for case in cases]
    others = [i for i, case in enumerate(cases) if points[i] is not None and case.before.model_version != scorer.version]
    then = {i: cases[i].before.known for i in others}
    again = dict(zip(others, _again(scorer, list(then.values())), strict=True))
    return [
        None if before is None else _change(case, before, _causes(scorer, case, again.get(i)))
        for i, (case, before) in enumerate(zip(cases, points, strict=True))
    ]


def _points(case: Case) -> int | None:
    """The number that was shown then; None where then or now there is none."""
    if case.before.probability is None or case.score.score is None:
        return None
    points: int | None = json.loads(case.before.document).get("score")
    return points


def _causes(scorer: Scorer, case: Case, again: Again | None) -> tuple[Cause, ...]:
    before = case.before
    if before.model_version == scorer.version:
        added = np.frombuffer(before.contributions or b"", "<f8")
        return _of_data(scorer, case, added) if len(added) == len(case.contributions) else ()
    if again is None:
        return (_of_model(scorer, before, case.score.probability, UNREADABLE if before.contributions else NOT_KEPT),)
    probability, added = again
    causes = (_of_model(scorer, before, probability), *_of_data(scorer, case, added))
    return tuple(sorted(causes, key=lambda cause: -abs(cause.contribution)))


def _again(scorer: Scorer, then: Sequence[Row]) -> list[Again | None]:
    """What a version says of stored values; None of those that it cannot read, because the old version kept others."""
    if not then:
        return []
    try:
        probabilities, contributions = scorer.again(then)
    except ContractError:
        half = len(then) // 2
        return [*_again(scorer, then[:half]), *_again(scorer, then[half:])] if half else [None]
    return list(zip(probabilities.tolist(), contributions, strict=True))


def _of_data(scorer: Scorer, case: Case, added: Floats) -> tuple[Cause, ...]:
    """The measures whose part in the score has moved most, from what was added then."""
    then = case.before.known
    return tuple(
        Cause("data", _told(scorer, reason, then, case.values), reason.feature, reason.contribution)
        for reason in scorer.told(case.values, case.contributions - added)[:MOST_CAUSES]
        if abs(reason.contribution) > LEAST_CAUSE
    )


def _told(scorer: Scorer, reason: Reason, then: Row, values: Row) -> str:
    """What the value is now and what it was; a value that stayed weighs otherwise because others did not."""
    name = reason.feature
    if name not in then:
        return reason.text
    before = scorer.shown(name, then[name])
    if before == scorer.shown(name, values[name]):
        return f"{reason.text}; much as before, but it counts differently beside what has changed"
    return f"{reason.text}; before: {before}"


def _of_model(scorer: Scorer, before: Stored, probability: float | None, more: str = "") -> Cause:
    """The part of another version: from what the old one said to what this one says, by calibrated probabilities."""
    text = f"version {scorer.version} answers in place of version {before.model_version}{more}"
    return Cause("model", text, None, _log_odds(probability) - _log_odds(before.probability))


def _log_odds(probability: float | None) -> float:
    assert probability is not None  # both are scores
    return math.log(probability / (1 - probability))
