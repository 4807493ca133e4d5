"""Retry-After: how long a server that is out of breath wants to be left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

LONGEST_RETRY_AFTER = timedelta(days=1)


def retry_after(response: httpx.Response) -> timedelta | None:
    """How long the server wants to be left alone, at most a day: seconds, or a date against the answer's own `Date`."""
    told = response.headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdigit():
        return min(timedelta(seconds=min(int(told[:10]), 10**9)), LONGEST_RETRY_AFTER)
    try:
        until, at = (_date(text) for text in (told, response.headers.get("Date", "")))
    except ValueError:
        return None
    return min(max(until - at, timedelta(0)), LONGEST_RETRY_AFTER)


def _date(text: str) -> datetime:
    found = parsedate_to_datetime(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found
