"""An additive model: log-odds are an intercept and one term for each feature, all plain numbers.

A rule of thumb, naive Bayes and logistic regression are all of this form, so that one reader serves them, and their
contributions need no approximation: a term is what its feature adds.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from features.strict import Strict
from training.contract import Explained, Floats

Shape = Literal["line", "step", "code"]


class Term(Strict):
    """What one feature adds to the log-odds, as far as it departs from its mean in training.

    Attributes:
        feature: its name.
        shape: `line`: straight between knots and level beyond them; `step`: one weight for each interval `(edge, next edge]`;
            `code`: one weight for each category's code.
        at: knots or edges; empty for codes.
        weights: as many as knots; one more than edges; as many as codes.
        missing: what a missing value adds.
        spread: the standard deviation of what it added in training.
    """

    feature: str
    shape: Shape
    at: tuple[float, ...] = ()
    weights: tuple[float, ...]
    missing: float
    spread: float

    def added(self, values: Floats) -> Floats:
        """The term of each value; NaN is missing."""
        weights = np.array(self.weights)
        if self.shape == "line":
            found = np.interp(values, self.at, weights)
        elif self.shape == "step":
            found = weights[np.searchsorted(self.at, values, side="left")]
        else:
            found = weights[np.where(np.isnan(values), 0, values).astype(np.intp)]
        return np.where(np.isnan(values), self.missing, found)


class Additive(Strict):
    """A predictor that is a sum of terms, one for each feature in the order of the matrix."""

    intercept: float
    terms: tuple[Term, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The features' names, in the order of the matrix."""
        return tuple(term.feature for term in self.terms)

    def raw(self, matrix: Floats) -> Floats:
        """The intercept and the terms, added one after the other, so that a row alone gives the bits it gives among many."""
        total = np.full(len(matrix), self.intercept)
        for position, term in enumerate(self.terms):
            total = total + term.added(matrix[:, position])
        return total

    def explained(self, matrix: Floats) -> Explained:
        """`raw`; the terms as they are, and last the intercept."""
        added = [term.added(matrix[:, position]) for position, term in enumerate(self.terms)]
        return Explained(self.raw(matrix), np.column_stack([*added, np.full(len(matrix), self.intercept)]))

    def importance(self) -> Floats:
        """The share of each feature in the sum of the spreads."""
        spread = np.array([term.spread for term in self.terms])
        shares: Floats = spread / (float(spread.sum()) or 1.0)
        return shares

    def files(self) -> dict[str, str]:
        """One file of JSON."""
        return {"model.json": self.model_dump_json(indent=1)}


def centred(feature: str, shape: Shape, at: Floats, weights: Floats, missing: float, values: Floats) -> tuple[Term, float]:
    """A term that is 0 in the mean of the training values, and the mean that was taken out of it.

    Args:
        feature, shape, at, weights, missing: of the term before it is centred.
        values: the feature's column in training.
    """
    plain = Term(
        feature=feature, shape=shape, at=tuple(at.tolist()), weights=tuple(weights.tolist()), missing=missing, spread=0.0
    )
    added = plain.added(values)
    mean = float(added.mean())
    moved = {"weights": tuple((weights - mean).tolist()), "missing": missing - mean, "spread": float(added.std())}
    return plain.model_copy(update=moved), mean
