"""The feature values that are kept with a score, and their JSON, which is made when they are written: after the answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import groupby

from pydantic_core import to_json

from features.record import Layout, Value, Values, categories, numbers


class Kept(Mapping[str, Value]):
    """Some of the values of an entity, by name. Nothing is copied."""

    __slots__ = ("names", "values_")

    def __init__(self, values: Mapping[str, Value], names: tuple[str, ...]) -> None:
        """Take an entity's values, and which of them are kept."""
        self.values_, self.names = values, names

    def __getitem__(self, name: str) -> Value:
        if name not in self.names:
            raise KeyError(name)
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def documents(several: Sequence[Mapping[str, Value]]) -> list[bytes]:
    """The JSON of each; missing values are null, infinite ones `Infinity`.

    Those that come from records of one layout are written together, in a fraction of the time.
    """
    return [made for shape, some in groupby(several, _shape) for made in _together(shape, list(some))]


def _shape(kept: Mapping[str, Value]) -> tuple[Layout, tuple[str, ...]] | None:
    return (kept.values_.layout, kept.names) if isinstance(kept, Kept) and isinstance(kept.values_, Values) else None


def _together(shape: tuple[Layout, tuple[str, ...]] | None, several: Sequence[Mapping[str, Value]]) -> list[bytes]:
    if shape is None:
        return [_document(kept) for kept in several]
    layout, names = shape
    known = [kept.values_ for kept in several if isinstance(kept, Kept)]
    of_numbers, of_categories = _parted(layout, names)
    rows = to_json(numbers(known, of_numbers).tolist(), inf_nan_mode="constants").replace(b"NaN", b"null")
    columns = [_texts(column) for column in categories(known, of_categories)]
    template = _template((*of_numbers, *of_categories))
    told = [row.split(b",") for row in rows[2:-2].split(b"],[")] if of_numbers else [[] for _ in several]
    texts = zip(*columns, strict=True) if columns else [()] * len(several)
    return [template % (*row, *text) for row, text in zip(told, texts, strict=True)]


def _document(kept: Mapping[str, Value]) -> bytes:
    known = {name: None if value != value else value for name, value in kept.items()}
    return to_json(known, inf_nan_mode="constants")


@lru_cache
def _parted(layout: Layout, names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The numbers and the categories."""
    known = set(layout.numbers)
    return tuple(name for name in names if name in known), tuple(name for name in names if name not in known)


@lru_cache
def _template(names: tuple[str, ...]) -> bytes:
    """An object with a place for each value."""
    return b"{" + b",".join(to_json(name).replace(b"%", b"%%") + b":%b" for name in names) + b"}"


def _texts(column: Sequence[Value]) -> list[bytes]:
    """Each value of a column as JSON, made once for each different one."""
    made = {value: to_json(value) for value in set(column)}
    return [made[value] for value in column]
