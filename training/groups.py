"""The leaves of a forest in groups small enough for one table each.

A group is the leaves below one node. What they give a row depends on a pattern of few bits: one for each feature on the way down
to that node, set where the row turns off nowhere at this feature, and one for each node of the group, set where it goes left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.contract import Floats
from training.forest import Forest, Ints, Unsupported

BITS = 8  # of a pattern, where a way has no more features: fewer bits make more groups, more bits larger tables
MOST_BITS = 16
MOST_NUMBERS = 24_000_000  # of all tables, 96 MB, and three times as much while they are made
LINE = 8  # numbers that are added up at once; a table's rows are whole lines, and so are rows that are added up together
CACHE_LINE = 16  # numbers of a table that the processor fetches at once
Int32s = NDArray[np.int32]
_ALL = (1 << 64) - 1


class Way(NamedTuple):
    """What one feature has to do with reaching a leaf.

    Attributes:
        share: of the fitted rows, at the nodes with this feature, that went the leaf's way.
        care: the bits of the pattern that tell whether a row does.
        want: what these bits are if it does.
    """

    share: float = 1.0
    care: int = 0
    want: int = 0


@dataclass(frozen=True)
class Tree:
    """One tree of a `Forest`, as lists."""

    column: list[int]
    left: list[int]
    right: list[int]
    rows: list[int]
    value: list[float]
    leaf_rows: list[int]

    def child(self, node: int, leftwards: bool) -> tuple[int, float]:
        """A child, and the share of the node's rows that it was fitted on."""
        found = self.left[node] if leftwards else self.right[node]
        return found, (self.rows[found] if found >= 0 else self.leaf_rows[~found]) / self.rows[node]

    def sizes(self) -> list[int]:
        """How many nodes are below each, with itself. A child comes after its parent."""
        sizes = [1] * len(self.column)
        for node in reversed(range(len(sizes))):
            sizes[node] += sum(sizes[child] for child in (self.left[node], self.right[node]) if child >= 0)
        return sizes


@dataclass
class Group:
    """The leaves below one node.

    Attributes:
        columns: the features that matter to them, in the order of the table.
        bits: of a pattern.
        clears: node, side (0: its decision is left) and the bits that this decision clears.
        leaves: the value of each, and by feature the way there.
    """

    columns: list[int] = field(default_factory=list)
    bits: int = 0
    clears: list[tuple[int, int, int]] = field(default_factory=list)
    leaves: list[tuple[float, dict[int, Way]]] = field(default_factory=list)

    @classmethod
    def of(cls, tree: Tree, root: int, path: Sequence[tuple[int, bool]]) -> Group:
        """The group below `root`, at which one arrives through these nodes, leftwards or not."""
        group, ways = cls(), dict[int, Way]()
        for node, leftwards in path:
            column = tree.column[node]
            if column not in ways:
                group.columns.append(column)
                ways[column] = Way(1.0, 1 << group.bits, 1 << group.bits)
                group.bits += 1
            group.clears.append((node, int(leftwards), ways[column].care))
            ways[column] = ways[column]._replace(share=ways[column].share * tree.child(node, leftwards)[1])
        group._descend(tree, root, ways)
        return group

    def _descend(self, tree: Tree, node: int, ways: dict[int, Way]) -> None:
        if node < 0:
            self.leaves.append((tree.value[~node], ways))
            return
        column, bit = tree.column[node], 1 << self.bits
        self.bits += 1
        self.clears.append((node, 1, bit))
        if column not in self.columns:
            self.columns.append(column)
        way = ways.get(column, Way())
        for leftwards in (True, False):
            child, share = tree.child(node, leftwards)
            self._descend(tree, child, {**ways, column: Way(way.share * share, way.care | bit, way.want | bit * leftwards)})


@dataclass(frozen=True)
class Groups:
    """The groups of a forest as flat arrays, as `training.kernels` takes them; see there for `trees`, `masks` and `groups`.

    Attributes:
        trees: a row a tree.
        masks: a row for each node and word of its tree.
        groups: a row a group.
        columns: of all groups, one after the other, each up to a whole line; the one beyond the features is the row's leaf, and
            the one beyond that fills up.
        leaf: of each group, its first leaf; one more than groups.
        value: of each leaf.
        item: of each leaf, its first way; one more than leaves.
        place: of each way, its feature's column in the table.
        share: of each way.
        bits: of each way: `care` and `want`.
        numbers: of all tables.
    """

    trees: Ints
    masks: Ints
    groups: Ints
    columns: Ints
    leaf: Ints
    value: Floats
    item: Ints
    place: Ints
    share: Floats
    bits: Ints
    numbers: int

    @classmethod
    def of(cls, forest: Forest) -> Groups:
        """Group the leaves.

        Raises:
            Unsupported: the tables would be too large.
        """
        lists = _Lists(forest.features)
        for tree in _trees(forest):
            lists.add(len(tree.column), [Group.of(tree, root, path) for root, path in _roots(tree)])
        return lists.arrays()


