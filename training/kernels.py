"""The loops of `training.treeshap`: plain Python that numba compiles when they are first wanted, once per machine where it can."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from training.contract import Floats
from training.forest import CATEGORY, NAN_LEFT, NAN_RIGHT, ZERO_LEFT, Ints

BLOCK = 256  # rows whose values and sums stay near the processor while a tree is gone through
ZERO = float(np.float32(1e-35))  # LightGBM takes what is nearer to zero for zero
_LOCK = threading.Lock()
_F, _I, _FF, _II = "float64[::1]", "int64[::1]", "float64[:, ::1]", "int64[:, ::1]"
_FILL = f"void({_I}, {_I}, {_I}, {_I}, {_F}, {_I}, {_I}, {_F}, {_I}, {_I}, {_FF}, {_FF}, {_F})"
_EXPLAIN = f"void({_FF}, {_II}, {_I}, {_F}, {_I}, {_II}, uint32[::1], {_II}, {_II}, {_I}, {_F}, {_FF})"


class Kernels(NamedTuple):
    """The compiled loops."""

    fill: Callable[..., None]
    explain: Callable[..., None]


def kernels() -> Kernels:
    """The loops, compiled or read from numba's cache.

    Raises:
        ImportError: numba is not there, or does not go with numpy.
    """
    with _LOCK:
        return _compiled()


@cache
def _compiled() -> Kernels:
    import numba
    from numba.extending import register_jitable

    for part in (_add_leaf, _turn, _decide, _decide_zero, _decide_code, _add_group):
        register_jitable(part)

    def compiled(loop: Callable[..., None], signature: str) -> Callable[..., None]:
        try:
            return numba.njit(signature, cache=True, nogil=True)(loop)
        except (RuntimeError, OSError):  # there is nowhere to keep it
            return numba.njit(signature, nogil=True)(loop)

    return Kernels(compiled(fill, _FILL), compiled(explain, _EXPLAIN))


def fill(
    bits: Ints, width: Ints, start: Ints, leaf: Ints, value: Floats, item: Ints, column: Ints, zero: Floats, care: Ints, want: Ints,
    points: Floats, weights: Floats, table: Floats,
) -> None:  # fmt: skip
    """The tables: what the leaves of a group add together, a row for each pattern of its bits, a column for each of its features.

    Args:
        bits: of each group.
        width: of each group: the number of its features.
        start: of each group, the place of its first number in `table`.
        leaf: of each group, its first leaf; one more than groups.
        value: of each leaf.
        item: of each leaf, its first item; one more than leaves. An item is a feature on the way to a leaf.
        column: of each item: which feature of the group.
        zero: of each item: the share of rows that go the leaf's way at the nodes with this feature.
        care: of each item: the bits that tell whether a row goes the leaf's way.
        want: of each item: what those bits must be.
        points: of Gauss and Legendre on [0, 1], a row for each number of features.
        weights: of those points.
        table: is written.
    """
    on, before = np.empty(64), np.empty(64)
    for group in range(len(bits)):
        for pattern in range(1 << bits[group]):
            row = table[start[group] + pattern * width[group] : start[group] + (pattern + 1) * width[group]]
            row[:] = 0.0
            for place in range(leaf[group], leaf[group + 1]):
                first, last = item[place], item[place + 1]
                for i in range(first, last):
                    on[i - first] = 1.0 if pattern & care[i] == want[i] else 0.0
                _add_leaf(
                    value[place], on, zero[first:last], column[first:last], points[last - first], weights[last - first], before, row
                )


def _add_leaf(
    value: float, on: Floats, zero: Floats, column: Ints, points: Floats, weights: Floats, before: Floats, row: Floats
) -> None:  # fmt: skip
    """Add each feature's Shapley value in the game `value * product(on, of the coalition) * product(zero, of the others)`."""
    features = len(zero)
    for q in range((features + 1) // 2):
        t, product = points[q], value * weights[q]
        for i in range(features):
            before[i] = product
            product *= t * on[i] + (1.0 - t) * zero[i]
        product = 1.0
        for i in range(features - 1, -1, -1):
            row[column[i]] += (on[i] - zero[i]) * before[i] * product
            product *= t * on[i] + (1.0 - t) * zero[i]


def explain(
    matrix: Floats, trees: Ints, column: Ints, threshold: Floats, kind: Ints, codes: Ints, words: Ints, masks: Ints, groups: Ints,
    features: Ints, table: Floats, out: Floats,
) -> None:  # fmt: skip
    """Add up the rows of the tables that the rows of a matrix choose, tree by tree, group by group.

    Args:
        matrix: a row a case, a column a feature.
        trees: a row a tree: nodes, groups, words a row's patterns take, bits a pattern takes.
        column: of each node, its feature.
        threshold: of each node.
        kind: of each node.
        codes: of each node, where its words begin and end.
        words: sets of codes.
        masks: what stays of the patterns, a row for each node and word of its tree: if the decision is left, if it is right.
        groups: a row a group: the place of its first number in `table`, its first place in `features`, its number of features.
        features: the columns of each group.
        table: of `fill`.
        out: is written: a row a case, a column a feature; the last is left as it is.
    """
    most = min(BLOCK, len(matrix))
    x, sums = np.empty((matrix.shape[1], most)), np.empty((matrix.shape[1], most))
    patterns, places = np.empty((np.max(trees[:, 2]), most), dtype=np.int64), np.empty(most, dtype=np.int64)
    for begin in range(0, len(matrix), most):
        rows = min(most, len(matrix) - begin)
        _turn(matrix[begin : begin + rows], x)
        sums[:] = 0.0
        node = mask = group = 0
        for tree in range(len(trees)):
            patterns[:] = -1
            for _ in range(trees[tree, 0]):
                for word in range(trees[tree, 2]):
                    left, right = masks[mask, 0], masks[mask, 1]
                    if kind[node] <= NAN_LEFT:
                        _decide(x[column[node]], threshold[node], kind[node], left, right, patterns[word], rows)
                    elif kind[node] == CATEGORY:
                        _decide_code(x[column[node]], words[codes[node, 0] : codes[node, 1]], left, right, patterns[word], rows)
                    else:
                        _decide_zero(x[column[node]], threshold[node], kind[node], left, right, patterns[word], rows)
                    mask += 1
                node += 1
            lane, per_word = trees[tree, 3], 64 // trees[tree, 3]
            for number in range(trees[tree, 1]):
                pattern, shift = patterns[number // per_word], number % per_word * lane
                width = groups[group, 2]
                for row in range(rows):
                    places[row] = groups[group, 0] + (pattern[row] >> shift & ((1 << lane) - 1)) * width
                _add_group(features[groups[group, 1] : groups[group, 1] + width], places, table, sums, rows)
                group += 1
        for row in range(rows):
            for feature in range(matrix.shape[1]):
                out[begin + row, feature] = sums[feature, row]


def _turn(matrix: Floats, x: Floats) -> None:
    for row in range(len(matrix)):
        for feature in range(matrix.shape[1]):
            value = matrix[row, feature]
            x[feature, row] = 0.0 if abs(value) <= ZERO else value


def _decide(x: Floats, threshold: float, kind: int, left: int, right: int, pattern: Ints, rows: int) -> None:
    if kind == NAN_RIGHT:
        for row in range(rows):
            pattern[row] &= left if x[row] <= threshold else right
    else:
        for row in range(rows):
            pattern[row] &= right if x[row] > threshold else left


def _decide_zero(x: Floats, threshold: float, kind: int, left: int, right: int, pattern: Ints, rows: int) -> None:
    missing = left if kind == ZERO_LEFT else right
    for row in range(rows):
        there = left if x[row] <= threshold else right
        pattern[row] &= missing if x[row] == 0.0 or np.isnan(x[row]) else there


def _decide_code(x: Floats, words: Ints, left: int, right: int, pattern: Ints, rows: int) -> None:
    codes = 32.0 * len(words)
    for row in range(rows):
        inside = -1.0 < x[row] < codes  # a code is cut to a whole number; NaN is not inside
        code = int(x[row]) if inside else 0
        pattern[row] &= left if inside and words[code >> 5] >> (code & 31) & 1 else right


def _add_group(features: Ints, places: Ints, table: Floats, sums: Floats, rows: int) -> None:
    for i in range(len(features)):
        total = sums[features[i]]
        for row in range(rows):
            total[row] += table[places[row] + i]
