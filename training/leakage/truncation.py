"""A jump of the base rate: where recording began later than the rows, a label of 0 says "not recorded"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.propensity import Propensity
from training.leakage.finding import Finding

TIMES = 3.0  # as many times as before, or fewer: beyond what a season does
UNRECORDED = 20.0  # so many times fewer at first: hardly anything was recorded; an honest drift may well be one of six times
LEAST_ENTITIES = 100  # on either side
LEAST_Z, SURE_Z = 4.0, 6.0


@dataclass(frozen=True)
class Jump:
    """An as_of that parts the dates in two, the shares with the outcome before it and from it on, and their distance."""

    as_of: pd.Timestamp
    before: float
    after: float
    z: float

    @property
    def times(self) -> float:
        lower, higher = sorted((self.before, self.after))
        return higher / lower if lower else float("inf")


def base_rate_findings(frame: pd.DataFrame, propensity: Propensity, file: str) -> list[Finding]:
    """A jump of the share with the outcome from one as_of to the next.

    Args:
        frame: `entity_id`, `as_of` and `label`.
        propensity: what the labels are of.
        file: the propensity's file, for the repair.
    """
    jump = largest_jump(frame)
    if jump is None or jump.times < TIMES or jump.z < LEAST_Z:
        return []
    rising = jump.before < jump.after
    unrecorded = rising and jump.times >= UNRECORDED and jump.z >= SURE_Z
    outcome = propensity.outcome
    place = f"{outcome.source}.{outcome.at}" if outcome.at else outcome.source
    sentence = (
        f"the outcome happened in {jump.before:.1%} of the rows before {jump.as_of:%Y-%m-%d} and in {jump.after:.1%} of those "
        f"from then on, {jump.z:.1f} standard errors apart"
    )
    if rising or propensity.outcome.absent:
        repair = f'{file}: `first_as_of = "{jump.as_of:%Y-%m-%d}"` if `{place}` was not recorded in full before'
    else:
        repair = f"`now` in adapter.toml or foresell.toml: an earlier one if `{place}` is not recorded in full up to it"
    return [Finding("base_rate", "error" if unrecorded else "warning", place, sentence, repair)]


def largest_jump(frame: pd.DataFrame) -> Jump | None:
    """The as_of at which the base rate jumps farthest in standard errors; None where there are too few dates or entities.

    Rows of one entity resemble each other, so that each side counts as no more than its entities.
    """
    dates = frame.groupby("as_of", sort=True)["label"].agg(["size", "sum"])
    life = frame.groupby("entity_id", sort=False)["as_of"].agg(["min", "max"])
    rows, positives = dates["size"].to_numpy(float), dates["sum"].to_numpy(float)
    overall, jumps = float(positives.sum() / rows.sum()), []
    for number, as_of in enumerate(dates.index[1:], 1):
        entities = (int((life["min"] < as_of).sum()), int((life["max"] >= as_of).sum()))
        rates = (_rate(positives[:number], rows[:number]), _rate(positives[number:], rows[number:]))
        error = float(np.sqrt(overall * (1 - overall) * sum(1 / count for count in entities)))
        if min(entities) >= LEAST_ENTITIES and error:
            jumps.append(Jump(as_of, *rates, abs(rates[1] - rates[0]) / error))
    return max(jumps, key=lambda jump: jump.z, default=None)


def _rate(positives: Sequence[float] | np.ndarray, rows: Sequence[float] | np.ndarray) -> float:
    return float(np.sum(positives) / np.sum(rows))
