"""Of which night the ledger holds every answer is known until another begins, in SQLite, PostgreSQL and an older ledger."""

from __future__ import annotations

from collections.abc import Callable

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
    for ledger in (open_ledger(), open_ledger()):
        assert ledger.night("churn") in (None, "digest")
        ledger.begin_night("churn")
        assert ledger.night("churn") is None
        ledger.end_night("churn", "digest")
        assert ledger.night("churn") == "digest" and len(ledger.latest("churn", ["1"])) == 1
