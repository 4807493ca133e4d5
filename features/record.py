"""The packed record: everything the online store holds of one entity, as one value.

Little-endian, in the order of the record's layout:

    byte 0        version of this format
    bytes 1-15    digest of the layout
    bytes 16-23   the as_of, microseconds since 1970 in UTC
    8 bytes each  numbers as float64, NaN for missing: the same bits the offline store gives
    4 bytes each  how many characters each category has; -1 for missing, which is not the same as empty
    the rest      the categories one after the other, UTF-8

One value per entity is 5 to 25 times faster to read than one value per feature. The digest makes sure that nobody decodes a
record with another layout than it was encoded with. Pure: nothing here reads or writes a store.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import struct
from collections.abc import Callable, Iterable, Iterator, KeysView, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache, partial

import numpy as np
import pandas as pd

from features.errors import ContractError
from features.feature import Dtype, Feature

VERSION = 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MISSING = -1
TAILS_KEPT = 10_000  # texts of categories, without the id of anybody
_HEADER = struct.Struct("<B15sq")
HEADER_SIZE = _HEADER.size
_NUMBER = struct.Struct("<d")
Value = float | str | None


@dataclass(slots=True)  # not frozen: a request reads a thousand, and to freeze one takes as long as the rest of making it
class Record:
    """What was known of one entity before an instant: every feature by name, NaN or None where nothing was known.

    `given` names the features that somebody told since, over what was known at the as_of; `before` is what was known
    without them. `is_new` says that nothing was. `objection` is why no score may be given, whatever `values` say.
    """

    entity_id: str
    as_of: datetime
    values: Mapping[str, Value]
    given: Set[str] = frozenset()
    before: Mapping[str, Value] | None = None
    is_new: bool = False
    objection: str | None = None


@dataclass(frozen=True)
class Layout:
    """The columns of a record, in order: name and dtype."""

    columns: tuple[tuple[str, Dtype], ...]

    @classmethod
    def of(cls, features: Iterable[Feature]) -> Layout:
        """The layout of declared features, in declared order."""
        return cls(tuple((feature.name, feature.dtype) for feature in features))

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """What `to_json` wrote."""
        return cls(tuple((name, dtype) for name, dtype in json.loads(text)))

    def to_json(self) -> str:
        """One line per column, so that two layouts can be compared by eye or by diff."""
        return "[\n" + ",\n".join(json.dumps(column) for column in self.columns) + "\n]\n"

    @cached_property
    def digest(self) -> bytes:
        """15 bytes that change when a name, a dtype or the order changes."""
        return hashlib.blake2b(self.to_json().encode(), digest_size=15).digest()

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        return tuple(name for name, dtype in self.columns if dtype == "number")

    @cached_property
    def categories(self) -> tuple[str, ...]:
        return tuple(name for name, dtype in self.columns if dtype == "category")

    @cached_property
    def places(self) -> dict[str, int]:
        """Where each name is in a record: numbers first, then categories."""
        return {name: place for place, name in enumerate((*self.numbers, *self.categories))}

    @cached_property
    def offsets(self) -> dict[str, int]:
        """Where the bytes of each number begin in a packed record."""
        return {name: HEADER_SIZE + place * _NUMBER.size for place, name in enumerate(self.numbers)}

    @cached_property
    def fixed(self) -> struct.Struct:
        """The part of a record whose size is always the same: the numbers and the categories' lengths."""
        return struct.Struct(f"<{len(self.numbers)}d{len(self.categories)}i")

    @cached_property
    def tail(self) -> int:
        """Where in a packed record the categories begin: their lengths, then their texts."""
        return HEADER_SIZE + len(self.numbers) * _NUMBER.size

    @cached_property
    def texts(self) -> Callable[[bytes], tuple[str | None, ...]]:
        """The categories in the tail of a record; the same ones come again, and are kept."""
        return lru_cache(TAILS_KEPT)(partial(_texts, struct.Struct(f"<{len(self.categories)}i")))

    def holds(self, names: frozenset[str]) -> bool:
        """Whether there is a column of each name; what was found is kept, for it is asked of record after record."""
        held = self._held  # once: two threads may each make it
        if names not in held:
            held[names] = self.places.keys() >= names
        return held[names]

    @cached_property
    def _held(self) -> dict[frozenset[str], bool]:
        return {}


