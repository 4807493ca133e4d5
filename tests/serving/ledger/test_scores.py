"""Stored scores and the audit, in SQLite and in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import inspect, select, text

from features.errors import CallError
from features.settings import Workspace
from serving.ledger import Compared, Entry, Ledger, Served, Stored, Waiting
from serving.ledger.table import KEPT
from tests.serving.ledger.entries import NOW, entry, stored

SECOND = timedelta(seconds=1)


def test_looking_creates_nothing(workspace: Workspace, ledger: Ledger) -> None:
    assert ledger.latest("churn", ["1"]) == {} and ledger.of_entity(["churn"], "1") == [] and ledger.audit() == []
    assert ledger.compared("churn") == [] and ledger.waiting() == Waiting(0, 0)
    assert not workspace.serving.exists()


def test_a_score_comes_back_to_the_bit(ledger: Ledger) -> None:
    kept = [entry("1", 0.1 + 0.2), entry("ü' -- \"", 5e-324)]
    ledger.keep(kept)
    assert ledger.latest("churn", ["ü' -- \"", "1", "2"]) == {one.entity_id: one.stored for one in kept}
    assert ledger.latest("churn", ["1"])["1"] == kept[0].stored
    assert ledger.latest("upsell", ["1"]) == {} and ledger.latest("churn", []) == {}


def test_a_score_may_lack_what_there_was_not(ledger: Ledger) -> None:
    bare = stored("1", None)._replace(contributions=None, features=None)
    ledger.keep([entry("1")._replace(stored=bare)])
    assert ledger.latest("churn", ["1"]) == {"1": bare}


@pytest.mark.parametrize("rows", [99, 100, 101, 250])
def test_of_many_at_once_each_is_written_once(ledger: Ledger, rows: int) -> None:
    """A statement of SQLite's takes a hundred."""
    for _ in range(2):
        ledger.keep([entry(f"{i}", (i + 1) / 1_000) for i in range(rows)])
    ids = [f"{i}" for i in range(rows)]
    assert {one: each.probability for one, each in ledger.latest("churn", ids).items()} == {
        f"{i}": (i + 1) / 1_000 for i in range(rows)
    }
    assert [row.entity_id for row in ledger.audit(limit=1_000)] == ids * 2


def test_what_rows_share_is_told_of_each(ledger: Ledger) -> None:
    """What a hundred rows share, SQLite is given once."""
    told = [entry(f"{i}", 0.0 if i else 0.5)._replace(request_id="one", degraded=i % 3 == 0) for i in range(100)]
    alike = [entry("same", 0.5)] * 100
    ledger.keep([*told, *alike])
    found = ledger.audit(limit=1_000)
    assert [repr(tuple(row)[1:]) for row in found] == [repr(tuple(one)[:-1]) for one in (*told, *alike)]
    assert ledger.latest("churn", ["0", "99"]) == {"0": told[0].stored, "99": told[99].stored}


def test_another_process_reads_what_was_kept_and_a_layout_is_there_once(open_ledger: Callable[..., Ledger]) -> None:
    for ledger in (open_ledger(), open_ledger()):
        ledger.keep([entry("1"), entry("2")])
    assert open_ledger().latest("churn", ["1", "2"]) == {one: stored(one) for one in "12"}
    assert [one.known for one in open_ledger().of_entity(["churn"], "1")] == [{"visits": 0.1, "city": "müßig"}]
    assert len(ledger._database.select(select(KEPT))) == 1


def test_a_layout_whose_score_was_not_stored_is_told_again(open_ledger: Callable[..., Ledger]) -> None:
    ledger = open_ledger()
    with pytest.raises(CallError):
        ledger.keep([entry("1"), entry("\0" if ledger._database.is_file else "a\0b")._replace(score=2**70)])
    ledger.keep([entry("1")])
    assert open_ledger().latest("churn", ["1"]) == {"1": stored("1")}


def test_an_older_ledger_gets_the_table_and_what_it_kept_as_json_says_nothing(open_ledger: Callable[..., Ledger]) -> None:
    older = open_ledger()
    older.keep([entry("1"), entry("2")])
    with older._database.writing() as connection:
        connection.execute(text("update latest set features = document"))
        KEPT.drop(connection)
    ledger = open_ledger()
    assert ledger.latest("churn", ["1"]) == {"1": stored("1")._replace(contributions=None, features=None)}
    ledger.keep([entry("1")])
    assert open_ledger().latest("churn", ["1", "2"]) == {
        "1": stored("1"),
        "2": stored("2")._replace(contributions=None, features=None),
    }


