"""What has changed since the last stored score, and by what: other data, another model, or both.

A stored score keeps the values and the contributions it was made from. As long as the same version answers, the difference of two
scores is the difference of their contributions. When another version answers, it is asked once more about the stored values: from
what the old version said of them to what the new one says of them, the model moved the score; from there on, the data did.
"""

from __future__ import annotations

import json
import math

import numpy as np

from features.errors import ContractError
from serving.ledger import Stored
from serving.score import Cause, Change, Row, Score, Trend
from serving.scorer import Scorer
from training.contract import Floats

STEADY = 3  # points of 100; a smaller difference is no trend
MOST_CAUSES = 3
LEAST_CAUSE = 1e-9  # log-odds; less is the rounding of a sum


def change(scorer: Scorer, before: Stored, score: Score, values: Row, contributions: Floats) -> Change | None:
    """What moved a score since it was last stored.

    Args:
        scorer: the one that made the new score.
        before: the stored score.
        score: the new one.
        values: the entity's features now.
        contributions: what each of them adds, without the model's base value.

    Returns:
        The change; None where either of the two is no score.
    """
    if before.probability is None or score.score is None or score.probability is None:
        return None
    if before.model_version == scorer.version and before.probability == score.probability:
        return Change(score.score, score.score, before.scored_at, ())
    points = json.loads(before.document).get("score")
    if points is None:
        return None
    return Change(points, score.score, before.scored_at, _causes(scorer, before, values, contributions))


def trend(found: Change | None) -> Trend | None:
    """Where a score is heading; None without an earlier one."""
    if found is None:
        return None
    if abs(found.to - found.from_) < STEADY:
        return "steady"
    return "rising" if found.to > found.from_ else "falling"


def _causes(scorer: Scorer, before: Stored, values: Row, contributions: Floats) -> tuple[Cause, ...]:
    then: Row = json.loads(before.features) if isinstance(before.features, bytes) else before.features or {}
    if before.model_version == scorer.version:
        added = np.frombuffer(before.contributions or b"", "<f8")
        return _of_data(scorer, then, values, contributions - added) if len(added) == len(contributions) else ()
    try:
        probability, added = scorer.again(then)
    except ContractError:  # the new version knows features that the old one did not keep
        return (_of_model(scorer, before, None),)
    moved = _of_data(scorer, then, values, contributions - added)
    return tuple(sorted((_of_model(scorer, before, probability), *moved), key=lambda cause: -abs(cause.contribution)))


def _of_data(scorer: Scorer, then: Row, values: Row, moved: Floats) -> tuple[Cause, ...]:
    return tuple(
        Cause("data", f"{reason.text}; before: {scorer.shown(reason.feature, then.get(reason.feature))}", reason.feature,
              reason.contribution)
        for reason in scorer.told(values, moved)[:MOST_CAUSES]
        if abs(reason.contribution) > LEAST_CAUSE
    )  # fmt: skip


def _of_model(scorer: Scorer, before: Stored, probability: float | None) -> Cause:
    """The part of another version; without its word on the old values, all that is known is that it answers."""
    text = f"version {scorer.version} answers in place of version {before.model_version}"
    moved = 0.0 if probability is None else _log_odds(probability) - _log_odds(before.probability or 0.5)
    return Cause("model", text, None, moved)


def _log_odds(probability: float) -> float:
    return math.log(probability / (1 - probability))
