"""An objection counts on every road: over what a request says, once it was told, and for stored scores that are read back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, nullcontext
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from features import store
from features.cohort import obstacle
from features.operation import PolicySettings
from features.propensity import load
from features.settings import SETTINGS_FILE, Workspace
from serving import batch
from serving.answer import Call
from serving.ledger import Ledger
from serving.nightly.scores import Score
from serving.office import Office
from serving.partition import PART, folder
from serving.policy import Policy
from serving.reader import Ask
from tests.serving.shop import NOW

HTTP = Call("request", None, "http")
LATER = NOW + timedelta(hours=9)
SUPPRESS = "[policy.suppress]\nlead = [\"lead_origin = 'radio'\"]\n"


@pytest.fixture
def office(filled: Workspace) -> Iterator[Office]:
    """Whoever came by radio has objected."""
    path = filled.root / SETTINGS_FILE
    path.write_text(path.read_text(encoding="utf-8") + SUPPRESS, encoding="utf-8")
    opened = Office(Workspace.open(filled.root))
    yield opened
    opened.stop()


def of_origin(workspace: Workspace, origin: str) -> str:
    ids = [f"L{number:04d}" for number in range(300)]
    records = store.Online(workspace).read("lead", ids)
    question = load(workspace, "lead-conversion")
    able = (one for one in records if one and obstacle(question, one.values) is None)
    return next(one.entity_id for one in able if one.values["lead_origin"] == origin)


def ask(office: Office, entity_id: str, call: Call = HTTP, **given: str) -> str | None:
    ((answer,),) = office.answer(["lead-conversion"], [Ask(entity_id, given, may_be_new=True)], LATER, call)
    assert (answer.score.score is None) == (answer.score.policy is not None)
    assert office.archive.recorder.flush(10)
    return answer.score.policy


def read(office: Office, entity_id: str) -> list[str | None]:
    return [json.loads(one.document)["policy"] for one in office.stored("lead", entity_id, LATER, HTTP)]


def test_what_a_request_says_does_not_undo_an_objection(office: Office) -> None:
    objector = of_origin(office.workspace, "radio")
    assert ask(office, objector) == "suppressed" and ask(office, objector, lead_origin="web") == "suppressed"
    assert ask(office, objector, origin="web") == "suppressed"


@pytest.mark.parametrize("road", ["http", "hook"])
def test_an_objection_that_was_told_once_stands_until_a_newer_record(office: Office, road: str) -> None:
    person, call = of_origin(office.workspace, "web"), Call("request", None, road)  # type: ignore[arg-type]
    assert ask(office, person) is None
    assert ask(office, person, call, lead_origin="radio") == "suppressed"
    assert ask(office, person) == "suppressed" and ask(office, person, lead_origin="web") == "suppressed"
    assert read(office, person) == ["suppressed"]
    store.materialize(office.workspace, NOW)  # of the same instant: it says nothing new
    assert ask(office, person) == "suppressed"


def test_of_a_newcomer_it_stands_too(office: Office) -> None:
    assert ask(office, "N1", lead_origin="radio") == "suppressed"
    assert ask(office, "N1", budget="1") == "suppressed" and ask(office, "N2", lead_origin="web") is None


def test_a_stored_score_is_not_read_back_once_somebody_has_objected(office: Office, filled: Workspace) -> None:
    objector, other = of_origin(filled, "radio"), of_origin(filled, "web")
    before = Office(filled)  # of settings that suppress nobody
    assert ask(before, objector) is None and ask(before, other) is None
    before.stop()
    assert read(office, objector) == ["suppressed"] and read(office, other) == [None]
    (stored,) = office.stored("lead", objector, LATER, HTTP)
    assert json.loads(stored.document)["score"] is None and b"radio" in stored.document
    assert office.archive.recorder.flush(10)
    with closing(Ledger.open(filled)) as ledger:
        assert ledger.audit(entity_id=objector)[-1].probability is None


def test_nor_while_nobody_can_tell_whether_they_have(office: Office, filled: Workspace) -> None:
    person = of_origin(filled, "web")
    assert ask(office, person) is None
    (filled.store / "online.db").rename(filled.store / "away.db")
    (stored,) = office.stored("lead", person, LATER, HTTP)
    assert json.loads(stored.document)["score"] is None and b"objected" in stored.document


def test_a_missing_word_is_no_objection_that_a_request_could_not_mend() -> None:
    policy = Policy(PolicySettings(suppress={"lead": ("consent is null", "consent = 'no'")}), "lead")
    assert policy.objection({"consent": None}) is None and policy.objection({}) is None
    assert policy.objection({"consent": "no"}) == "no score may be given of this lead: consent = 'no'"


def quiet(what: str, total: int) -> Any:
    return nullcontext(lambda units: None)


def test_a_batch_gives_no_score_of_whoever_objected_since_its_as_of_however_often_it_is_made(office: Office) -> None:
    person, other = of_origin(office.workspace, "web"), "N1"
    assert ask(office, person, lead_origin="radio") == "suppressed" and ask(office, other, lead_origin="radio") == "suppressed"
    for _ in range(2):
        assert not batch.run(office.workspace, NOW, ["lead-conversion"], quiet).failures
        rows = pd.read_parquet(folder(office.workspace, "lead-conversion", NOW) / PART).set_index("entity_id")
        assert rows.loc[person, "policy"] == "suppressed" and pd.isna(rows.loc[person, "probability"])
        assert "radio" in rows.loc[person, "why"] and rows["probability"].notna().sum() > 10
        assert ask(office, person) == "suppressed" and read(office, person) == ["suppressed"]


def test_an_objection_makes_a_night_again_that_had_ended(office: Office) -> None:
    step = Score(office.workspace, NOW, "lead-conversion", batch.with_champion(office.workspace)["lead-conversion"], ())
    before = step.inputs()
    assert before == step.inputs() and before["objections"] == []
    ask(office, person := of_origin(office.workspace, "web"), lead_origin="radio")
    assert step.inputs() != before and person not in str(step.inputs())
