"""Feast's classes as they are written. At import typeguard would compile them anew, which takes twice as long as all the rest.

What Foresell hands to them, mypy checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typeguard


@contextmanager
def uninstrumented() -> Iterator[None]:
    """Within the block, `typeguard.typechecked` leaves what it decorates as it is."""
    original = typeguard.typechecked
    typeguard.typechecked = _as_written
    try:
        yield
    finally:
        typeguard.typechecked = original


def _as_written(target: Any = None, **_: Any) -> Any:
    return _as_written if target is None else target
