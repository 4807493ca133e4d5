"""Of which night the ledger holds every answer is known until another begins, in SQLite, PostgreSQL and an older ledger."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from serving.ledger import Ledger
from serving.ledger.table import NIGHT
from tests.serving.ledger.entries import entry


def test_a_night_is_known_once_it_came_to_its_end_and_until_another_begins(ledger: Ledger) -> None:
    assert ledger.night("churn") is None
    ledger.begin_night("churn")
    assert ledger.night("churn") is None
    ledger.end_night("churn", "digest")
    ledger.end_night("upsell", "of another")
    assert ledger.night("churn") == "digest" and ledger.night("upsell") == "of another"
    ledger.end_night("churn", "next")
    assert ledger.night("churn") == "next"
    ledger.begin_night("churn")
    assert ledger.night("churn") is None and ledger.night("upsell") == "of another"


def test_a_ledger_of_an_older_release_gets_the_table(open_ledger: Callable[..., Ledger]) -> None:
    older = open_ledger()
    older.keep([entry("1")])
    with older._database.writing() as connection:
        NIGHT.drop(connection)
    for ledger, known in ((open_ledger(), None), (open_ledger(), "digest")):
        assert ledger.night("churn") == known
        ledger.begin_night("churn")
        assert ledger.night("churn") is None
        ledger.end_night("churn", "digest")
        assert ledger.night("churn") == "digest" and len(ledger.latest("churn", ["1"])) == 1


def test_two_that_end_at_once_leave_the_night_of_one(open_ledger: Callable[..., Ledger]) -> None:
    ledgers = [open_ledger(write_ms=60_000) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        work = [pool.submit(ledgers[i % 4].end_night, "churn", f"digest {i}") for i in range(60)]
        assert [job.result() for job in work] == [None] * 60
    assert str(ledgers[0].night("churn")).startswith("digest ")
