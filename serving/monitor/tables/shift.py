"""A shift: the newest of a row of figures lies where none of those before it did.

Figures are asked every night for a year, dozens of them: so a shift must be large in itself, far outside the spread of the
figures before it, and farther than nearly all of them ever strayed. The median and its absolute deviation stand for usual and
spread (Hampel, The influence curve and its role in robust estimation, JASA 69, 1974), so that a past fault moves neither.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SIGMAS = 8.0
BEYOND = 1.5  # times as far as ...
STRAYED = 0.95  # ... this share of the figures before strayed
LEAST_BEFORE = 6
_OF_NORMAL = 1.4826  # the median absolute deviation of a normal distribution is its standard deviation divided by this


@dataclass(frozen=True)
class Shift:
    """One shift.

    Attributes:
        usual, newest: the median of the figures before, and the newest figure.
        run: how many of the newest figures lie on the new side.
        sigmas: how far, in standard deviations.
    """

    usual: float
    newest: float
    run: int
    sigmas: float

    @property
    def move(self) -> float:
        return self.newest - self.usual


def shift(figures: Floats, *, least: float, noise: float) -> Shift | None:
    """The shift of the newest figure, if it is one.

    Args:
        figures: newest first; NaN where there is none.
        least: a smaller move is none.
        noise: the standard deviation that sampling gives the newest figure.
    """
    before = figures[1:][np.isfinite(figures[1:])]
    if len(before) < LEAST_BEFORE or not np.isfinite(figures[0]):
        return None
    usual, move = float(np.median(before)), float(figures[0] - np.median(before))
    if abs(move) < least:
        return None
    run = _run(figures, usual, move)
    earlier = np.abs(figures[run:][np.isfinite(figures[run:])] - usual)
    if len(earlier) < LEAST_BEFORE or abs(move) < BEYOND * float(np.quantile(earlier, STRAYED)):
        return None
    sigmas = abs(move) / max(math.hypot(noise, _OF_NORMAL * float(np.median(np.abs(before - usual)))), 1e-12)
    return Shift(usual, float(figures[0]), run, sigmas) if sigmas >= SIGMAS else None


def began(scores: Floats) -> int:
    """How many of the newest days belong to what is new: the cumulative sum, from the newest day back, is largest there.

    Page, Continuous inspection schemes, Biometrika 41 (1954), read backwards.

    Args:
        scores: one a day, newest first; above 0 where the day looks new, below where it looks usual.
    """
    return int(np.argmax(np.cumsum(scores))) + 1


def _run(figures: Floats, usual: float, move: float) -> int:
    """The newest figures that are nearer to the newest than to the usual; a missing one between them counts with them."""
    new = (np.abs(figures - usual) > abs(move) / 2) & (np.sign(figures - usual) == np.sign(move)) | ~np.isfinite(figures)
    usual_again = np.flatnonzero(~new)
    return int(usual_again[0]) if len(usual_again) else len(figures)
