"""What does not count towards the worth of acting on scores, in sentences."""

from __future__ import annotations

from datetime import datetime

from features.propensity import Propensity
from serving.monitor.worth.trial import Trial


def notes(question: Propensity, trial: Trial, kept_since: datetime | None, least: int) -> tuple[str, ...]:
    """What did not count, and why.

    Args:
        question: the propensity.
        trial: who took part.
        kept_since: what was told before is forgotten; None where no action is logged.
        least: of fewer entities in a group nothing is said.
    """
    cost, forgotten = question.value.cost if question.value else 0.0, _before(trial, kept_since)
    told = [
        (f"Scored under another holdout, and not counted: {_nights(trial.other_holdout)}.", trial.other_holdout),
        ("Explored otherwise than `[policy] exploration` says now, and not counted: "
         f"{_nights(trial.other_exploration)}.", trial.other_exploration),
        (f"Counted in no grade, because the version or the snapshots are gone: {_nights(trial.ungraded)}.", trial.ungraded),
        (f"No action is logged, so the {cost:,.2f} that a contact costs are not taken off.", cost and kept_since is None),
        (f"What was done about {forgotten:,} of the oldest may be forgotten: `[serving] keep_days` is shorter than scores are "
         "kept, so they may count as not acted on.", forgotten),
    ]  # fmt: skip
    return (*(sentence for sentence, is_so in told if is_so), *_too_few(question, trial, least))


def _before(trial: Trial, kept_since: datetime | None) -> int:
    return 0 if kept_since is None else int((trial.firsts["as_of"] < kept_since).sum())


def _too_few(question: Propensity, trial: Trial, least: int) -> list[str]:
    """Why nothing is said of who was explored; nothing where something is, or where nobody's outcome is known."""
    below = trial.drawn[trial.drawn["grade"].isin(["B", "C", "D"])]
    explored = int(below["explore"].sum())
    never = len(below) - explored
    if not len(below) or min(explored, never) >= least:
        return []
    return [
        f"Below grade A {explored:,} were explored, and {never:,} are so in no week of {question.horizon.days} days: of fewer "
        f"than {least} nothing is said{'; a smaller `[policy] exploration` leaves more to compare with' * (never < explored)}."
    ]


def _nights(number: int) -> str:
    return "1 night" if number == 1 else f"{number:,} nights"
