"""Limits of what may be said of an entity, the same over HTTP and in a webhook: what one brings, the other can ask about."""

from __future__ import annotations

MOST_ENTITIES = 1_000  # in one call
LONGEST_ID = 200  # characters
LONGEST_CATEGORY = 1_000  # characters
STORABLE = "text without NUL and without halves of surrogate pairs"


def is_storable(text: str) -> bool:
    """Whether every store can hold a text, and look it up: JSON can spell half a character, and PostgreSQL has no NUL."""
    try:
        return b"\x00" not in text.encode()
    except UnicodeEncodeError:
        return False
