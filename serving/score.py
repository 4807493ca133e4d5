"""A score: everything that is said of one entity for one propensity, over HTTP, after a webhook and in the nightly batch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from typing_extensions import TypedDict  # pydantic does not take Python 3.11's own

from serving.plain import Plain
from serving.policy import Held
from serving.reasons import Reason
from serving.wording import Value

Grade = Literal["A", "B", "C", "D"]
Trend = Literal["rising", "steady", "falling"]
Row = Mapping[str, Value]
STEADY = 3  # points of 100; a smaller difference is no trend


class Cause(Plain):
    """One thing that moved a score.

    Attributes:
        cause: `data` when a measure changed, `model` when another version answers.
        text: in words.
        feature: the one that is spoken about; None for a model.
        contribution: by how much it moved the log-odds; a positive one raised the probability.
    """

    cause: Literal["data", "model"]
    text: str
    feature: str | None
    contribution: float


Change = TypedDict("Change", {"from": int, "to": int, "since": datetime, "causes": tuple[Cause, ...]})
Change.__doc__ = """From the last stored score to this one.

Attributes:
    from: the score before, 1 to 100.
    to: the score now, 1 to 100.
    since: when the stored score was made.
    causes: what moved it, largest first; empty when nothing did.
"""


class Score(Plain):
    """What is foreseen of one entity for one propensity, or why nothing is.

    Attributes:
        entity_id: the CRM's id; None for a newcomer that has none yet.
        propensity: which question.
        eligible: whether the question applies; if not, `why` says so and there is neither score nor reason.
        why: in a sentence, why there is no score; None where there is one.
        policy: `holdout` or `suppressed` where a score is withheld, whatever the model would say.
        score: 1 to 100, the percentile rounded up.
        probability: calibrated, 0 to 1.
        percentile: the share of the model's reference population with a lower probability, 0 to 1.
        grade: A to D, by the propensity's percentile floors.
        expected_value: the probability times what an outcome is worth; None without a `[value]`.
        reasons: the features that moved it most, largest first.
        missing: the model's features for which there is no value.
        unseen: the features whose category the model never learned.
        stale: the model's features that were known longer ago than the workspace calls fresh.
        feature_as_of: the instant before which the features were known.
        scored_at: the instant at which the score was made.
        model_version: the version that answered.
        explore: act on this one although the score does not say so: it belongs to the share of the week that is explored, by
            which segments that scores disfavour can prove themselves; never where there is no score.
        degraded: whether this is the last stored score, because the online store does not answer.
        trend, change: against the last stored score; None where there is none.
    """

    entity_id: str | None
    propensity: str
    eligible: bool
    why: str | None
    policy: Held | None
    score: int | None
    probability: float | None
    percentile: float | None
    grade: Grade | None
    expected_value: float | None
    reasons: tuple[Reason, ...]
    missing: tuple[str, ...]
    unseen: tuple[str, ...]
    stale: tuple[str, ...]
    feature_as_of: datetime | None
    scored_at: datetime
    model_version: str
    explore: bool = False
    degraded: bool = False
    trend: Trend | None = None
    change: Change | None = None


def heading(before: int, now: int) -> Trend:
    """Where a score is heading."""
    if abs(now - before) < STEADY:
        return "steady"
    return "rising" if now > before else "falling"
