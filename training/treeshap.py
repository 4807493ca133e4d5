"""Exact path-dependent TreeSHAP values (Lundberg et al. 2018) of LightGBM's trees, from tables made when a model is read.

What a leaf gives to a feature depends on nothing but which features on the way there a row agrees with: a few bits, as in Woodelf
(Nadel and Wettenstein 2026). So all of it is written down once, together with that of the leaves beside it (`training.groups`),
and a row only looks up one line of each table and adds it (`training.kernels`).
"""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from training.contract import Explained, Floats
from training.forest import Forest, Unsupported, read
from training.groups import CACHE_LINE, Groups, Int32s
from training.kernels import Kernels, kernels

MOST_ERROR = 1e-6  # of a contribution, in log-odds
DEVIATIONS = 8  # standard ones, which no sum of roundings reaches
ROWS_A_THREAD = 128  # at least: each thread has the whole of the tables to fetch, which costs as much as some hundred rows
_log = logging.getLogger("foresell")


class TreeShap:
    """A model's tables. Any number of threads may ask at once; equal rows get equal bits."""

    def __init__(self, forest: Forest, loops: Kernels) -> None:
        """Make the tables.

        Raises:
            Unsupported: they would be too large, or too coarse.
        """
        self._loops, self._forest, self._groups = loops, forest, Groups.of(forest)
        self._table, self._unit = self._tables()
        self._base = forest.base

    def __call__(self, matrix: Floats) -> Explained:
        """Raw scores, to LightGBM's last bit, and the values of a matrix with as many columns as the forest has features."""
        rows = np.ascontiguousarray(matrix, dtype=np.float64)
        out = np.empty((len(rows), self._forest.features + 1))
        first, *others = _parts(len(rows))
        waiting = [_pool().submit(self._explain, rows[part], out[part]) for part in others]
        self._explain(rows[first], out[first])
        for part in waiting:
            part.result()
        raw = out[:, -1].copy()
        out[:, -1] = self._base
        return Explained(raw, out)

    def takes(self, matrix: Floats) -> bool:
        """Whether a matrix has a column for each feature."""
        return matrix.ndim == 2 and matrix.shape[1] == self._forest.features

    def _explain(self, matrix: Floats, out: Floats) -> None:
        nodes, found = self._forest, self._groups
        self._loops.explain(
            matrix, found.trees, nodes.column, nodes.threshold, nodes.kind, nodes.codes, nodes.words, found.masks, found.groups,
            found.columns, self._table, self._unit, found.value, out,
        )  # fmt: skip

    def _tables(self) -> tuple[Int32s, Floats]:
        found = self._groups
        exact, unit, table = np.zeros(found.numbers), np.empty(self._forest.features + 1), _aligned(found.numbers)
        points, weights = _quadrature(int(np.diff(found.item).max(initial=0)))
        varying = found.value - np.repeat(self._forest.means, self._forest.leaves)
        self._loops.fill(
            found.groups, found.leaf, varying, found.item, found.place, found.share, found.bits, points, weights, exact
        )  # fmt: skip
        self._loops.rounded(found.groups, found.columns, exact, unit, table)
        if not (self._errors(unit) <= MOST_ERROR).all():
            raise Unsupported("leaves so large that whole numbers are too coarse")
        return table, unit

    def _errors(self, unit: Floats) -> Floats:
        """How far off each feature's contributions may be: each group adds a rounding, evenly spread over a unit."""
        added = np.bincount(self._groups.columns, minlength=len(unit))[: self._forest.features]
        errors: Floats = DEVIATIONS * unit[:-1] * np.sqrt(added / 12)
        return errors


def _aligned(size: int) -> Int32s:
    """Zeros whose first begins a line of the processor's."""
    room: Int32s = np.zeros(size + CACHE_LINE, dtype=np.int32)
    start = -(room.ctypes.data // room.itemsize) % CACHE_LINE
    return room[start : start + size]


def treeshap(text: str) -> TreeShap | None:
    """The tables of LightGBM's text, or None where only LightGBM can: no numba, or a model that is not supported."""
    try:
        return TreeShap(read(text), kernels())
    except (Unsupported, ImportError) as why:
        _log.warning("exact reasons are asked of LightGBM, which takes a hundred times as long for many rows: %s", why)
        return None


def processors() -> int:
    """How many of the machine's processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parts(rows: int) -> list[slice]:
    """The rows for each processor."""
    number = min(processors(), max(1, rows // ROWS_A_THREAD))
    return [slice(rows * i // number, rows * (i + 1) // number) for i in range(number)]


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(processors(), "treeshap")


def _quadrature(most: int) -> tuple[Floats, Floats]:
    """Gauss and Legendre's points and weights on [0, 1], exact for the product of that many features less one: a row a number."""
    points, weights = np.zeros((2, most + 1, most // 2 + 1))
    for features in range(1, most + 1):
        count = (features + 1) // 2
        at, weight = np.polynomial.legendre.leggauss(count)
        points[features, :count], weights[features, :count] = (at + 1) / 2, weight / 2
    return points, weights
