"""Exact path-dependent TreeSHAP values (Lundberg et al. 2018) of LightGBM's trees, from tables made when a model is read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from training.contract import Floats
from training.forest import Forest, Ints, Unsupported, read
from training.kernels import kernels

BITS = 7
MOST_BITS = 12
MOST_NUMBERS = 32_000_000
THREADS_FROM = 512


class TreeShap:
    def __init__(self, text: str) -> None:
        self._kernels = kernels()
        self.forest = read(text)
        self._plan = plan(self.forest)
        self._table = self._fill()
        self._base = self.forest.base

    def contributions(self, matrix: Floats) -> Floats:
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        out = np.full((len(matrix), self.forest.features + 1), self._base)
        threads = (os.cpu_count() or 1) if len(matrix) >= THREADS_FROM else 1
        if threads == 1:
            self._explain(matrix, out)
        else:
            parts = [part for part in np.array_split(np.arange(len(matrix)), threads)]
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda p: self._explain(matrix[p[0] : p[-1] + 1], out[p[0] : p[-1] + 1]), parts))
        return out

    def _explain(self, matrix, out):
        f, p = self.forest, self._plan
        self._kernels.explain(matrix, p.trees, f.column, f.threshold, f.kind, f.codes, f.words, p.masks, p.groups, p.features, self._table, out)

    def _fill(self):
        p = self._plan
        most = int(np.diff(p.item).max(initial=0))
        points, weights = quadrature(most)
        table = np.empty(p.numbers)
        self._kernels.fill(p.bits, np.ascontiguousarray(p.groups[:, 2]), np.ascontiguousarray(p.groups[:, 0]), p.leaf, p.value, p.item, p.column, p.zero, p.care, p.want, points, weights, table)
        return table


def quadrature(most: int) -> tuple[Floats, Floats]:
    points, weights = np.zeros((2, most + 1, (most + 1) // 2 + 1))
    for n in range(1, most + 1):
        count = (n + 1) // 2
        at, weight = np.polynomial.legendre.leggauss(count)
        points[n, :count], weights[n, :count] = (at + 1) / 2, weight / 2
    return points, weights


@dataclass
class Plan:
    trees: Ints
    masks: Ints
    groups: Ints
    features: Ints
    bits: Ints
    leaf: Ints
    value: Floats
    item: Ints
    column: Ints
    zero: Floats
    care: Ints
    want: Ints
    numbers: int


def plan(forest: Forest) -> Plan:
    left, right, column, rows = (a.tolist() for a in (forest.left, forest.right, forest.column, forest.rows))
    value, leaf_rows = forest.value.tolist(), forest.leaf_rows.tolist()
    trees, masks, groups, features, bits_all, leaf, values, item, columns, zero, care, want = ([] for _ in range(12))
    node0 = leaf0 = numbers = 0
    leaf.append(0); item.append(0)
    for leaves in forest.leaves.tolist():
        nodes = leaves - 1
        if nodes:
            inner = [1] * nodes
            for n in range(nodes - 1, -1, -1):
                for c in (left[node0 + n], right[node0 + n]):
                    if c >= 0:
                        inner[n] += inner[c]
            # groups
            found = []
            stack = [(0, (), frozenset())]
            deepest = 0
            while stack:
                n, path, feats = stack.pop()
                size = inner[n] if n >= 0 else 0
                if n < 0 or len(feats) + size <= BITS:
                    deepest = max(deepest, len(feats) + size)
                    found.append((n, path, sorted(feats)))
                    continue
                below = feats | {column[node0 + n]}
                stack.append((right[node0 + n], path + ((n, False),), below))
                stack.append((left[node0 + n], path + ((n, True),), below))
            if deepest > MOST_BITS:
                raise Unsupported("deep")
            lane = 8 if deepest <= 8 else 16
            per = 64 // lane
            words = -(-len(found) // per)
            keep = [[0, 0] for _ in range(nodes * words)]  # bits to clear
            for number, (root, path, feats) in enumerate(found):
                word, shift = number // per, number % per * lane
                place = {f: b for b, f in enumerate(feats)}
                for n, went_left in path:
                    keep[n * words + word][not went_left] |= 1 << shift + place[column[node0 + n]]
                # z along path
                share = {}
                for n, went_left in path:
                    c = left[node0 + n] if went_left else right[node0 + n]
                    r = rows[node0 + c] if c >= 0 else leaf_rows[leaf0 + ~c]
                    f = column[node0 + n]
                    share[f] = share.get(f, 1.0) * (r / rows[node0 + n])
                start = {f: (share[f], 1 << b, 1 << b) for f, b in place.items()}
                local = dict(place)
                nb = len(feats)
                st = [(root, start)]
                while st:
                    n, items = st.pop()
                    if n < 0:
                        values.append(value[leaf0 + ~n])
                        for f, (z, ca, wa) in items.items():
                            columns.append(local[f]); zero.append(z); care.append(ca); want.append(wa)
                        item.append(len(columns))
                        continue
                    f = column[node0 + n]
                    local.setdefault(f, len(local))
                    bit = 1 << nb
                    nb += 1
                    keep[n * words + word][0] |= bit << shift  # right clears
                    z, ca, wa = items.get(f, (1.0, 0, 0))
                    for c, w in ((left[node0 + n], bit), (right[node0 + n], 0)):
                        r = rows[node0 + c] if c >= 0 else leaf_rows[leaf0 + ~c]
                        st.append((c, {**items, f: (z * (r / rows[node0 + n]), ca | bit, wa | w)}))
                leaf.append(len(values))
                for w in range(words):
                    if w == word:
                        unused = ((1 << lane) - (1 << nb)) << shift
                        keep[w][0] |= unused; keep[w][1] |= unused
                groups.append((numbers, len(features), len(local)))
                bits_all.append(nb)
                features.extend(local)
                numbers += len(local) << nb
                if numbers > MOST_NUMBERS:
                    raise Unsupported("too large")
            full = (1 << 64) - 1
            masks.extend((full ^ l, full ^ r) for r, l in keep)
            trees.append((nodes, len(found), words, lane))
        else:
            trees.append((0, 0, 1, 8))
        node0 += nodes
        leaf0 += leaves
    I = lambda a: np.array(a, dtype=np.int64)
    return Plan(
        I(trees), np.array(masks, dtype=np.uint64).view(np.int64).reshape(-1, 2), I(groups).reshape(-1, 3), I(features), I(bits_all), I(leaf), np.array(values, dtype=float),
        I(item), I(columns), np.array(zero, dtype=float), I(care), I(want), numbers)
