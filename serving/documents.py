"""Documents by columns, as JSON, byte for byte what `serving.answer` writes row by row."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serving.answer import written
from serving.reason_columns import floats, listed

NULL = "null"
LEAST, MOST = 1e-4, 1e9  # between them Arrow and everybody else write the same digits, but for the `.0` of whole numbers
_ESCAPED = r'[^\x20-\x{10FFFF}]|["\\]'
_NOT_STORED = ',"degraded":false,"trend":null,"change":null}'


def documents(scores: pa.RecordBatch, categories: Collection[str]) -> list[bytes]:
    """The scores of a night as `serving.answer.written` writes them.

    Args:
        scores: of `serving.partition.SCHEMA`.
        categories: the features whose values are text.
    """
    writers: dict[str, Callable[[pa.Array], pa.Array]] = {
        "propensity": _texts, "eligible": _plain, "why": _texts, "policy": _texts, "score": _plain, "probability": _numbers,
        "percentile": _numbers, "grade": _texts, "expected_value": _numbers,
        "reasons": lambda lists: _array(lists, lambda flat: _reasons(flat, categories)),
        "missing": _named, "unseen": _named, "stale": _named, "feature_as_of": _texts, "scored_at": _texts,
        "model_version": _texts, "explore": _plain,
    }  # fmt: skip
    said = {name: _once(scores[name], write) for name, write in writers.items()}
    fields = {"entity_id": _texts(scores["entity_id"]), **said}
    return _bytes(_object(fields, _NOT_STORED))


def _once(column: pa.Array, write: Callable[[pa.Array], pa.Array]) -> pa.Array | str:
    """What is written of each row; one text where it is the same of all, as it is of more than half of the fields."""
    return str(write(column.slice(0, 1))[0]) if _is_one(column) else write(column)


def _is_one(column: pa.Array) -> bool:
    """Whether every row has the same value; of lists, whether all are empty. Numbers may be equal and written otherwise: -0.0."""
    if column.null_count or not len(column) or pa.types.is_floating(column.type):
        return len(column) == column.null_count > 0
    if pa.types.is_list(column.type):
        return not len(column.flatten())
    return bool(column[0] == column[-1]) and len(column.unique()) == 1


def _object(fields: Mapping[str, pa.Array | str], end: str) -> pa.Array:
    parts: list[pa.Array | str] = []
    text = "{"
    for place, (name, column) in enumerate(fields.items()):
        text += f"{',' if place else ''}{written(name).decode()}:"
        if isinstance(column, str):
            text += column
        else:
            parts += [text, column]
            text = ""
    return pc.binary_join_element_wise(*parts, text + end, "")


def _reasons(flat: pa.StructArray, categories: Collection[str]) -> pa.Array:
    feature, value = flat.field("feature"), flat.field("value")
    is_text = pc.is_in(feature, pa.array(sorted(categories), pa.string()))
    numbers = pc.if_else(is_text, None, value).cast(pa.float64())
    return _object(
        {
            "feature": _texts(feature), "features": _named(flat.field("features")),
            "value": pc.if_else(is_text, _texts(value), _numbers(numbers)), "text": _texts(flat.field("text")),
            "direction": _texts(flat.field("direction")), "contribution": _numbers(flat.field("contribution")),
        },
        "}",
    )  # fmt: skip


def _array(lists: pa.ListArray, write: Callable[[pa.Array], pa.Array]) -> pa.Array:
    lengths = pc.list_value_length(lists).to_numpy()
    return pc.binary_join_element_wise("[", pc.binary_join(listed(lengths, write(lists.flatten())), ","), "]", "")


def _named(lists: pa.ListArray) -> pa.Array:
    """Lists of names."""
    return _array(lists, _texts)


def _plain(column: pa.Array) -> pa.Array:
    """Whole numbers, true and false."""
    return column.cast(pa.string()).fill_null(NULL)


def _texts(column: pa.Array) -> pa.Array:
    """Strings and instants, in quotes, made once for each different one."""
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    return _quoted(encoded.dictionary).take(encoded.indices).fill_null(NULL)


def _quoted(distinct: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(distinct.type):
        return pa.array([written(one).decode() for one in distinct.to_pylist()], pa.string())
    texts = distinct.cast(pa.string())
    quoted = pc.binary_join_element_wise('"', texts, '"', "")
    is_special = pc.match_substring_regex(texts, _ESCAPED).fill_null(False)
    return _replaced(quoted, is_special, texts) if pc.any(is_special).as_py() else quoted


def _numbers(column: pa.Array) -> pa.Array:
    """Numbers, missing ones as null; so are infinite ones, for which JSON has no word."""
    numbers = floats(column)
    size, is_known = np.abs(numbers), np.isfinite(numbers)
    is_plain = ((size >= LEAST) & (size < MOST)) | (numbers.view(np.int64) == 0)
    digits = pa.array(np.where(is_plain, numbers, 0.5)).cast(pa.string())
    is_whole = (is_plain & (numbers == np.trunc(numbers))).astype(np.int8)
    text = pc.binary_join_element_wise(digits, pa.array(["", ".0"]).take(pa.array(is_whole)), "")
    if (is_known & ~is_plain).any():
        text = _replaced(text, pa.array(is_known & ~is_plain), pa.array(numbers))
    return pc.if_else(pa.array(is_known), text, NULL)


def _replaced(text: pa.Array, mask: pa.Array, values: pa.Array) -> pa.Array:
    """Where the mask says so, what `written` makes of the value instead."""
    told = [written(value).decode() for value in values.filter(mask).to_pylist()]
    return pc.replace_with_mask(text, mask, pa.array(told, pa.string()))


def _bytes(column: pa.Array) -> list[bytes]:
    found: list[bytes] = column.cast(pa.binary()).to_pylist()
    return found
