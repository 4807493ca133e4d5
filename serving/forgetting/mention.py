"""Mentions: an id of the person in a text, told from ids that it is only a part of.

C1 is not mentioned where C10, xC1 or C1-2 stands. An id that is short, or has few digits and nothing else, also stands where
nobody is meant, as a count or a version: such ones are only looked for where ids belong.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

from features.forgetting.person import is_telling

_BEFORE, _AFTER = rb"(?<![0-9A-Za-z_])(?<![0-9A-Za-z_][-.@+])", rb"(?![0-9A-Za-z_])(?![-.@+][0-9A-Za-z_])"


def mentions(data: bytes, ids: Iterable[str]) -> int:
    """How often telling ids stand in a text or in bytes, as they are or as JSON, HTML or an address write them."""
    return sum(len(pattern(one).findall(data)) for one in ids if is_telling(one))


@lru_cache
def pattern(entity_id: str) -> re.Pattern[bytes]:
    """What finds an id."""
    escaped = json.dumps(entity_id)[1:-1]
    told = {
        entity_id,
        escaped,
        json.dumps(entity_id, ensure_ascii=False)[1:-1],
        html.escape(entity_id),
        quote(entity_id, safe=""),
    }
    spelt = sorted((re.escape(one.encode("utf-8", "surrogatepass")) for one in told), key=len, reverse=True)
    return re.compile(_BEFORE + b"(?:" + b"|".join(spelt) + b")" + _AFTER)
