"""What targets were sent is kept record by record, in SQLite and PostgreSQL, and in a ledger that an older release made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from serving.ledger import Ledger, Written
from serving.ledger.table import WRITTEN
from tests.serving.ledger.entries import NOW, entry

LATER = NOW + timedelta(hours=1)


def written(entity_id: str, score: int = 42, target: str = "crm", propensity: str = "churn") -> Written:
    return Written(target, propensity, entity_id, "customer", "digest", "scored", score, "B", "3", NOW, "waiting", None, 1, NOW)


def test_what_was_intended_waits_until_it_is_settled(ledger: Ledger) -> None:
    ledger.intend([written("b"), written("a"), written("a", target="other"), written("a", propensity="upsell")])
    assert ledger.written("crm", "churn", ["a", "b", "c"]) == {"a": written("a"), "b": written("b")}
    ledger.settle("crm", "churn", ["a"], "sent", LATER)
    ledger.settle("crm", "churn", ["b"], "rejected", LATER, {"b": "HTTP 404"})
    assert ledger.written("crm", "churn", ["a"])["a"] == written("a")._replace(status="sent", at=LATER)
    assert ledger.of_status("crm", "rejected") == [written("b")._replace(status="rejected", error="HTTP 404", at=LATER)]
    assert ledger.of_status("crm", "waiting") == [written("a", propensity="upsell")]
    assert ledger.keys("crm", "sent") == [("churn", "a")] and ledger.keys("none", "sent") == []
    assert ledger.statuses("crm") == {"sent": 1, "rejected": 1, "waiting": 1} and ledger.statuses("other") == {"waiting": 1}


def held(ledger: Ledger, *asked: str) -> list[tuple[str, int | None, str | None]]:
    return sorted(tuple(row) for rows in ledger.held(*asked) for row in rows)


def test_of_whom_a_target_has_a_score_is_told_of_any_number(ledger: Ledger) -> None:
    ids = [f"{i:06d}" for i in range(60_000)]
    assert held(ledger, "crm", "churn", "digest") == []
    ledger.intend([written(one) for one in ids])
    assert held(ledger, "crm", "churn", "digest") == [(one, None, None) for one in ids], "they wait"
    ledger.settle("crm", "churn", ids[::4_000], "sent", LATER)
    told = written("a")
    known = [(one, told.score, told.grade) if i % 4_000 == 0 else (one, None, None) for i, one in enumerate(ids)]
    assert held(ledger, "crm", "churn", "digest") == known
    assert held(ledger, "crm", "churn", "another") == [(one, None, None) for one in ids], "sent with other settings"
    assert held(ledger, "other", "churn", "digest") == held(ledger, "crm", "upsell", "digest") == []


def test_attempts_are_counted_since_it_was_last_sent(ledger: Ledger) -> None:
    for _ in range(3):
        ledger.intend([written("a")])
    assert ledger.written("crm", "churn", ["a"])["a"].attempts == 3
    ledger.settle("crm", "churn", ["a"], "sent", LATER)
    ledger.intend([written("a", 50)])
    assert ledger.written("crm", "churn", ["a"])["a"] == written("a", 50)


def test_who_has_a_score_in_the_target(ledger: Ledger) -> None:
    gone = [written(name)._replace(state="gone", score=None, grade=None) for name in ("gone", "going")]
    ledger.intend([written("b"), written("a"), *gone])
    ledger.settle("crm", "churn", ["gone"], "sent", LATER)
    assert [one for one, *_ in held(ledger, "crm", "churn", "digest")] == ["a", "b", "going"]
    assert held(ledger, "crm", "upsell", "digest") == []


def test_more_ids_than_a_statement_takes(ledger: Ledger) -> None:
    ids = [f"{number:06d}" for number in range(20_001)]
    ledger.intend([written(ids[0]), written(ids[-1])])
    assert list(ledger.written("crm", "churn", ids)) == [ids[0], ids[-1]]


def test_nothing_is_created_by_reading(ledger: Ledger) -> None:
    assert ledger.written("crm", "churn", ["a"]) == {} and held(ledger, "crm", "churn", "digest") == []
    assert ledger.statuses("crm") == {} and ledger.of_status("crm", "sent") == [] and ledger.keys("crm", "sent") == []


def test_a_ledger_of_an_older_release_gets_the_table(open_ledger: Callable[..., Ledger]) -> None:
    older = open_ledger()
    older.keep([entry("1")])
    with older._database.writing() as connection:
        WRITTEN.drop(connection)
    first, second = open_ledger(), open_ledger()
    assert first.written("crm", "churn", ["a"]) == {}
    first.intend([written("a")])
    second.intend([written("b")])
    assert list(first.written("crm", "churn", ["a", "b"])) == ["a", "b"] and len(first.latest("churn", ["1"])) == 1


@pytest.mark.postgres
@pytest.mark.parametrize("address", ["postgres"], indirect=True)
def test_one_at_a_time_writes_to_a_target_on_all_machines(open_ledger: Callable[..., Ledger]) -> None:
    first, second = open_ledger(), open_ledger()
    with first.alone("crm") as one, second.alone("crm") as other, second.alone("another") as another:
        assert (one, other, another) == (True, False, True)
    with second.alone("crm") as after:
        assert after
