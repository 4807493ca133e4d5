"""The bins of one feature, and how many rows fall into each: deciles of numbers, the categories a model tells apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from features.strict import Strict
from training.contract import Column, Floats

PARTS = 10
MASS = 0.1  # of the rows that have a value: one value of so many is a bin of its own
MISSING, OTHER = "missing", "other"
Counts = NDArray[np.int64]


class Bins(Strict):
    """Where a feature's values are counted; the last bin is `missing`, before it of a category `other`.

    Attributes:
        edges: of a number, rising: a bin reaches from an edge up to but not including the next, the outer ones without end.
        categories: of a category, those that the model tells apart; None for a number.
    """

    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] | None = None

    @classmethod
    def of(cls, column: Column, values: Floats) -> Bins:
        """The bins of a feature from its encoded values: a value that a tenth of the rows have is a bin, the rest are parts
        of equal size, fewer where their edges coincide. A constant has three: below it, itself, above it."""
        if column.dtype == "category":
            return cls(categories=column.categories)
        known = values[np.isfinite(values)]
        if not len(known):
            return cls()
        distinct, counts = np.unique(known, return_counts=True)
        masses = distinct[counts >= MASS * len(known)]
        rest = known[~np.isin(known, masses)]
        parts = max(1, round(PARTS * len(rest) / len(known)))
        cuts = np.quantile(rest, np.linspace(0, 1, parts + 1)[1:-1], method="lower") if len(rest) else np.empty(0)
        edges = np.unique(np.r_[cuts, masses, np.nextafter(masses, np.inf)])
        return cls(edges=tuple(edges[np.isfinite(edges)].tolist()))

    @property
    def number(self) -> int:
        """How many bins there are."""
        return 2 + (len(self.edges) if self.categories is None else len(self.categories))

    def count(self, values: Floats) -> Counts:
        """The rows in each bin, of encoded values: numbers as they are, categories as codes, missing as NaN."""
        known = ~np.isnan(values)
        at = np.full(len(values), self.number - 1)
        at[known] = values[known] if self.categories is not None else np.searchsorted(self.edges, values[known], side="right")
        return np.bincount(at, minlength=self.number)

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each bin: `below 1`, `1`, `over 1 to 4`, `4 and more`, `missing`."""
        if self.categories is not None:
            return (*self.categories, OTHER, MISSING)
        if not self.edges:
            return ("any value", MISSING)
        return (f"below {_told(self.edges[0])}", *_named(self.edges), MISSING)


def _named(edges: Sequence[float]) -> Iterator[str]:
    """The bins between edges and after them; one that follows a value that is a bin of its own begins beyond it."""
    follows = [False, *(high == np.nextafter(low, np.inf) for low, high in pairwise(edges))]
    for place, (low, high) in enumerate(pairwise(edges)):
        from_low = f"over {_told(edges[place - 1])}" if follows[place] else _told(low)
        yield _told(low) if follows[place + 1] else f"{from_low} to {_told(high)}"
    yield f"over {_told(edges[-2])}" if follows[-1] else f"{_told(edges[-1])} and more"


def _told(number: float) -> str:
    """In plain digits: three of them, but every digit before the point."""
    if not np.isfinite(number):
        return "without end"
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
