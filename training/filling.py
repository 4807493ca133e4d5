"""The loops that fill the tables of `training.treeshap`, which `training.kernels` compiles: first with what the leaves of each
group give, then rounded. What they use of other modules must be types alone: numba sees no change of them.
"""

from __future__ import annotations

import numpy as np

from training.contract import Floats
from training.forest import Ints
from training.groups import Int32s

MOST = 2**31 - 1  # of a whole number
LEAST = 1e-300  # a unit below it is none: a quotient of such numbers has few digits left


def fill(
    groups: Ints, leaf: Ints, value: Floats, item: Ints, place: Ints, share: Floats, bits: Ints, points: Floats, weights: Floats,
    table: Floats,
) -> None:  # fmt: skip
    """Fill the tables: what the leaves of a group give together, a row for each pattern, a column for each feature of the group.

    The last column is the number of the leaf that the pattern leads to, counted from 1; 0 if it is not in the group.

    Args:
        groups: as in `training.kernels.explain`.
        leaf: of each group, its first leaf; one more than groups.
        value: of each leaf, less the mean of its tree, of which no feature has a part.
        item: of each leaf, its first way (`training.groups.Way`); one more than leaves.
        place: of each way, its feature's column in the table.
        share: of each way.
        bits: of each way: `care` and `want`.
        points: of Gauss and Legendre on [0, 1], a row for each number of features.
        weights: of those points.
        table: is written.
    """
    on, before = np.empty(64), np.empty(64)
    for group in range(len(groups)):
        width = groups[group, 2]
        for pattern in range(groups[group, 3] + 1):
            start = groups[group, 0] + pattern * groups[group, 4]
            row = table[start : start + width]
            row[:] = 0.0
            for number in range(leaf[group], leaf[group + 1]):
                first, end = item[number], item[number + 1]
                for i in range(first, end):
                    on[i - first] = 1.0 if pattern & bits[i, 0] == bits[i, 1] else 0.0
                add_leaf(value[number], on, share[first:end], place[first:end], points, weights, before, row)
                if on[: end - first].all():
                    row[width - 1] = number + 1


def add_leaf(
    value: float, on: Floats, share: Floats, place: Ints, points: Floats, weights: Floats, before: Floats, row: Floats
) -> None:  # fmt: skip
    """Add the Shapley values of `v(S) = value * product(on in S) * product(share outside of S)`.

    They are the integral over t in [0, 1] of `value * (on - share) * product(t * on + (1 - t) * share of the others)`, a
    polynomial of degree n - 1, of which Gauss and Legendre's (n + 1) // 2 points make no error.
    """
    features = len(share)
    for q in range((features + 1) // 2):
        t, product = points[features, q], value * weights[features, q]
        for i in range(features):
            before[i] = product
            product *= t * on[i] + (1.0 - t) * share[i]
        product = 1.0
        for i in range(features - 1, -1, -1):
            row[place[i]] += (on[i] - share[i]) * before[i] * product
            product *= t * on[i] + (1.0 - t) * share[i]


def rounded(groups: Ints, columns: Ints, exact: Floats, unit: Floats, table: Int32s) -> None:
    """Write the tables in whole numbers, which take half the room and whose sums are the same in whatever order.

    Args:
        groups, columns: as in `training.kernels.explain`.
        exact: the tables as `fill` made them.
        unit: is written: what a whole number counts, for each feature as little as its largest number allows; last 1, for leaves.
        table: is written: each number rounded to whole units.
    """
    unit[:] = 0.0
    for group in range(len(groups)):
        for i in range(groups[group, 2] - 1):
            column = columns[groups[group, 1] + i]
            for pattern in range(groups[group, 3] + 1):
                unit[column] = max(unit[column], abs(exact[groups[group, 0] + pattern * groups[group, 4] + i]) / MOST)
    unit[-1] = 1.0
    for group in range(len(groups)):
        for i in range(groups[group, 2]):
            size = unit[columns[groups[group, 1] + i]]
            for pattern in range(groups[group, 3] + 1):
                at = groups[group, 0] + pattern * groups[group, 4] + i
                table[at] = round(exact[at] / size) if size > LEAST else 0
