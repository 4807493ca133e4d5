"""The loops of `training.treeshap`: plain Python that numba compiles when they are first wanted, once per machine where it can.

Contributions are sums of whole numbers, and what the trees say is added up tree by tree in every loop: a row gets the same bits
alone and among many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from training.contract import Floats
from training.filling import add_leaf, fill, rounded
from training.forest import CATEGORY, NAN_LEFT, NAN_RIGHT, ZERO_LEFT, Ints
from training.groups import CACHE_LINE, LINE, Int32s, whole_lines

COMPILED_WITH = "78ec7e95d5757621"  # a digest of what else is compiled in, or numba would go on with what it kept
ROW_BY_ROW = 3  # rows; up to so many, one after the other is faster than side by side
BLOCK = 504  # rows side by side, whose values and sums stay near the processor; a power of two puts columns in each other's way
ZERO = float(np.float32(1e-35))  # LightGBM takes what is no farther from zero for zero
_LOCK = threading.Lock()
_F, _I, _FF, _II, _T = "float64[::1]", "int64[::1]", "float64[:, ::1]", "int64[:, ::1]", "int32[::1]"
_FILL = f"void({_II}, {_I}, {_F}, {_I}, {_I}, {_F}, {_II}, {_FF}, {_FF}, {_F})"
_ROUNDED = f"void({_II}, {_I}, {_F}, {_F}, {_T})"
_EXPLAIN = f"void({_FF}, {_II}, {_I}, {_F}, {_I}, {_II}, uint32[::1], {_II}, {_II}, {_I}, {_T}, {_F}, {_F}, {_FF})"


class Kernels(NamedTuple):
    """The compiled loops."""

    fill: Callable[..., None]
    rounded: Callable[..., None]
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
    from numba.extending import overload, register_jitable

    from training.lanes import adding

    overload(_add_lines)(adding())
    for part in (
        add_leaf,
        _goes_left,
        _choose,
        _add_row,
        _row_by_row,
        _turn,
        _decide,
        _decide_code,
        _decide_zero,
        _add_group,
        whole_lines,
        _add_leaves,
        _turn_back,
        _side_by_side,
    ):
        register_jitable(part)

    def compiled(loop: Callable[..., None], signature: str) -> Callable[..., None]:
        made: Callable[..., None]
        try:
            made = numba.njit(signature, cache=True, nogil=True)(loop)
        except (RuntimeError, OSError):  # there is nowhere to keep it
            made = numba.njit(signature, nogil=True)(loop)
        return made

    return Kernels(compiled(fill, _FILL), compiled(rounded, _ROUNDED), compiled(explain, _EXPLAIN))


def explain(
    matrix: Floats, trees: Ints, column: Ints, threshold: Floats, kind: Ints, codes: Ints, words: Ints, masks: Ints, groups: Ints,
    columns: Ints, table: Int32s, unit: Floats, leaves: Floats, out: Floats,
) -> None:  # fmt: skip
    """Add up what the patterns of each row choose from the tables.

    Patterns begin with every bit set; each node's decision leaves of all patterns of its tree what its mask says (an idea of
    QuickScorer, Lucchese et al. 2015), so that a tree is gone through without a jump.

    Args:
        matrix: a row a case, a column a feature.
        trees: a row a tree: nodes, groups, words that its patterns take, bits that a pattern takes in them.
        column: of each node, its feature.
        threshold: of each node.
        kind: of each node.
        codes: of each node, where its words of codes begin and end.
        words: of codes.
        masks: for each node, and each word of its tree: what a decision to the left leaves, and one to the right.
        groups: a row a group: its first place in `table`, its first place in `columns`, its number of columns, its last pattern,
            from one pattern's place to the next.
        columns: of the groups: what a table's columns are: features, numbered as in the matrix, then the leaf, numbered after all
            of these. Up to a whole line follows the number after that.
        table, unit: of `rounded`.
        leaves: the value of each, numbered as in the tables.
        out: is written: a row a case, a column a feature; last what the trees say, which is LightGBM's raw score to the last bit.
    """
    if len(matrix) <= ROW_BY_ROW:
        _row_by_row(matrix, trees, column, threshold, kind, codes, words, masks, groups, columns, table, unit, leaves, out)
    else:
        _side_by_side(matrix, trees, column, threshold, kind, codes, words, masks, groups, columns, table, unit, leaves, out)


def _row_by_row(
    matrix: Floats, trees: Ints, column: Ints, threshold: Floats, kind: Ints, codes: Ints, words: Ints, masks: Ints, groups: Ints,
    columns: Ints, table: Int32s, unit: Floats, leaves: Floats, out: Floats,
) -> None:  # fmt: skip
    """First every choice, then every sum: so the processor fetches many rows of the tables at once."""
    most_words = trees[:, 2].max()
    chosen, patterns = np.empty(len(groups), dtype=np.int64), np.empty(most_words, dtype=np.int64)
    sums, last = np.empty(out.shape[1], dtype=np.int64), out.shape[1] - 1
    for row in range(len(matrix)):
        node = mask = group = 0
        for tree in range(len(trees)):
            nodes, words_here = trees[tree, 0], trees[tree, 2]
            patterns[:words_here] = -1
            for n in range(node, node + nodes):
                value = matrix[row, column[n]]
                if kind[n] <= NAN_LEFT:  # here and not in a function, whose call costs more than the decision
                    near = 0.0 if abs(value) <= ZERO else value
                    left = (near <= threshold[n]) | ((value != value) & (kind[n] == NAN_LEFT))
                else:
                    left = _goes_left(value, threshold[n], kind[n], codes[n], words)
                side = 0 if left else 1
                for word in range(words_here):
                    patterns[word] &= masks[mask, side]
                    mask += 1
            _choose(trees[tree, 1], trees[tree, 3], patterns, groups, group, chosen)
            node, group = node + nodes, group + trees[tree, 1]
        sums[:] = 0
        out[row, last] = 0.0
        group = 0
        for tree in range(len(trees)):
            _add_row(groups, columns, chosen, table, sums, group, group + trees[tree, 1])
            group += trees[tree, 1]
            out[row, last] += leaves[sums[last] - 1]
            sums[last] = 0
        for feature in range(last):
            out[row, feature] = sums[feature] * unit[feature]


def _goes_left(value: float, threshold: float, kind: int, codes: Ints, words: Ints) -> bool:
    """LightGBM's decision at codes, cut to whole numbers (NaN and others than the set go right), or where zero is missing."""
    if kind == CATEGORY:
        inside = -1.0 < value < 32.0 * (codes[1] - codes[0])
        code = int(value) if inside else 0
        return inside and words[codes[0] + (code >> 5)] >> (code & 31) & 1 == 1
    if value != value or abs(value) <= ZERO:
        return kind == ZERO_LEFT
    return value <= threshold