def test_beside_what_is_said_now_only_what_has_moved_is_read_whole(ledger: Ledger) -> None:
    ledger.keep([entry("same", 0.1), entry("moved", 0.1), entry("other version", 0.1)])
    now = {"same": ("3", 0.1), "moved": ("3", 0.2), "other version": ("4", 0.1), "unknown": ("3", 0.1)}
    found = ledger.latest_beside("churn", now)
    assert found == {
        "same": stored("same")._replace(document=b"", contributions=None, features=None),
        "moved": stored("moved"), "other version": stored("other version"),
    }  # fmt: skip
    assert ledger.latest_beside("churn", {"same": ("3", 0.1)}) == {"same": stored("same")}  # one look-up is one anyway
    assert ledger.latest_beside("churn", {}) == ledger.latest_beside("upsell", now) == {}


def test_the_later_call_wins_though_its_clock_is_behind(ledger: Ledger) -> None:
    ledger.keep([entry("1", 0.1, NOW)])
    ledger.keep([entry("1", 0.2, NOW - timedelta(days=400)), entry("2", 0.3, NOW), entry("2", 0.4, NOW - SECOND)])
    assert {name: score.probability for name, score in ledger.latest("churn", ["1", "2"]).items()} == {"1": 0.2, "2": 0.4}


def withheld(entity_id: str, at: datetime, policy: str | None) -> Stored:
    told = {"entity_id": entity_id, "policy": policy, "why": '"policy":"suppressed"'}
    return stored(entity_id, None, at)._replace(
        document=json.dumps(told, separators=(",", ":")).encode(), contributions=None, features=None
    )


@pytest.mark.parametrize("others", [0, 95, 101])  # a statement of SQLite's takes a hundred
def test_a_night_leaves_an_objection_that_it_did_not_know_of(ledger: Ledger, others: int) -> None:
    """One of its very instant looks like its own; an answer that was withheld for something else it replaces."""
    later = NOW + timedelta(microseconds=1)
    told = [
        withheld("1", later, "suppressed"),
        withheld("2", NOW, "suppressed"),
        withheld("3", later, None),
        stored("4", 0.5, later),
    ]
    ledger.keep([entry(one.entity_id)._replace(stored=one) for one in told])
    ledger.keep_latest([stored(f"{i}") for i in range(1, 6 + others)])
    found = ledger.latest("churn", [f"{i}" for i in range(1, 6)])
    assert found == {"1": told[0], **{f"{i}": stored(f"{i}") for i in range(2, 6)}}
    ledger.keep([entry("1")])  # a service that answers has looked who objects
    assert ledger.latest("churn", ["1"]) == {"1": stored("1")}


def test_an_answer_without_a_score_to_store_leaves_the_stored_one(ledger: Ledger) -> None:
    ledger.keep([entry("1")])
    ledger.keep([entry("1")._replace(stored=None, degraded=True)])
    assert ledger.latest("churn", ["1"]) == {"1": stored("1")}
    assert [served.degraded for served in ledger.audit()] == [False, True]


def test_every_propensity_of_one_entity(ledger: Ledger) -> None:
    scores = [stored("1", propensity=name) for name in ("churn", "upsell", "lead-conversion")] + [stored("2")]
    ledger.keep([entry(score.entity_id)._replace(stored=score) for score in scores])
    assert ledger.of_entity(["upsell", "churn", "other"], "1") == [scores[0], scores[1]]
    assert ledger.of_entity([], "1") == []


def test_a_batch_is_stored_and_not_audited(ledger: Ledger) -> None:
    ledger.keep_latest([stored(f"{i}", i / 100) for i in range(30)])
    ledger.keep_latest([])
    assert len(ledger.latest("churn", [f"{i}" for i in range(40_000)])) == 30 and ledger.audit() == []


def test_keep_is_all_or_nothing(ledger: Ledger) -> None:
    broken = entry("2")._replace(request_id=None)
    with pytest.raises(CallError):
        ledger.keep([entry("1"), broken])
    assert ledger.latest("churn", ["1", "2"]) == {} and ledger.audit() == []
    ledger.keep([])
    assert ledger.audit() == []


def test_text_that_no_database_can_hold_is_the_callers_mistake(ledger: Ledger) -> None:
    ledger.keep([entry("1")])
    with pytest.raises(CallError, match="a database can hold"):
        ledger.keep([entry("2")._replace(entity_id="half \ud800")])
    with pytest.raises(CallError, match="a database can hold"):
        ledger.latest("churn", ["half \ud800"])
    assert len(ledger.latest("churn", ["1"])) == 1


