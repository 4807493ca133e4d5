"""Values: what a CRM sent for one attribute, as the attribute's type; never a guess.

| type | read as a value | missing |
| --- | --- | --- |
| number | a finite number, also in quotes; true and false are 1 and 0 | null, blank text; Odoo's `false` |
| category | text without blanks around it; 7 and 7.0 are `7`; true and false are `true` and `false`; a link is its name, or its id as text if there is no name: `[7, "Web"]`, `{"id": 7, "display_name": "Web"}`, `7` | null, blank text, an empty list; Odoo's `false` |
| timestamp | ISO, with or without a zone (without one it is UTC, as Odoo and EspoCRM store times), a date as its first instant; milliseconds since 1970, as a number or in quotes | null, blank text; Odoo's `false` |

Odoo writes `false` for whatever is empty, except for its own numbers, which are 0 then. So `false` for a number comes from a
yes-or-no field, where it is 0, or from an empty selection, text or link, where it is missing, and nothing in the record tells
which. It is missing unless the hook lists the field in `flags`.

Milliseconds before March 1973 are refused: they are seconds that would be read as January 1970. So are years up to 1900 and from
2099 on, which stand for "none" and "for ever" (features.conversion).
"""  # noqa: E501

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from features.conversion import EARLIEST, LATEST
from serving.limits import LONGEST_CATEGORY, is_storable
from serving.newcomer import Given, Type

EXPECTED: dict[Type, str] = {
    "number": "a finite number",
    "category": f"text of up to {LONGEST_CATEGORY:,} characters, or a link",
    "timestamp": f"a time such as 2026-11-22T06:07:30Z, or milliseconds since 1970; after {EARLIEST} and before {LATEST}",
}
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?", re.ASCII)
_MILLISECONDS = re.compile(r"\d{12,14}", re.ASCII)
_LEAST_MILLISECONDS = 100_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = ("display_name", "name", "label")


class NotAValueError(ValueError):
    """What was sent is no value of the attribute's type; it has no words of its own, because the flaw has them."""


def value(sent: Any, kind: Type, false_is_missing: bool = False) -> Given:
    """The value of an attribute, None where the CRM says that it has none.

    Args:
        sent: what stood in the body.
        kind: the attribute's type.
        false_is_missing: whether `false` says so, as Odoo's does.

    Raises:
        NotAValueError: it is no value of that type.
    """
    if sent is None or (sent is False and false_is_missing) or (isinstance(sent, str) and not sent.strip()):
        return None
    if kind == "number":
        return _number(sent)
    return _category(sent) if kind == "category" else _time(sent)


def text(sent: Any) -> str:
    """What an id or a category is written as.

    Raises:
        NotAValueError: it is no text or number, or holds half a character or NUL, which no store can keep.
    """
    if isinstance(sent, bool) or not isinstance(sent, (str, int, float)) or (isinstance(sent, float) and not math.isfinite(sent)):
        raise NotAValueError
    if isinstance(sent, (int, float)):
        return _digits(sent)
    if not is_storable(sent):
        raise NotAValueError
    return sent.strip()


def _number(sent: Any) -> float:
    words = {"true": 1.0, "false": 0.0}
    if isinstance(sent, str):
        stripped = sent.strip()
        if _NUMBER.fullmatch(stripped) is None and stripped.lower() not in words:
            raise NotAValueError
        return _finite(words.get(stripped.lower(), stripped))
    if not isinstance(sent, (bool, int, float)):
        raise NotAValueError
    return _finite(sent)


def _finite(number: float | str) -> float:
    try:
        found = float(number)
    except OverflowError:
        raise NotAValueError from None
    if not math.isfinite(found):
        raise NotAValueError
    return found


def _category(sent: Any) -> str | None:
    if isinstance(sent, bool):
        return "true" if sent else "false"
    if isinstance(sent, list):
        return _link(sent)
    if isinstance(sent, dict):
        named = next((sent[name] for name in _NAMES if isinstance(sent.get(name), str)), sent.get("id"))
        return _short(text(named))
    return _short(text(sent))


def _link(sent: list[Any]) -> str | None:
    """The name of `[7, "Web"]`; a list of several things is no single value."""
    if not sent:
        return None
    if len(sent) != 2 or isinstance(sent[0], bool) or not isinstance(sent[0], int) or not isinstance(sent[1], str):
        raise NotAValueError
    return _short(text(sent[1]) or text(sent[0]))


def _short(found: str) -> str:
    if len(found) > LONGEST_CATEGORY:
        raise NotAValueError
    return found


def _digits(number: float) -> str:
    """A number as text; beyond 2**53 a float is no longer the number that was sent."""
    if abs(number) >= (2**53 if isinstance(number, float) else 10**18):
        raise NotAValueError
    return str(int(number)) if number == int(number) else repr(number)


def _time(sent: Any) -> datetime:
    if isinstance(sent, str):
        found = _written(sent.strip())
    elif isinstance(sent, bool) or not isinstance(sent, (int, float)) or not _LEAST_MILLISECONDS <= sent < 1e14:
        raise NotAValueError
    else:
        found = _EPOCH + timedelta(milliseconds=sent)
    if not EARLIEST < found.year < LATEST:
        raise NotAValueError
    return found


def _written(sent: str) -> datetime:
    if _MILLISECONDS.fullmatch(sent):
        return _EPOCH + timedelta(milliseconds=int(sent))
    if _ISO.fullmatch(sent) is None:
        raise NotAValueError
    try:
        instant = datetime.fromisoformat(sent)
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
    except (ValueError, OverflowError):
        raise NotAValueError from None
