"""What turns encoded rows into raw scores: trees, an additive model, or the mean of several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from training.additive import Additive
from training.contract import Explained, Floats
from training.trees import Trees

TREES, ADDITIVE = ".txt", ".json"  # the files a predictor is kept in: LightGBM's own text, or plain numbers


class Predictor(Protocol):
    """One way from a matrix to raw scores. Equal rows give equal scores to the bit, alone or among many."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' names, in the order of the matrix."""

    def raw(self, matrix: Floats) -> Floats:
        """Log-odds before calibration, one per row."""

    def explained(self, matrix: Floats) -> Explained:
        """`raw` to the same bits, and what each feature adds to it."""

    def importance(self) -> Floats:
        """The share each feature had in training; they add up to 1, or to 0 where nothing was learned."""

    def files(self) -> dict[str, str]:
        """File name to text, from which `read` makes an equal predictor."""


class Mean:
    """The mean of several predictors, in log-odds."""

    def __init__(self, members: Sequence[Predictor]) -> None:
        """Take two or more predictors of the same features."""
        self.members = tuple(members)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.members[0].columns

    def raw(self, matrix: Floats) -> Floats:
        return self._mean([member.raw(matrix) for member in self.members])

    def explained(self, matrix: Floats) -> Explained:
        parts = [member.explained(matrix) for member in self.members]
        return Explained(self._mean([part.raw for part in parts]), self._mean([part.contributions for part in parts]))

    def importance(self) -> Floats:
        return self._mean([member.importance() for member in self.members])

    def files(self) -> dict[str, str]:
        named = {}
        for number, member in enumerate(self.members, 1):
            [(name, text)] = member.files().items()
            named[name.replace(".", f"-{number}.")] = text
        return named

    def _mean(self, parts: Sequence[Floats]) -> Floats:
        total = np.zeros_like(parts[0])
        for part in parts:  # one after the other, so that the sum of one row is the sum of that row among many
            total = total + part
        return total / len(parts)


def read(files: Mapping[str, str]) -> Predictor:
    """The predictor whose `files` these are.

    Raises:
        pydantic.ValidationError: a file does not hold an additive model.
    """
    members: list[Predictor] = [Trees(text) if name.endswith(TREES) else Additive.model_validate_json(text)
                                for name, text in sorted(files.items())]  # fmt: skip
    return members[0] if len(members) == 1 else Mean(members)
