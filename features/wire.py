"""How Feast writes a packed record into an online store: under which key, and as which value.

Equal, byte for byte, to Feast's own functions for its entity keys of version 3 (feast/infra/key_encoding_utils.py,
feast/infra/online_stores/redis.py and sqlite.py); a test compares them. Pure, and free of Feast, which takes seconds to import
and builds protobuf messages for every key and value that it reads.
"""

from __future__ import annotations

import struct
from functools import lru_cache

import mmh3

from features.errors import ContractError

KEY_VERSION = 3
RECORD = "record"
_STRING = 2  # of Feast's ValueType
_BYTES_TAG = b"\x0a"  # field 1 of Feast's Value, of the wire type that tells its length
_ENOUGH_LENGTHS = 65_536


def join_key(entity: str) -> str:
    """The column under which Feast knows an entity's id."""
    return f"{entity}_id"


def record_view(entity: str) -> str:
    """The name of the feature view whose one feature is the packed record."""
    return f"{entity}_{RECORD}"


def entity_key(entity: str, entity_id: str) -> bytes:
    """The key of SQLite's rows; an id that is no text Feast could have written gets a key that nothing is under."""
    data = entity_id.encode("utf-8", "surrogatepass")
    return b"%b%b%b" % (_key_head(entity), len(data).to_bytes(4, "little"), data)


def redis_key(project: str, entity: str, entity_id: str) -> bytes:
    """The key of Redis's hashes."""
    return entity_key(entity, entity_id) + project.encode()


def redis_field(entity: str) -> bytes:
    """The field of a hash that holds the packed record."""
    return mmh3.hash(f"{record_view(entity)}:{RECORD}", signed=False).to_bytes(4, "little")


def sqlite_table(project: str, entity: str) -> str:
    """The table of SQLite that holds the records of an entity."""
    return f"{project}_{record_view(entity)}"


def unwrapped(value: bytes | None) -> bytes | None:
    """The packed record in one of Feast's values; None where there is none.

    Raises:
        ContractError: the value is not bytes alone, or is cut off.
    """
    if not value:
        return None
    head = _value_head(len(value))
    if not value.startswith(head):
        raise ContractError(
            "a record of the online store",
            expected="one value of Feast's type BYTES",
            received=f"{len(value)} bytes that begin with {value[:8].hex()}",
            repair="run `foresell snapshot` to write the records anew",
        )
    return value[len(head) :] or None


@lru_cache
def _key_head(entity: str) -> bytes:
    name = join_key(entity).encode()
    return struct.pack(f"<III{len(name)}sI", 1, _STRING, len(name), name, _STRING)


@lru_cache(_ENOUGH_LENGTHS)
def _value_head(length: int) -> bytes:
    """What comes before the bytes in a value of so many bytes in all: the tag, and how many follow."""
    for size in range(1, 6):
        rest = length - len(_BYTES_TAG) - size
        digits = [(rest >> 7 * place & 0x7F) | (0x80 if place < size - 1 else 0) for place in range(size)]
        if rest >> 7 * size == 0:
            return _BYTES_TAG + bytes(digits)
    raise ValueError(f"a value of {length} bytes")
