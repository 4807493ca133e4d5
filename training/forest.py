"""The trees of LightGBM's text as flat arrays, with its decisions as `src/io/tree.h` makes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.contract import Floats

Ints = NDArray[np.int64]
NAN_RIGHT, NAN_LEFT, ZERO_RIGHT, ZERO_LEFT, CATEGORY = range(5)  # the kinds of a decision
_CATEGORICAL, _DEFAULT_LEFT = 1, 2  # bits of `decision_type`; the two after them are the type of missing values
_MISSING_ZERO, _MISSING_NAN = 1, 2


class Unsupported(Exception):
    """A model whose contributions only LightGBM can compute; the message says why."""


@dataclass(frozen=True)
class Forest:
    """Trees one after the other. A child is the place of a node in its tree, or `~` the place of a leaf.

    Attributes:
        features: the number of columns of a matrix.
        leaves: of each tree; a tree has one node less.
        column: of each node, the feature it looks at.
        threshold: of each node; values up to it go left.
        kind: of each node: what a number that is missing does (NaN, or zero where that is what missing means), or `CATEGORY`.
        codes: of each node, where the words of its set of codes begin and end; equal where there is none.
        words: the sets: 32 codes a word, the codes that go left.
        left: child of each node.
        right: child of each node.
        rows: of each node, how many were fitted.
        value: of each leaf.
        leaf_rows: of each leaf, how many were fitted.
    """

    features: int
    leaves: Ints
    column: Ints
    threshold: Floats
    kind: Ints
    codes: Ints
    words: NDArray[np.uint32]
    left: Ints
    right: Ints
    rows: Ints
    value: Floats
    leaf_rows: Ints

    @cached_property
    def means(self) -> list[float]:
        """What each tree says on average over the rows it was fitted on."""
        means, start = [], 0
        for leaves in self.leaves.tolist():
            value, rows = self.value[start : start + leaves], self.leaf_rows[start : start + leaves]
            means.append(float(value @ (rows / rows.sum())) if leaves > 1 else float(value[0]))
            start += leaves
        return means

    @property
    def base(self) -> float:
        """What all trees say on average, tree by tree as LightGBM adds it up."""
        return reduce(add, self.means, 0.0)


def read(text: str) -> Forest:
    """The forest of a model's text.

    Raises:
        Unsupported: several classes, averaged or linear trees, or a node that no row reached.
    """
    head, *blocks = text.split("\nend of trees", 1)[0].split("\nTree=")
    facts, trees = _pairs(head), [_pairs(block) for block in blocks]
    _refuse("num_tree_per_iteration" not in facts or facts["num_tree_per_iteration"] != "1", "several classes")
    _refuse("\naverage_output" in head, "averaged trees")
    _refuse(any(tree.get("is_linear", "0") != "0" for tree in trees), "linear trees")
    forest = _forest(int(facts["max_feature_idx"]) + 1, trees)
    split = np.repeat(forest.leaves > 1, forest.leaves)
    _refuse(not (forest.rows > 0).all() or not (forest.leaf_rows[split] > 0).all(), "a node that no row reached")
    _refuse(not np.isfinite(forest.value).all(), "a leaf without a number")
    return forest


def _refuse(reached: bool, why: str) -> None:
    if reached:
        raise Unsupported(why)


def _pairs(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.splitlines() if "=" in line)


def _forest(features: int, trees: Sequence[Mapping[str, str]]) -> Forest:
    leaves = np.array([int(tree["num_leaves"]) for tree in trees], dtype=np.int64)
    split = [tree for tree in trees if int(tree["num_leaves"]) > 1]
    threshold = _numbers(split, "threshold", np.float64)
    decision = _numbers(split, "decision_type", np.int64)
    leaf_rows = [tree.get("leaf_count", "0") if int(tree["num_leaves"]) > 1 else "0" for tree in trees]
    return Forest(
        features=features,
        leaves=leaves,
        column=_numbers(split, "split_feature", np.int64),
        threshold=threshold,
        kind=_kinds(decision, threshold),
        codes=_codes(split, decision, threshold),
        words=_numbers([tree for tree in split if tree["num_cat"] != "0"], "cat_threshold", np.uint32),
        left=_numbers(split, "left_child", np.int64),
        right=_numbers(split, "right_child", np.int64),
        rows=_numbers(split, "internal_count", np.int64),
        value=_numbers(trees, "leaf_value", np.float64),
        leaf_rows=np.array(" ".join(leaf_rows).split(), dtype=np.int64),
    )


def _numbers(trees: Sequence[Mapping[str, str]], key: str, dtype: type[np.generic]) -> NDArray[Any]:
    return np.array(" ".join(tree[key] for tree in trees).split(), dtype=dtype)


def _kinds(decision: Ints, threshold: Floats) -> Ints:
    """What missing does; where it means nothing special, a NaN is a zero, and the threshold says where that goes."""
    missing, default_left = decision >> 2 & 3, (decision & _DEFAULT_LEFT) > 0
    left = np.where(missing == 0, threshold >= 0, default_left)
    kinds = np.where(missing == _MISSING_ZERO, ZERO_RIGHT, NAN_RIGHT) + left
    return np.where(decision & _CATEGORICAL, CATEGORY, kinds).astype(np.int64)


def _codes(trees: Sequence[Mapping[str, str]], decision: Ints, threshold: Floats) -> Ints:
    """Two columns: the first and the last + 1 of a node's words, among the words of all trees."""
    found = np.zeros((len(decision), 2), dtype=np.int64)
    node = words = 0
    for tree in trees:
        nodes = int(tree["num_leaves"]) - 1
        if tree["num_cat"] != "0":
            bounds = np.array(tree["cat_boundaries"].split(), dtype=np.int64) + words
            places = node + np.flatnonzero(decision[node : node + nodes] & _CATEGORICAL)
            sets = threshold[places].astype(np.int64)
            found[places, 0], found[places, 1] = bounds[sets], bounds[sets + 1]
            words = int(bounds[-1])
        node += nodes
    return found