def encode(layout: Layout, as_of: datetime, frame: pd.DataFrame) -> list[bytes]:
    """Pack one record per row.

    Args:
        layout: the columns to pack; the frame may have others.
        as_of: the instant before which the values were known, with a time zone.
        frame: numbers as float64, NaN for missing; categories as str, None for missing.

    Raises:
        ContractError: the frame lacks a column of the layout.
    """
    names = [name for name, _ in layout.columns]
    if not set(names) <= set(frame.columns):
        raise mismatch("the frame to be packed", names, [name for name in frame.columns if name in names])
    numbers = frame[list(layout.numbers)].to_numpy(dtype="<f8", na_value=np.nan)
    return pack(layout, as_of, numbers, [frame[name].tolist() for name in layout.categories])


def pack(layout: Layout, as_of: datetime, numbers: np.ndarray, categories: Sequence[Sequence[Value]]) -> list[bytes]:
    """As `encode`, of columns.

    Args:
        layout: the columns to pack.
        as_of: the instant before which the values were known, with a time zone.
        numbers: one row a record, one column a number of the layout, NaN for missing.
        categories: one column a category of the layout; None for missing.
    """
    header = _HEADER.pack(VERSION, layout.digest, (as_of - EPOCH) // MICROSECOND)
    encoded = [_encode_category(column) for column in categories]
    block = np.empty(len(numbers), dtype=[("numbers", "<f8", (len(layout.numbers),)), ("lengths", "<i4", (len(encoded),))])
    block["numbers"] = np.where(np.isnan(numbers), np.nan, numbers)  # one bit pattern for missing
    for place, (lengths, _) in enumerate(encoded):
        block["lengths"][:, place] = lengths
    fixed, width = memoryview(block.tobytes()), layout.fixed.size
    tails = map(b"".join, zip(*(texts for _, texts in encoded), strict=True)) if encoded else [b""] * len(numbers)
    return [b"".join((header, fixed[i * width : (i + 1) * width], tail)) for i, tail in enumerate(tails)]


def _encode_category(column: Sequence[Value]) -> tuple[list[int], list[bytes]]:
    """For each row the number of characters and the text, made once for each different one."""
    made = {text: _encoded(text) for text in set(column)}
    found = [made[text] for text in column]
    return [length for length, _ in found], [text for _, text in found]


def _encoded(text: Value) -> tuple[int, bytes]:
    if isinstance(text, str):
        return len(text), text.encode()
    if not pd.isna(text):
        raise TypeError("a number where a category belongs")
    return MISSING, b""


def header(data: bytes) -> tuple[bytes, datetime]:
    """The digest of the layout that a record was encoded with, and the instant before which its values were known.

    Raises:
        ContractError: this is not a record, or one of a version this code does not know.
    """
    if len(data) < HEADER_SIZE:
        raise _damaged(f"{len(data)} bytes where the header alone has {HEADER_SIZE}")
    version, digest, microseconds = _HEADER.unpack_from(data)
    if version != VERSION:
        raise _damaged(f"version {version}")
    return digest, EPOCH + timedelta(microseconds=microseconds)


def digest_of(data: bytes) -> bytes | None:
    """The digest of the layout that a record was encoded with; None of what is no record that this code knows."""
    try:
        return header(data)[0]
    except ContractError:
        return None


def decode(layout: Layout, data: bytes) -> Values:
    """Unpack the values of a record, by name.

    Raises:
        ContractError: the record is damaged, of an unknown version, or was encoded with another layout.
    """
    digest, _ = header(data)
    if digest != layout.digest:
        raise ContractError(
            "a record of the online store",
            expected=f"layout {layout.digest.hex()}",
            received=f"layout {digest.hex()}",
            repair="decode it with the layout it was encoded with, or run `foresell snapshot` to write it anew",
        )
    return Values(layout, data)


class Values(Mapping[str, Value]):
    """The values of one record by name: numbers first, then categories. Numbers are unpacked when somebody asks for them."""

    __slots__ = ("_texts", "layout", "packed")

    def __init__(self, layout: Layout, packed: bytes) -> None:
        """Take a record whose header is of this layout.

        Raises:
            ContractError: the record is damaged.
        """
        self.layout, self.packed = layout, packed
        if len(packed) < layout.tail:
            raise _damaged(f"{len(packed)} bytes where the numbers alone end after {layout.tail}")
        self._texts = layout.texts(packed[layout.tail :])

    def __getitem__(self, name: str) -> Value:
        offset = self.layout.offsets.get(name)
        if offset is None:
            return self._texts[self.layout.places[name] - len(self.layout.numbers)]
        number: float = _NUMBER.unpack_from(self.packed, offset)[0]
        return number

    def __iter__(self) -> Iterator[str]:
        return iter(self.layout.places)

    def __len__(self) -> int:
        return len(self.layout.places)

    def __contains__(self, name: object) -> bool:
        return name in self.layout.places

    def __eq__(self, other: object) -> bool:
        """As of mappings; and of the same bytes are equal though a number be missing, which equals nothing."""
        return (isinstance(other, Values) and self.packed == other.packed) or super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as of mappings

    def keys(self) -> KeysView[str]:
        return self.layout.places.keys()

    def whole(self) -> dict[str, Value]:
        """All of it, unpacked at once."""
        values = self.layout.fixed.unpack_from(self.packed, HEADER_SIZE)
        return dict(zip(self.layout.places, (*values[: len(self.layout.numbers)], *self._texts), strict=True))


def _texts(lengths: struct.Struct, tail: bytes) -> tuple[str | None, ...]:
    try:
        told = lengths.unpack_from(tail)
        text = tail[lengths.size :].decode()
    except (struct.error, UnicodeDecodeError) as problem:
        raise _damaged(str(problem)) from None
    texts, start = [], 0
    for length in told:
        end = start + max(length, 0)
        texts.append(None if length == MISSING else text[start:end])
        start = end
    if start != len(text) or min(told, default=MISSING) < MISSING:
        raise _damaged(f"{len(text)} characters of text where {start} belong")
    return tuple(texts)


def has_all(values: Mapping[str, Value], names: frozenset[str]) -> bool:
    """Whether there is a value, though it be missing, of each name."""
    return values.layout.holds(names) if isinstance(values, Values) else values.keys() >= names


def layout_of(rows: Sequence[Mapping[str, Value]]) -> Layout | None:
    """The layout that all rows were unpacked with; None where there is no such one."""
    layout = rows[0].layout if rows and isinstance(rows[0], Values) else None
    return layout if layout and all(isinstance(row, Values) and row.layout is layout for row in rows) else None


def numbers(rows: Sequence[Mapping[str, Value]], names: Sequence[str]) -> np.ndarray:
    """Numeric columns as a matrix of float64: one row each, one column a name; NaN for missing.

    Values of one layout are taken from their bytes as they are, in a fraction of the time that asking for each would take.

    Raises:
        KeyError: a row lacks a column.
        TypeError: a column holds text.
    """
    layout = layout_of(rows)
    if layout is None:
        told = [[_number(row[name]) for name in names] for row in rows]
        return np.array(told, dtype=np.float64).reshape(len(rows), len(names))
    width = len(layout.numbers) * _NUMBER.size
    packed = b"".join([row.packed[HEADER_SIZE : HEADER_SIZE + width] for row in rows])  # type: ignore[attr-defined]
    places = [layout.places[name] for name in names]
    if places and max(places) >= len(layout.numbers):
        raise TypeError("a category where a number belongs")
    return np.frombuffer(packed, dtype="<f8").reshape(len(rows), len(layout.numbers))[:, places]


def categories(rows: Sequence[Mapping[str, Value]], names: Sequence[str]) -> list[list[Value]]:
    """Columns of categories, one list a name.

    Raises:
        KeyError: a row lacks a column.
    """
    layout = layout_of(rows)
    places = [layout.places[name] - len(layout.numbers) for name in names] if layout else []
    if layout is None or min(places, default=0) < 0:
        return [[row[name] for row in rows] for name in names]
    texts = [row._texts for row in rows]  # type: ignore[attr-defined]
    return [[mine[place] for mine in texts] for place in places]


def _number(value: Value) -> float:
    if isinstance(value, str):
        raise TypeError("text where a number belongs")
    return math.nan if value is None else float(value)


def mismatch(where: str, expected: Sequence[str], received: Sequence[str]) -> ContractError:
    """The error for names that do not fit, as a line diff: `-` is lacking, `+` is too much."""
    diff = [line for line in difflib.ndiff(list(expected), list(received)) if line[0] in "-+"]
    return ContractError(
        where,
        expected=f"{len(expected)} features",
        received=f"{len(received)} features, which differ so:\n    " + "\n    ".join(diff or ["the same names in another order"]),
        repair="run `foresell snapshot` to write the records anew, or train again on the features there are",
    )


def _damaged(what: str) -> ContractError:
    return ContractError(
        "a record of the online store",
        expected=f"a whole record of version {VERSION}",
        received=what,
        repair="run `foresell snapshot` to write the records anew",
    )