def _choose(count: int, lane: int, patterns: Ints, groups: Ints, group: int, chosen: Ints) -> None:
    for number in range(count):
        at = number * lane
        pattern = patterns[at >> 6] >> (at & 63) & groups[group, 3]
        chosen[group] = groups[group, 0] + pattern * groups[group, 4]
        group += 1


def _add_row(groups: Ints, columns: Ints, chosen: Ints, table: Int32s, sums: Ints, begin: int, end: int) -> None:
    for group in range(begin, end):
        first, at = groups[group, 1], chosen[group]
        for i in range(groups[group, 2]):
            sums[columns[first + i]] += table[at + i]


def _side_by_side(
    matrix: Floats, trees: Ints, column: Ints, threshold: Floats, kind: Ints, codes: Ints, words: Ints, masks: Ints, groups: Ints,
    columns: Ints, table: Int32s, unit: Floats, leaves: Floats, out: Floats,
) -> None:  # fmt: skip
    """Blocks of rows, turned so that neighbours in memory are the same feature of different rows.

    What is called here for each node or group gets whole arrays and a place in them: to cut out a part costs more than to use it.
    A block is filled up to whole lines with rows that agree with everything, and the sums have one more column, which nobody
    reads, for what fills up a table's.
    """
    most, most_words = whole_lines(min(BLOCK, len(matrix))), trees[:, 2].max()
    x, sums, raw = np.empty((matrix.shape[1], most)), np.empty((out.shape[1] + 1, most), dtype=np.int64), np.empty(most)
    patterns, chosen = np.empty((most_words, most), dtype=np.int64), np.empty(most, dtype=np.int64)
    for begin in range(0, len(matrix), most):
        rows = min(most, len(matrix) - begin)
        _turn(matrix, begin, rows, x)
        sums[:] = 0
        raw[:] = 0.0
        node = mask = group = 0
        for tree in range(len(trees)):
            patterns[:] = -1
            for n in range(node, node + trees[tree, 0]):
                for word in range(trees[tree, 2]):
                    left, right = masks[mask, 0], masks[mask, 1]
                    if kind[n] <= NAN_LEFT:
                        _decide(x, column[n], threshold[n], kind[n], left, right, patterns, word, rows)
                    elif kind[n] == CATEGORY:
                        _decide_code(x, column[n], codes, n, words, left, right, patterns, word, rows)
                    else:
                        _decide_zero(x, column[n], threshold[n], kind[n], left, right, patterns, word, rows)
                    mask += 1
            node += trees[tree, 0]
            for number in range(trees[tree, 1]):
                at = number * trees[tree, 3]
                _add_group(groups, group, columns, patterns, at >> 6, at & 63, chosen, table, sums, whole_lines(rows))
                group += 1
            _add_leaves(leaves, sums, raw, rows)
        _turn_back(sums, raw, unit, begin, rows, out)