def _trees(forest: Forest) -> Iterator[Tree]:
    of_node = [array.tolist() for array in (forest.column, forest.left, forest.right, forest.rows)]
    of_leaf = [array.tolist() for array in (forest.value, forest.leaf_rows)]
    node = leaf = 0
    for leaves in forest.leaves.tolist():
        nodes = slice(node, node + leaves - 1)
        yield Tree(*(numbers[nodes] for numbers in of_node), *(numbers[leaf : leaf + leaves] for numbers in of_leaf))
        node, leaf = node + leaves - 1, leaf + leaves


def _roots(tree: Tree) -> Iterator[tuple[int, tuple[tuple[int, bool], ...]]]:
    """The highest nodes, or leaves, whose group's pattern is short enough, with the way there."""
    sizes = tree.sizes()
    waiting: list[tuple[int, tuple[tuple[int, bool], ...]]] = [(0 if sizes else ~0, ())]
    while waiting:
        node, path = waiting.pop()
        features = len({tree.column[passed] for passed, _ in path})
        if node < 0 or features + sizes[node] <= BITS:
            yield node, path
        else:
            waiting += [(tree.right[node], (*path, (node, False))), (tree.left[node], (*path, (node, True)))]


class _Lists:
    """`Groups` while they are gathered."""

    def __init__(self, features: int) -> None:
        self._features = features
        self.trees: list[tuple[int, ...]] = []
        self.masks: list[list[int]] = []
        self.groups: list[tuple[int, ...]] = []
        self.columns: list[int] = []
        self.leaf, self.item = [0], [0]
        self.value: list[float] = []
        self.ways: list[tuple[int, float, int, int]] = []
        self.numbers = 0

    def add(self, nodes: int, groups: Sequence[Group]) -> None:
        """Add a tree."""
        lane = 8 if max((group.bits for group in groups), default=0) <= 8 else 16
        words = -(-len(groups) * lane // 64)
        masks = [[_ALL, _ALL] for _ in range(nodes * words)]
        for number, group in enumerate(groups):
            word, shift = divmod(number * lane, 64)
            for node, side, bits in group.clears:
                masks[node * words + word][side] &= ~(bits << shift)
            self._add(group)
        self.masks += masks
        self.trees.append((nodes, len(groups), words, lane))

    def _add(self, group: Group) -> None:
        columns = [*group.columns, self._features]
        stride = whole_lines(len(columns))
        self.groups.append((self.numbers, len(self.columns), len(columns), (1 << group.bits) - 1, stride))
        self.numbers += stride << group.bits
        if group.bits > MOST_BITS or self.numbers > MOST_NUMBERS:
            raise Unsupported("tables that are too large")
        places = {column: place for place, column in enumerate(group.columns)}
        for value, ways in group.leaves:
            self.value.append(value)
            self.ways += [(places[column], *way) for column, way in ways.items()]
            self.item.append(len(self.ways))
        self.columns += columns + [self._features + 1] * (stride - len(columns))
        self.leaf.append(len(self.value))

    def arrays(self) -> Groups:
        place, share, care, want = zip(*self.ways, strict=True) if self.ways else ((), (), (), ())
        return Groups(
            trees=_whole(self.trees, 4),
            masks=np.array(self.masks, dtype=np.uint64).view(np.int64).reshape(-1, 2),
            groups=_whole(self.groups, 5),
            columns=_whole(self.columns),
            leaf=_whole(self.leaf),
            value=np.array(self.value, dtype=np.float64),
            item=_whole(self.item),
            place=_whole(place),
            share=np.array(share, dtype=np.float64),
            bits=np.ascontiguousarray(_whole([care, want], len(care)).T) if care else np.zeros((0, 2), dtype=np.int64),
            numbers=self.numbers,
        )


def whole_lines(numbers: int) -> int:
    """So many numbers, and those that fill up their last line."""
    return -(-numbers // LINE) * LINE


def _whole(numbers: Any, columns: int | None = None) -> NDArray[np.int64]:
    found = np.array(numbers, dtype=np.int64)
    return found if columns is None else found.reshape(-1, columns)
