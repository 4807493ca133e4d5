"""Documents by columns, as JSON, byte for byte what is written of each row: scores by `serving.answer`, values by pydantic."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import to_json

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
    fields = {
        "entity_id": _texts(scores["entity_id"]), "propensity": _texts(scores["propensity"]),
        "eligible": scores["eligible"].cast(pa.string()), "why": _texts(scores["why"]), "policy": _texts(scores["policy"]),
        "score": scores["score"].cast(pa.string()).fill_null(NULL), "probability": _numbers(scores["probability"]),
        "percentile": _numbers(scores["percentile"]), "grade": _texts(scores["grade"]),
        "expected_value": _numbers(scores["expected_value"]),
        "reasons": _array(scores["reasons"], lambda flat: _reasons(flat, categories)),
        **{name: _array(scores[name], _texts) for name in ("missing", "unseen", "stale")},
        "feature_as_of": _texts(scores["feature_as_of"]), "scored_at": _texts(scores["scored_at"]),
        "model_version": _texts(scores["model_version"]), "explore": scores["explore"].cast(pa.string()),
    }  # fmt: skip
    return _bytes(_object(fields, _NOT_STORED))


def values(batch: pa.RecordBatch, names: Sequence[str]) -> list[bytes]:
    """The values of features as the ledger keeps them."""
    if not names:
        return [b"{}"] * len(batch)
    return _bytes(_object({name: _value(batch[name]) for name in names}, "}"))


def _value(column: pa.Array) -> pa.Array:
    return _numbers(column, infinite=True) if pa.types.is_floating(column.type) else _texts(column)


def _object(fields: dict[str, pa.Array], end: str) -> pa.Array:
    parts: list[pa.Array | str] = []
    for place, (name, column) in enumerate(fields.items()):
        parts += [f"{',' if place else '{'}{to_json(name).decode()}:", column]
    return pc.binary_join_element_wise(*parts, end, "")


def _reasons(flat: pa.StructArray, categories: Collection[str]) -> pa.Array:
    feature, value = flat.field("feature"), flat.field("value")
    is_text = pc.is_in(feature, pa.array(sorted(categories), pa.string()))
    numbers = pc.if_else(is_text, None, value).cast(pa.float64())
    return _object(
        {
            "feature": _texts(feature), "features": _array(flat.field("features"), _texts),
            "value": pc.if_else(is_text, _texts(value), _numbers(numbers)), "text": _texts(flat.field("text")),
            "direction": _texts(flat.field("direction")), "contribution": _numbers(flat.field("contribution")),
        },
        "}",
    )  # fmt: skip


def _array(lists: pa.ListArray, told: Callable[[pa.Array], pa.Array]) -> pa.Array:
    lengths = pc.list_value_length(lists).to_numpy()
    return pc.binary_join_element_wise("[", pc.binary_join(listed(lengths, told(lists.flatten())), ","), "]", "")


def _texts(column: pa.Array) -> pa.Array:
    """Strings and instants, in quotes."""
    if pa.types.is_timestamp(column.type):
        instants = column.dictionary_encode()
        told = pa.array([written(one).decode() for one in instants.dictionary.to_pylist()], pa.string())
        return told.take(instants.indices).fill_null(NULL)
    texts = column.cast(pa.string())
    quoted = pc.binary_join_element_wise('"', texts, '"', "")
    is_special = pc.match_substring_regex(texts, _ESCAPED).fill_null(False)
    if pc.any(is_special).as_py():
        quoted = _replaced(quoted, is_special, texts, written)
    return quoted.fill_null(NULL)


def _numbers(column: pa.Array, infinite: bool = False) -> pa.Array:
    """Numbers, missing ones as null; so are infinite ones, for which JSON has no word, where they are not wanted."""
    numbers = floats(column)
    size, is_known = np.abs(numbers), ~np.isnan(numbers) if infinite else np.isfinite(numbers)
    is_plain = ((size >= LEAST) & (size < MOST)) | (numbers.view(np.int64) == 0)
    digits = pa.array(np.where(is_plain, numbers, 0.5)).cast(pa.string())
    is_whole = (is_plain & (numbers == np.trunc(numbers))).astype(np.int8)
    text = pc.binary_join_element_wise(digits, pa.array(["", ".0"]).take(pa.array(is_whole)), "")
    if (is_known & ~is_plain).any():
        text = _replaced(text, pa.array(is_known & ~is_plain), pa.array(numbers), _constant if infinite else written)
    return pc.if_else(pa.array(is_known), text, NULL)


def _replaced(text: pa.Array, mask: pa.Array, values: pa.Array, write: Callable[[object], bytes]) -> pa.Array:
    """Where the mask says so, what is written of the value instead."""
    told = [write(value).decode() for value in values.filter(mask).to_pylist()]
    return pc.replace_with_mask(text, mask, pa.array(told, pa.string()))


def _constant(number: object) -> bytes:
    return to_json(number, inf_nan_mode="constants")


def _bytes(column: pa.Array) -> list[bytes]:
    found: list[bytes] = column.cast(pa.binary()).to_pylist()
    return found