def _add_leaves(leaves: Floats, sums: Ints, raw: Floats, rows: int) -> None:
    """Add the leaf that each row came to in a tree: exactly one of its groups has told its number, counted from 1."""
    number = len(sums) - 2
    for row in range(rows):
        raw[row] += leaves[sums[number, row] - 1]
        sums[number, row] = 0


def _turn_back(sums: Ints, raw: Floats, unit: Floats, begin: int, rows: int, out: Floats) -> None:
    last = out.shape[1] - 1
    for row in range(rows):
        for feature in range(last):
            out[begin + row, feature] = sums[feature, row] * unit[feature]
        out[begin + row, last] = raw[row]


def _turn(matrix: Floats, begin: int, rows: int, x: Floats) -> None:
    for row in range(rows):
        for feature in range(matrix.shape[1]):
            value = matrix[begin + row, feature]
            x[feature, row] = 0.0 if abs(value) <= ZERO else value


def _decide(
    x: Floats, column: int, threshold: float, kind: int, left: int, right: int, patterns: Ints, word: int, rows: int
) -> None:  # fmt: skip
    if kind == NAN_RIGHT:
        for row in range(rows):
            patterns[word, row] &= left if x[column, row] <= threshold else right
    else:
        for row in range(rows):
            patterns[word, row] &= right if x[column, row] > threshold else left


def _decide_code(
    x: Floats, column: int, codes: Ints, node: int, words: Ints, left: int, right: int, patterns: Ints, word: int, rows: int
) -> None:  # fmt: skip
    """`_goes_left` without a jump, so that the processor decides about several rows at once."""
    first, most = codes[node, 0], 32.0 * (codes[node, 1] - codes[node, 0])
    if most == 0.0:
        for row in range(rows):
            patterns[word, row] &= right
        return
    for row in range(rows):
        value = x[column, row]
        inside = (value > -1.0) & (value < most)
        code = np.int64(value if inside else 0.0)
        bit = words[first + (code >> 5)] >> (code & 31) & 1
        patterns[word, row] &= left if inside & (bit == 1) else right


def _decide_zero(
    x: Floats, column: int, threshold: float, kind: int, left: int, right: int, patterns: Ints, word: int, rows: int
) -> None:  # fmt: skip
    missing = left if kind == ZERO_LEFT else right
    for row in range(rows):
        value = x[column, row]
        found = left if value <= threshold else right
        patterns[word, row] &= missing if (value != value) | (value == 0.0) else found


def _add_group(
    groups: Ints, group: int, columns: Ints, patterns: Ints, word: int, shift: int, chosen: Ints, table: Int32s, sums: Ints,
    rows: int,
) -> None:  # fmt: skip
    """Add what the rows choose; meanwhile the next group's table comes nearer, which costs less in a row than line by line."""
    start, first, width = groups[group, 0], groups[group, 1], groups[group, 2]
    last, stride = groups[group, 3], groups[group, 4]
    following = groups[min(group + 1, len(groups) - 1), 0]
    for row in range(rows):
        chosen[row] = start + (patterns[word, row] >> shift & last) * stride
    for i in range(0, width, LINE):
        for row in range(0, rows, LINE):
            _add_lines(table, chosen, i, sums, columns, first + i, row, following + (i + row) * CACHE_LINE)


def _add_lines(
    table: Int32s, chosen: Ints, offset: int, sums: Ints, columns: Ints, first: int, row: int, ahead: int
) -> None:  # fmt: skip
    """Add a line of each of eight rows' choice; `training.lanes` has it in vectors, and fetches what is at `ahead`."""
    for lane in range(LINE):
        for other in range(LINE):
            sums[columns[first + lane], row + other] += table[chosen[row + other] + offset + lane]
