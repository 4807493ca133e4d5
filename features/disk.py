"""The disk: what is said of one that is full, or cannot be read or written."""

from __future__ import annotations

from features.errors import StoreError


def broken(where: str, problem: Exception) -> StoreError:
    """The error for it; whatever Foresell does on a disk may be broken off anywhere and run again."""
    return StoreError(
        where,
        expected="a disk that can be read and written, with room left",
        received=f"{type(problem).__name__}: {next(iter(str(problem).splitlines()), '')}",
        repair="make room or mend what it names, then run the same command again: it goes on where it was",
    )