def test_a_value_that_is_no_number_is_the_callers_mistake(ledger: Ledger) -> None:
    for wrong in (object(), 2**70):
        with pytest.raises(CallError, match="a database can hold"):
            ledger.keep([entry("1")._replace(score=wrong)])
    assert ledger.audit() == []


def test_text_with_nul_is_kept_or_the_callers_mistake(ledger: Ledger, address: str) -> None:
    """PostgreSQL cannot hold it."""
    if address == "sqlite":
        ledger.keep([entry("nul \0")])
        assert len(ledger.latest("churn", ["nul \0"])) == len(ledger.latest("churn", ["nul \0", "2"])) == 1
    else:
        with pytest.raises(CallError, match="a database can hold"):
            ledger.keep([entry("nul \0")])


def test_the_audit_tells_who_asked_for_what_newest_last(ledger: Ledger) -> None:
    newcomer = Entry(NOW + 3 * SECOND, "r", None, "hook", "churn", None, None, why="no", policy="holdout")
    ledger.keep([entry("1"), entry("2", at=NOW + SECOND, caller="batch"), entry("1", at=NOW + 2 * SECOND), newcomer])
    rows = ledger.audit()
    assert [row.entity_id for row in rows] == ["1", "2", "1", None]
    assert rows[0] == Served(rows[0].number, *entry("1")[:-1]) and rows[3][1:] == newcomer[:-1]
    assert [row.at for row in ledger.audit(since=NOW + SECOND, until=NOW + 3 * SECOND)] == [NOW + SECOND, NOW + 2 * SECOND]
    assert len(ledger.audit(caller="crm")) == 2 and len(ledger.audit(entity_id="2")) == 1
    assert ledger.audit(propensity="upsell") == []
    assert ledger.audit(limit=2) == rows[2:]


def test_only_postgresql_finds_an_entity_in_the_audit_by_an_index(ledger: Ledger) -> None:
    """There a statement has a limit in time; in SQLite the index would cost each answer as much as the rest of the audit."""
    ledger.keep([entry("1")])
    database = ledger._database
    indexes = {one["name"] for one in inspect(database._calm).get_indexes("served")}
    assert indexes == ({"served_at"} if database.is_file else {"served_at", "served_entity_id"})
    assert [row.entity_id for row in ledger.audit(entity_id="1")] == ["1"]


def test_what_a_challenger_would_have_said(ledger: Ledger) -> None:
    rows = [Compared(NOW + i * SECOND, "churn", f"{i}", "3", 0.1, "4", 0.1 + 0.2) for i in range(3)]
    ledger.keep_shadow([*rows, rows[0]._replace(propensity="upsell")])
    ledger.keep_shadow([])
    assert ledger.compared("churn") == rows and ledger.compared("churn", since=NOW + SECOND) == rows[1:]


def test_many_who_begin_at_once_lose_nothing(open_ledger: Callable[..., Ledger]) -> None:
    """The database is created by whoever comes first, and everybody writes the same entities besides their own."""
    ledgers = [open_ledger(write_ms=60_000) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        work = [
            pool.submit(ledger.keep, [entry(f"own {i}"), *(entry(f"{shared}", i / 10) for shared in order)])
            for i, (ledger, order) in enumerate(zip(ledgers, [range(20), range(19, -1, -1)] * 4, strict=True))
        ]
        assert [job.result() for job in work] == [None] * 8
    assert len(ledgers[0].latest("churn", [f"own {i}" for i in range(8)])) == 8
    assert len(ledgers[0].audit(limit=1_000)) == 8 * 21


def test_who_has_an_answer_is_listed_in_parts_and_who_has_a_score_is_told(ledger: Ledger) -> None:
    assert ledger.answered("churn", "", 9) == [] == ledger.scored("churn", ["a"])
    ledger.keep_latest([stored(one) for one in "cab"])
    ledger.keep_latest([stored("d", probability=None)])
    assert ledger.answered("churn", "", 9) == ["a", "b", "c", "d"] and ledger.answered("churn", "", 2) == ["a", "b"]
    assert ledger.answered("churn", "b", 1) == ["c"] and ledger.answered("churn", "d", 9) == [] == ledger.answered(
        "upsell", "", 9
    )
    assert sorted(ledger.scored("churn", ["d", "c", "stranger", "a"])) == ["a", "c"] and ledger.scored("churn", []) == []
    assert ledger.scored("upsell", ["a"]) == []


def test_of_more_entities_than_a_database_takes_at_once_all_are_told(ledger: Ledger) -> None:
    ids = [f"{i:06d}" for i in range(40_000)]
    ledger.keep_latest([stored(one) for one in ids[::4_000]])
    assert sorted(ledger.latest("churn", ids)) == ids[::4_000] == sorted(ledger.scored("churn", ids))
