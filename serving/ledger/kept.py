"""The feature values that are kept with a score: a packed record (`features.record`) of what the scorer remembers.

It is packed when it is written, which is after the answer. Its layout is the same of a great many scores, so the ledger holds it
once, in the table `kept`, under its digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from features.record import EPOCH, Layout, Value, Values, categories, numbers, pack


class Kept(Mapping[str, Value]):
    """Some of the values of an entity, by name. Nothing is copied."""

    __slots__ = ("known", "layout")

    def __init__(self, known: Mapping[str, Value], layout: Layout) -> None:
        """Take an entity's values, and which of them are kept."""
        self.known, self.layout = known, layout

    def __getitem__(self, name: str) -> Value:
        if name not in self.layout.places:
            raise KeyError(name)
        return self.known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.places)

    def __len__(self) -> int:
        return len(self.layout.places)


def packed(several: Sequence[Kept | Values | None]) -> list[bytes | None]:
    """A record of each; what is one already stays as it is. Values that come from records of one layout are packed together."""
    return [made for shape, some in groupby(several, _shape) for made in _packed(shape, list(some))]


Shape = tuple[Layout, Layout | None] | None


def _shape(one: Kept | Values | None) -> Shape:
    """What is kept, and of what layout the values are that it comes from; None where there is nothing to pack."""
    return (one.layout, one.known.layout if isinstance(one.known, Values) else None) if isinstance(one, Kept) else None


def _packed(shape: Shape, several: Sequence[Kept | Values | None]) -> Sequence[bytes | None]:
    if shape is None:
        return [one.packed if isinstance(one, Values) else None for one in several]
    known, layout = [one.known for one in several if isinstance(one, Kept)], shape[0]
    return pack(layout, EPOCH, numbers(known, layout.numbers), categories(known, layout.categories))
