"""What is old is removed from the ledger, to the microsecond, and nothing that is still needed is; SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest

from features.settings import Workspace
from serving.ledger import Compared, Forgotten, Ledger, Waiting
from tests.serving.ledger.entries import NOW, entry, letter, received

MICROSECOND = timedelta(microseconds=1)
AGES = (timedelta(days=900), MICROSECOND, timedelta(0), -MICROSECOND)  # before the instant from which things are kept


def test_what_is_older_goes_and_what_is_of_the_instant_itself_stays(ledger: Ledger) -> None:
    ledger.keep([entry(f"{i}", at=NOW - age) for i, age in enumerate(AGES)])
    ledger.keep_shadow([Compared(NOW - age, "churn", f"{i}", "3", 0.1, "4", 0.2) for i, age in enumerate(AGES)])
    assert ledger.forget(NOW) == Forgotten(2, 2, 0)
    assert [row.entity_id for row in ledger.audit()] == ["2", "3"]
    assert [row.entity_id for row in ledger.compared("churn")] == ["2", "3"]
    assert ledger.forget(NOW) == Forgotten(0, 0, 0)


def test_the_last_score_of_an_entity_stays_however_old(ledger: Ledger) -> None:
    old = entry("1", at=NOW - timedelta(days=9_000))
    ledger.keep([old])
    assert ledger.forget(NOW).served == 1
    assert ledger.latest("churn", ["1"]) == {"1": old.stored}


def test_what_waits_stays_and_what_was_given_up_goes(ledger: Ledger) -> None:
    for number, age in enumerate(AGES):
        ledger.receive([received(number, f"{number}")._replace(received_at=NOW - age)])
        ledger.send_later([letter(f"waits {number}", f"waits {number}"), letter(f"{number}", f"{number}")], NOW - age)
        ledger.give_up(f"{number}", "HTTP 404")
    assert ledger.forget(NOW) == Forgotten(0, 0, 2)
    assert ledger.waiting() == Waiting(4, 4, 2)


@pytest.mark.parametrize("rows_at_once", [1, 3, 4])
def test_a_few_rows_at_a_time_remove_as_many(ledger: Ledger, rows_at_once: int) -> None:
    ledger.keep([entry(f"{i}", at=NOW - timedelta(days=1)) for i in range(6)] + [entry("new")])
    assert ledger.forget(NOW, rows_at_once).served == 6
    assert [row.entity_id for row in ledger.audit()] == ["new"]


def test_others_get_their_turn_between_two_chunks(open_ledger: Callable[..., Ledger], monkeypatch: pytest.MonkeyPatch) -> None:
    """Another connection can write in every pause, with little patience."""
    mine, other, turns = open_ledger(), open_ledger(write_ms=2_000), []
    mine.keep([entry(f"{i}", at=NOW - timedelta(days=1)) for i in range(4)])

    def pause(seconds: float) -> None:
        other.receive([received(len(turns), "1")])
        turns.append(len(other.audit()))

    monkeypatch.setattr("serving.ledger.retention.time", SimpleNamespace(sleep=pause))  # of this module: other threads sleep, too
    assert mine.forget(NOW, 1).served == 4 and turns == [3, 2, 1]


def test_before_anything_was_written_nothing_is_removed_or_created(workspace: Workspace, ledger: Ledger) -> None:
    assert ledger.forget(NOW) == Forgotten(0, 0, 0) and not workspace.serving.exists()
