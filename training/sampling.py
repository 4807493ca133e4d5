"""Sampling: which share of the rows one machine learns from, and what it takes to undo it.

Where an outcome is rare nearly all rows are negatives that say the same; so the rarer outcome is kept as long as may be. Nothing
of it reaches a probability: the calibration weighs every row by what it stands for, and what is tested on is thinned to one share
of both outcomes, which is a plain sample.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.strict import Strict

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
Mask = NDArray[np.bool_]
RESOLUTION = 1_000_000_000


class Sampling(Strict):
    """The share of the rows of each outcome that were kept, and of how many.

    Attributes:
        known: rows there were.
        positives: rows with the outcome among them.
        positives_kept, negatives_kept: the share of each that was kept, more than 0 and up to 1.
    """

    known: int
    positives: int
    positives_kept: float
    negatives_kept: float

    @classmethod
    def of(cls, known: int, positives: int, most: int, dates: int) -> Sampling:
        """The shares by which at most about `most` rows remain.

        The rarer outcome gets up to half of them. Of a single date both get one share: there every row is tested on.
        """
        if known <= most or dates == 1:
            share = min(1.0, most / max(known, 1))
            return cls(known=known, positives=positives, positives_kept=share, negatives_kept=share)
        rarer, rest = sorted((positives, known - positives))
        of_rarer = min(1.0, most / 2 / max(rarer, 1))
        of_rest = min(1.0, (most - of_rarer * rarer) / rest)
        shares = (of_rarer, of_rest) if positives == rarer else (of_rest, of_rarer)
        return cls(known=known, positives=positives, positives_kept=shares[0], negatives_kept=shares[1])

    @property
    def thins(self) -> bool:
        """Whether the outcomes are kept in other shares than they came."""
        return self.positives_kept != self.negatives_kept

    def weights(self, labels: Labels) -> Floats:
        """How many rows each row stands for, in units of the outcome that was kept less sparingly: from 0 to 1."""
        least = min(self.positives_kept, self.negatives_kept)
        return np.where(labels == 1, least / self.positives_kept, least / self.negatives_kept)

    def plain(self, rows: pd.DataFrame, labels: Labels) -> Mask:
        """Rows of both outcomes in one share: what a plain sample of everybody would have been.

        Args:
            rows: `entity_id` and `as_of`; the same row is always on the same side.
            labels: 0 or 1.
        """
        lot = pd.util.hash_pandas_object(rows[["entity_id", "as_of"]], index=False).to_numpy() % RESOLUTION
        mask: Mask = lot < self.weights(labels) * RESOLUTION
        return mask

    @property
    def sentence(self) -> str:
        """What was done, for the report."""
        kept = f"{self.positives_kept:.2%} of those with the outcome and {self.negatives_kept:.2%} of those without"
        undone = "; the calibration weighs them by that, and the test has both in one share" if self.thins else ""
        return f"Learned from a sample of {self.known:,} rows, {kept}{undone}."
