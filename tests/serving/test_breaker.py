"""A breaker lets one try every pause while a dependency fails, and is closed by the first success."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from features.errors import StoreError
from serving.breaker import Breaker

AWAY = StoreError("the store", expected="an answer", received="none", repair="wait")


class Clock:
    """Seconds that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def fails(breaker: Breaker, problem: Exception = AWAY) -> bool:
    """Ask a dependency that fails; whether it was reached."""
    reached = False
    with pytest.raises(type(problem)), breaker.guarding():
        reached = True
        raise problem
    return reached


def works(breaker: Breaker) -> bool:
    with breaker.guarding():
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Callable[[], float]) -> Breaker:
    return Breaker(pause=1.0, clock=clock)


def test_while_it_works_everybody_gets_through(breaker: Breaker) -> None:
    assert all(works(breaker) for _ in range(5)) and breaker.failure is None


def test_after_a_failure_nobody_waits_until_the_pause_is_over(breaker: Breaker, clock: Clock) -> None:
    assert fails(breaker) and breaker.failure is AWAY
    assert not fails(breaker)
    clock.now = 100.999
    assert not fails(breaker)
    clock.now = 101.0
    assert fails(breaker) and not fails(breaker)  # one tries, and opens it for another pause
    clock.now = 101.999
    assert not fails(breaker)


def test_one_success_closes_it(breaker: Breaker, clock: Clock) -> None:
    fails(breaker)
    clock.now = 101.0
    assert works(breaker) and breaker.failure is None and works(breaker) and fails(breaker)


def test_while_one_tries_the_others_do_not_wait_for_it(breaker: Breaker, clock: Clock) -> None:
    fails(breaker)
    clock.now = 101.0
    with breaker.guarding():
        assert not fails(breaker)
    assert works(breaker)


def test_what_is_no_failure_of_the_dependency_opens_nothing(breaker: Breaker) -> None:
    assert fails(breaker, ValueError("a bug")) and breaker.failure is None and works(breaker)
