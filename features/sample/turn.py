"""How the sample CRM's world turns: from an instant on outcomes happen more often, or to others than before.

A turn changes what happens, and with it the true probabilities; no row says that it came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from features.sample.risk import Floats


@dataclass(frozen=True)
class Turn:
    """From `since` (UTC, a midnight) on the rate of every win, cancellation and upgrade is another one.

    Attributes:
        since: the instant.
        rate: how many times as often it happens.
        weeks: in so many weeks the lasting inclinations, which come of what is written in the CRM, turn round, on half a
            circle: who was likeliest becomes least likely. The mean rate stays. 0: they never turn.
    """

    since: datetime
    rate: float = 1.0
    weeks: float = 0.0

    def cosine(self, after: Floats) -> Floats:
        """How much of the inclination is left, from 1 to -1, so many weeks after `since`."""
        share = np.clip(after / self.weeks, 0, 1) if self.weeks else np.zeros(after.shape)
        return np.asarray(np.cos(math.pi * share))


def pace(turns: Sequence[Turn], start: datetime, steps: Floats, lean: Floats) -> Floats:
    """What the turns multiply a rate by.

    Args:
        turns: of the world.
        start: the instant of step 0.
        steps: the beginning of each step, in weeks since `start`, (steps,).
        lean: the logarithm of each subject's lasting inclination, (subjects,).

    Returns:
        (subjects, steps): 1 before the first turn. A turned inclination is scaled so that its mean over the subjects stays.
    """
    factor, cosine = np.ones(len(steps)), np.ones(len(steps))
    for turn in turns:
        after = steps - (turn.since - start) / timedelta(weeks=1)
        factor, cosine = factor * np.where(after >= 0, turn.rate, 1.0), cosine * turn.cosine(after)
    levels, place = np.unique(cosine, return_inverse=True)
    turned = np.exp(lean[:, None] * levels)
    scaled = turned * np.exp(lean).mean() / turned.mean(axis=0) / np.exp(lean)[:, None]
    scaled[:, levels == 1.0] = 1.0
    return np.asarray(scaled[:, place] * factor)
