"""Gradient-boosted trees as LightGBM keeps them: its own text."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import lightgbm
import numpy as np

from features.errors import ContractError
from training.contract import Explained, Floats
from training.treeshap import TreeShap, treeshap

FEW_ROWS = 1_000  # below it, waking other threads costs more than it saves


class Trees:
    """A predictor made of LightGBM's text."""

    def __init__(self, text: str) -> None:
        """Read a booster.

        Raises:
            ContractError: the text is damaged.
        """
        self.text = text
        try:
            self.booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as problem:
            raise ContractError(
                "the trees of a model",
                expected="LightGBM's text, whole",
                received=str(problem),
                repair="restore the artifact in MLflow, or train again",
            ) from None

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The features' names, in the order of the matrix."""
        return tuple(self.booster.feature_name())

    def raw(self, matrix: Floats) -> Floats:
        """LightGBM's raw score."""
        return np.asarray(self.booster.predict(matrix, raw_score=True, **_threads(matrix)), dtype=np.float64)

    def explained(self, matrix: Floats) -> Explained:
        """`raw`, and exact path-dependent TreeSHAP values (Lundberg et al. 2018).

        They are looked up in tables, or LightGBM is asked where there are none. The first call makes the tables, and compiles
        what reads them if no process on this machine has.
        """
        if self._tables is not None and self._tables.takes(matrix):
            return self._tables(matrix)
        contributions = self.booster.predict(matrix, pred_contrib=True, **_threads(matrix))
        return Explained(self.raw(matrix), np.asarray(contributions, dtype=np.float64))

    @cached_property
    def _tables(self) -> TreeShap | None:
        return treeshap(self.text)

    def importance(self) -> Floats:
        """The share of the total gain."""
        gain = np.asarray(self.booster.feature_importance("gain"), dtype=np.float64)
        shares: Floats = gain / (float(gain.sum()) or 1.0)
        return shares

    def files(self) -> dict[str, str]:
        """One file of LightGBM's text."""
        return {"model.txt": self.text}


def _threads(matrix: Floats) -> dict[str, Any]:
    return {"num_threads": 1} if len(matrix) < FEW_ROWS else {}
