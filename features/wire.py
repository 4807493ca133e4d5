"""How Feast writes a packed record into an online store: under which key, and as which value.

Equal, byte for byte, to Feast's own functions for its entity keys of version 3 (feast/infra/key_encoding_utils.py,
feast/infra/online_stores/redis.py and sqlite.py); a test compares them. Pure, and free of Feast, which takes seconds to import
and builds protobuf messages for every key and value that it reads.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import mmh3

from features.errors import ContractError

KEY_VERSION = 3
RECORD = "record"
_STRING = 2  # of Feast's ValueType
_BYTES_TAG = b"\x0a"  # field 1 of Feast's Value, of the wire type that tells its length
_SECONDS_TAG, _NANOS_TAG = b"\x08", b"\x10"  # fields 1 and 2 of protobuf's Timestamp, of the wire type of a varint
_EPOCH, _SECOND, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(seconds=1), timedelta(microseconds=1)
_ENOUGH_LENGTHS = 65_536
_LONGEST_HEAD = 6  # bytes: the tag, and a length below 32 GiB


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


def redis_instant_field(entity: str) -> bytes:
    """The field of a hash that holds the as_of of the packed record."""
    return f"_ts:{record_view(entity)}".encode()


def redis_instant(as_of: datetime) -> bytes:
    """An as_of in that field: protobuf's Timestamp, which leaves out what is 0."""
    seconds, rest = divmod(as_of - _EPOCH, _SECOND)
    nanos = rest // _MICROSECOND * 1_000
    return (_SECONDS_TAG + _varint(seconds) if seconds else b"") + (_NANOS_TAG + _varint(nanos) if nanos else b"")


def sqlite_instant(as_of: datetime) -> int:
    """An as_of in SQLite's `event_ts`: whole seconds, and as if UTC were the local time, which Feast takes back when it reads."""
    return int(as_of.astimezone(UTC).replace(tzinfo=None).timestamp())


def sqlite_table(project: str, entity: str) -> str:
    """The table of SQLite that holds the records of an entity."""
    return f"{project}_{record_view(entity)}"


def wrapped(record: bytes) -> bytes:
    """A packed record as one of Feast's values."""
    return _head_before(len(record)) + record


def unwrapped(value: bytes | None) -> bytes | None:
    """The packed record in one of Feast's values; None where there is none.

    Raises:
        ContractError: the value is not bytes alone, or is cut off.
    """
    if not value:
        return None
    head = _head_in(len(value))
    if not head or not value.startswith(head):
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
def _head_before(length: int) -> bytes:
    """What comes before so many bytes in a value: the tag, and how many follow."""
    return _BYTES_TAG + _varint(length)


@lru_cache(_ENOUGH_LENGTHS)
def _head_in(length: int) -> bytes:
    """What a value of so many bytes in all begins with; nothing where no value has that many."""
    heads = (_head_before(length - size) for size in range(2, min(length, _LONGEST_HEAD) + 1))
    return next((head for size, head in enumerate(heads, 2) if len(head) == size), b"")


def _varint(number: int) -> bytes:
    """A whole number as protobuf writes an int64: seven bits a byte, the lowest first; a negative one as if it had no sign."""
    rest, digits = number & 0xFFFF_FFFF_FFFF_FFFF, bytearray()
    while rest > 0x7F:
        digits.append(rest & 0x7F | 0x80)
        rest >>= 7
    digits.append(rest)
    return bytes(digits)
