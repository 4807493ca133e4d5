"""The feature values that are kept with a score, packed when they are written, which is after the answer.

Packed they begin with a line of JSON, `{"numbers": [...], "categories": [...]}`: their names. Then come a little-endian float64
for each number, NaN where one is missing, and a JSON array of the categories. A JSON object, name by name, says the same: so the
batch and older releases keep them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby

import numpy as np
from pydantic_core import to_json

from features.record import Layout, Value, Values, categories, numbers

_PACKED = b'{"numbers":['


class Kept(Mapping[str, Value]):
    """Some of the values of an entity, by name. Nothing is copied."""

    __slots__ = ("known", "names")

    def __init__(self, known: Mapping[str, Value], names: tuple[str, ...]) -> None:
        """Take an entity's values, and which of them are kept."""
        self.known, self.names = known, names

    def __getitem__(self, name: str) -> Value:
        if name not in self.names:
            raise KeyError(name)
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def read(features: Mapping[str, Value] | bytes | None) -> Mapping[str, Value]:
    """What was kept, by name, None where a value is missing; nothing where nothing was."""
    if not isinstance(features, bytes):
        return features or {}
    if not features.startswith(_PACKED):
        found: Mapping[str, Value] = json.loads(features)
        return found
    head, _, rest = features.partition(b"\n")
    of_numbers, of_categories = _named(head)
    size = 8 * len(of_numbers)
    told = (None if value != value else value for value in np.frombuffer(rest[:size], "<f8").tolist())
    return dict(zip((*of_numbers, *of_categories), (*told, *json.loads(rest[size:])), strict=True))


def packed(several: Sequence[Mapping[str, Value]]) -> list[bytes]:
    """What `read` takes. Values that come from records of one layout are packed together, in a fraction of the time."""
    return [made for shape, some in groupby(several, _shape) for made in _packed(shape, list(some))]


def _shape(kept: Mapping[str, Value]) -> tuple[Layout, tuple[str, ...]] | None:
    return (kept.known.layout, kept.names) if isinstance(kept, Kept) and isinstance(kept.known, Values) else None


def _packed(shape: tuple[Layout, tuple[str, ...]] | None, several: Sequence[Mapping[str, Value]]) -> list[bytes]:
    if shape is None:
        return [_object(kept) for kept in several]
    known = [kept.known for kept in several if isinstance(kept, Kept)]
    head, of_numbers, of_categories = _head(*shape)
    block, size = numbers(known, of_numbers).astype("<f8").tobytes(), 8 * len(of_numbers)
    texts = zip(*(_written(column) for column in categories(known, of_categories)), strict=True) if of_categories else ()
    ends = [b"[" + b",".join(row) + b"]" for row in texts] or [b"[]"] * len(known)
    return [head + block[size * row : size * (row + 1)] + end for row, end in enumerate(ends)]


def _object(kept: Mapping[str, Value]) -> bytes:
    known = {name: None if value != value else value for name, value in kept.items()}
    return to_json(known, inf_nan_mode="constants")


@lru_cache
def _head(layout: Layout, names: tuple[str, ...]) -> tuple[bytes, tuple[str, ...], tuple[str, ...]]:
    """The line of names, and the names of numbers and of categories."""
    mine = set(layout.numbers)
    of_numbers, of_categories = tuple(n for n in names if n in mine), tuple(n for n in names if n not in mine)
    return to_json({"numbers": of_numbers, "categories": of_categories}) + b"\n", of_numbers, of_categories


@lru_cache
def _named(head: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    found = json.loads(head)
    return tuple(found["numbers"]), tuple(found["categories"])


def _written(column: Sequence[Value]) -> list[bytes]:
    """Each value of a column as JSON, made once for each different one."""
    made = {value: to_json(value) for value in set(column)}
    return [made[value] for value in column]
