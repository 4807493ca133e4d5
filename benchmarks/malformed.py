"""Malformed bodies: what comes of valid ones that are cut, bent, swollen or mislabelled, always the same ones for a seed.

A body may come out right after all, such as one in which a bit of an id was flipped: what is asked of the service is that every
answer is a score or a problem document, never a 5xx.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

JSON = "application/json"
CONTENT_TYPES = ("", "text/plain", "application/xml", "application/octet-stream", "multipart/form-data", "\xff")
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1.5, 10**400, -(10**30), 1e308, "", "\x00", "a\x00b",
    "\ud800", "\udfff\ud83d", "é" * 201, "x" * 5_000,
    [], {}, [[]], [None], {"": None}, {"id": {}}, {"$ref": "#"}, {"__proto__": 1}, "NaN", "0x10", " ", "﷽", "🚗" * 60,
)  # fmt: skip
RAW = (
    b"NaN",
    b"Infinity",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"01",
    b"1.",
    b"'a'",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\\u0000",
    b"//x",
    b"",
)
LARGE = 5 * 1024 * 1024


@dataclass(frozen=True)
class Sent:
    """One request: `chunked` streams it; `what` names the mutation."""

    what: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"Content-Type": JSON})
    chunked: bool = False


def malformed(valid: list[dict[str, Any]], bodies: int, seed: int) -> Iterator[Sent]:
    """So many requests, each of them one of the valid ones with one thing or more wrong with it."""
    chance = random.Random(seed)
    mutations = tuple(MUTATIONS.items())
    for number in range(bodies):
        what, mutate = mutations[number % len(mutations)]
        sent = mutate(chance, chance.choice(valid))
        yield sent if isinstance(sent, Sent) else Sent(what, sent)


def _cut(chance: random.Random, valid: dict[str, Any]) -> bytes:
    body = _written(valid)
    return body[: chance.randrange(len(body))]


def _flipped(chance: random.Random, valid: dict[str, Any]) -> bytes:
    body = bytearray(_written(valid))
    for _ in range(chance.randint(1, 4)):
        body[chance.randrange(len(body))] ^= 1 << chance.randrange(8)
    return bytes(body)


def _odd_value(chance: random.Random, valid: dict[str, Any]) -> bytes:
    """Another value in place of one that stands somewhere, however deep."""
    return _written(_replaced(chance, valid, chance.choice(ODD)))


def _odd_text(chance: random.Random, valid: dict[str, Any]) -> bytes:
    """Something that is no JSON in place of a value."""
    return _written(_replaced(chance, valid, "@@@")).replace(b'"@@@"', chance.choice(RAW))


def _inserted(chance: random.Random, valid: dict[str, Any]) -> bytes:
    body = _written(valid)
    place = chance.randrange(len(body))
    noise = chance.choice(
        (chance.randbytes(chance.randint(1, 20)), b"[" * chance.randint(1, 3_000), b'{"a":' * 500, b",,", b"\x00")
    )
    return body[:place] + noise + body[place:]


def _nested(chance: random.Random, valid: dict[str, Any]) -> bytes:
    depth = chance.choice((50, 150, 250, 1_000, 50_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"ids":', b"}"), (b'{"records":[', b"]}")))
    return opening * depth + b"1" + closing * depth


def _twice(chance: random.Random, valid: dict[str, Any]) -> bytes:
    """A key that comes twice."""
    body = _written(valid)
    return b'{"ids": ' + _written(chance.choice(ODD)) + b"," + body[1:]


def _unknown(chance: random.Random, valid: dict[str, Any]) -> bytes:
    return _written({**valid, chance.choice(("id", "record", "", "ids ", "\ud800", "a" * 10_000)): chance.choice(ODD)})


def _huge_number(chance: random.Random, valid: dict[str, Any]) -> bytes:
    digits = chance.choice((b"9" * 5_000, b"1e" + b"9" * 300, b"-" + b"8" * 400, b"0." + b"0" * 4_000 + b"1"))
    return _written(_replaced(chance, valid, "@@@")).replace(b'"@@@"', digits)


def _too_many(chance: random.Random, valid: dict[str, Any]) -> bytes:
    return _written({**valid, "ids": ["a"] * chance.choice((1_001, 5_000))})


def _mislabelled(chance: random.Random, valid: dict[str, Any]) -> Sent:
    return Sent("mislabelled", _written(valid), {"Content-Type": chance.choice(CONTENT_TYPES)})


def _compressed(chance: random.Random, valid: dict[str, Any]) -> Sent:
    """Declared as gzip: truly so, or not at all."""
    body = _written(valid)
    return Sent(
        "compressed",
        gzip.compress(body, mtime=0) if chance.random() < 0.5 else body[1:],
        {"Content-Type": JSON, "Content-Encoding": "gzip"},
    )


def _streamed(chance: random.Random, valid: dict[str, Any]) -> Sent:
    return Sent("streamed", _flipped(chance, valid), chunked=True)


def _too_large(chance: random.Random, valid: dict[str, Any]) -> Sent:
    """One in twenty is truly large; the others only end in blanks."""
    size = LARGE if chance.random() < 0.05 else 1_000
    return Sent("too large", _cut(chance, valid).ljust(size), chunked=chance.random() < 0.5)


MUTATIONS: dict[str, Callable[[random.Random, dict[str, Any]], bytes | Sent]] = {
    "cut": _cut, "flipped": _flipped, "odd value": _odd_value, "odd text": _odd_text, "inserted": _inserted, "nested": _nested,
    "twice": _twice, "unknown": _unknown, "huge number": _huge_number, "too many": _too_many, "mislabelled": _mislabelled,
    "compressed": _compressed, "streamed": _streamed, "too large": _too_large,
}  # fmt: skip


def _written(value: Any) -> bytes:
    return json.dumps(value).encode()


def _replaced(chance: random.Random, value: Any, new: Any) -> Any:
    """A copy in which one value, somewhere, is another one."""
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.2:
        return new
    copy: Any = value.copy()
    place = chance.choice(list(copy)) if isinstance(copy, dict) else chance.randrange(len(copy))
    copy[place] = _replaced(chance, copy[place], new)
    return copy
