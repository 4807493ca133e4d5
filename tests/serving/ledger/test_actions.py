"""Actions are kept once, in SQLite and PostgreSQL, also in a ledger that an older release made."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import inspect, text

from serving.ledger import Action, Ledger
from serving.ledger.table import ACTION
from tests.serving.ledger.entries import NOW, entry

MICROSECOND = timedelta(microseconds=1)


def action(name: str, entity_id: str = "1", **other: object) -> Action:
    told = Action(name, "churn", "customer", entity_id, NOW, "call", None, False, NOW, "request 1", "crm")
    return told._replace(**other)  # type: ignore[arg-type]


def older(ledger: Ledger) -> None:
    """What a release left that knew no actions."""
    ledger.keep([entry("1")])
    with ledger._database.writing() as connection:
        connection.execute(text("drop table action"))


def test_what_is_told_twice_is_kept_once_and_says_who_told_it_first(ledger: Ledger) -> None:
    first = ledger.log([action("a"), action("b", "2"), action("a")])
    again = ledger.log([action("b", "2", request_id="request 2", at=NOW + MICROSECOND), action("c", "3", request_id="request 2")])
    assert first == {"a": action("a"), "b": action("b", "2")}
    assert again == {"b": action("b", "2"), "c": action("c", "3", request_id="request 2")}
    assert [one.id for one in ledger.actions()] == ["a", "b", "c"]


def test_an_outcome_may_be_told_later_and_is_not_taken_back_by_a_retry_without_it(ledger: Ledger) -> None:
    ledger.log([action("a")])
    assert ledger.log([action("a", outcome="reached")])["a"].outcome == "reached"
    assert ledger.log([action("a")])["a"].outcome == "reached"
    assert ledger.log([action("a", outcome="sold")])["a"].outcome == "sold"


@pytest.mark.parametrize("other", [{"propensity": "upsell"}, {"entity_id": "9"}, {"kind": "visit"}])
def test_another_action_under_a_known_id_changes_nothing(ledger: Ledger, other: dict[str, str]) -> None:
    ledger.log([action("a", outcome="reached")])
    assert ledger.log([action("a", **{"outcome": "sold", **other})])["a"] == action("a", outcome="reached")


def test_which_ones_and_how_many_to_the_microsecond(ledger: Ledger) -> None:
    ledger.log([action(f"{i}", f"{i}", at=NOW + i * MICROSECOND, held_out=i == 2) for i in range(4)])
    ledger.log([action("u", "1", propensity="upsell", kind="email", at=NOW - MICROSECOND)])
    assert [one.id for one in ledger.actions(since=NOW + MICROSECOND, until=NOW + 3 * MICROSECOND)] == ["1", "2"]
    assert [one.id for one in ledger.actions(limit=2)] == ["2", "3"] and [one.id for one in ledger.actions(entity_id="1")] == [
        "u",
        "1",
    ]
    assert ledger.count_actions() == {
        ("churn", "call", False): 3, ("churn", "call", True): 1, ("upsell", "email", False): 1
    }  # fmt: skip
    assert ledger.count_actions(propensity="upsell", until=NOW) == {("upsell", "email", False): 1}


def test_two_who_tell_the_same_at_once_keep_it_once(open_ledger: Callable[..., Ledger]) -> None:
    ledgers = [open_ledger() for _ in range(4)]

    def tell(number: int) -> None:
        some = [action(f"{i}", f"{i}", request_id=f"request {number}") for i in range(300)]
        ledgers[number].log(some if number % 2 else some[::-1])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(tell, range(4)))
    assert len(ledgers[0].actions()) == 300


def test_several_who_open_the_ledger_of_an_older_release_at_once_make_the_table_once(open_ledger: Callable[..., Ledger]) -> None:
    older(open_ledger())
    ledgers = [open_ledger() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: ledgers[number].log([action("a"), action(f"of {number}")]), range(4)))
    assert len(ledgers[0].actions()) == 5


def test_what_was_told_longer_ago_goes_and_what_is_of_the_instant_stays_whenever_it_was_done(ledger: Ledger) -> None:
    ledger.log([action("old", told_at=NOW - MICROSECOND), action("new"), action("late", at=NOW - timedelta(days=900))])
    assert ledger.forget(NOW).actions == 1 and [one.id for one in ledger.actions()] == ["late", "new"]


def test_a_ledger_of_an_older_release_gets_the_table_when_it_is_needed(open_ledger: Callable[..., Ledger]) -> None:
    older(open_ledger())
    mine = open_ledger()
    assert mine.actions() == [] and mine.count_actions() == {} and mine.forget(NOW).actions == 0
    assert mine.log([action("a")]) == {"a": action("a")} and len(mine.audit()) == 1
    with mine._database.writing() as connection:
        indexes = {one["name"] for one in inspect(connection).get_indexes("action")}
    assert {index.name for index in ACTION.indexes} <= indexes


def test_before_anything_was_written_there_is_nothing_and_nothing_is_made(ledger: Ledger, workspace: object) -> None:
    assert ledger.actions() == [] and ledger.count_actions() == {} and ledger.log([]) == {}
    assert not workspace.serving.exists()  # type: ignore[attr-defined]
