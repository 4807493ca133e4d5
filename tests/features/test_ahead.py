"""What is made ahead comes whole and in order, and leaves no thread behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from features.ahead import ahead


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("ahead")]


def test_everything_comes_in_order_and_each_is_made_while_the_one_before_is_used() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for one in range(4):
            made.append(one)
            if one == 1:
                second.set()
            yield one

    found = []
    with closing(ahead(items())) as coming:
        for one in coming:
            found.append(one)
            assert second.wait(10) and len(made) <= one + 2
    assert found == [0, 1, 2, 3] and not threads()
    assert list(ahead([])) == []


def test_an_error_comes_after_what_was_made_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    coming = ahead(items())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="broken"):
        next(coming)
    assert not threads()


def test_an_error_between_two_leaves_no_thread_while_it_is_looked_at() -> None:
    def broken(one: int) -> int:
        raise ValueError(one)

    with pytest.raises(ValueError) as kept, closing(ahead(iter(range(100)))) as read, closing(ahead(map(broken, read))) as made:
        list(made)
    assert not threads() and kept.value.args == (0,)


def test_who_leaves_before_the_end_leaves_no_thread() -> None:
    left: list[str] = []

    def items() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            left.append("left")

    with pytest.raises(RuntimeError), closing(ahead(one + 1 for one in ahead(items()))) as coming:
        assert next(coming) == 1
        raise RuntimeError
    del coming
    assert not threads() and left == ["left"]
