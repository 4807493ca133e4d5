"""The office: what webhooks bring of one and the same new lead, call by call, is all in its last score."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from features.errors import StoreError
from features.settings import SETTINGS_FILE, Workspace
from serving.answer import Call as Asked
from serving.hooks.call import Call
from serving.ledger import Ledger
from serving.office import Office
from serving.reader import Ask
from serving.recorder import Recorder
from serving.score import Score
from tests.serving.running import until
from tests.serving.shop import NOW

AN_HOUR = 3_600.0


@pytest.fixture
def office(filled: Workspace) -> Iterator[Office]:
    """It scores what webhooks bring, and writes down only in an hour what it answers others."""
    with (filled.root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
        settings.write('[hooks.crm]\nentity = "lead"\nid = "id"\n')
    opened = Office(Workspace.open(filled.root))
    opened.archive.recorder.stop(10)
    opened.archive.recorder = Recorder(opened.ledger, every_seconds=AN_HOUR)
    opened.start(lambda: NOW)
    yield opened
    opened.stop()


def bring(office: Office, call: str, **fields: Any) -> None:
    """A call about one new lead, until it is scored."""
    body = json.dumps({"id": "new", **fields}).encode()
    office.receive("crm", call, None, Call("POST", "http://127.0.0.1/", {}, body), NOW)
    until(lambda: office.ledger.waiting().inbox == 0)


def ask(office: Office, **given: Any) -> None:
    """An answer over HTTP about the same lead, from its form."""
    office.answer(["lead-conversion"], [Ask("new", given, may_be_new=True)], NOW, Asked("http", None, "http"))


def remembered(office: Office) -> dict[str, Any]:
    """What the last score of the new lead was made from."""
    found = office.ledger.of_entity(["lead-conversion"], "new")[0].known
    return {name: found[name] for name in ("lead_origin", "lead_budget")}


def test_the_next_webhook_finds_what_the_one_before_brought(office: Office) -> None:
    bring(office, "1", origin="web", budget=10_000)
    bring(office, "2", origin="fair")
    assert remembered(office) == {"lead_origin": "fair", "lead_budget": 10_000}


def test_an_answer_over_http_just_before_does_not_come_behind(office: Office) -> None:
    ask(office, origin="web")
    bring(office, "1", budget=10_000)
    office.archive.recorder.flush(10)
    assert remembered(office)["lead_budget"] == 10_000


def test_a_ledger_that_does_not_answer_makes_no_webhook_forget(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    bring(office, "1", origin="web", budget=10_000)
    asked, failing = Ledger.latest, [True]

    def fails_once(ledger: Ledger, *arguments: Any) -> Any:
        if failing:
            failing.clear()
            raise StoreError("the ledger", expected="an answer", received="none in time", repair="wait")
        return asked(ledger, *arguments)

    monkeypatch.setattr(Ledger, "latest", fails_once)
    bring(office, "2", origin="fair")
    assert not failing and remembered(office) == {"lead_origin": "fair", "lead_budget": 10_000}


def test_somebody_asked_about_twice_is_compared_with_the_stored_score_twice(office: Office) -> None:
    ask(office, origin="web", budget=10_000)
    assert office.archive.recorder.flush(10)
    stored = office.ledger.of_entity(["lead-conversion"], "new")[0]
    given = [{"origin": origin, "budget": budget} for origin in ("web", "fair", "phone") for budget in (10_000, 1, 90_000)]

    def scores(*given: Any) -> list[Score]:
        asks = [Ask("another", given[0], True), *(Ask("new", one, True) for one in given)]
        (answers,) = office.answer(["lead-conversion"], asks, NOW, Asked("http", None, "http"))
        return [answer.score for answer in answers[1:]]

    other = next(one for one in given if scores(one)[0].probability != stored.probability)
    changes = [score.change for score in scores(other, given[0])]
    assert [change and change["from"] for change in changes] == [json.loads(stored.document)["score"]] * 2
    assert [change and bool(change["causes"]) for change in changes] == [True, False]
