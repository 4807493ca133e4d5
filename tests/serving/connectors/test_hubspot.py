"""HubSpot takes a hundred inputs a call, text only, and says with 207, 429 or 400 what it did not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.errors import WorkspaceError
from features.settings import Workspace
from serving.connectors.reconciliation import reconcile
from tests.serving.connectors.hubspot import judged
from tests.serving.connectors.worlds import DAY, FIRST, Asked, Crm, Reply, Time, night, open_workspace, run, serving

FIELDS = {"foresell_{propensity}_score": "score", "foresell_{propensity}_probability": "probability", "why": "grade"}
PROPERTIES = {"foresell_churn_score", "foresell_churn_probability", "why"}


TIMES = {"startedAt": "2026-11-25T03:00:00.000Z", "completedAt": "2026-11-25T03:00:00.100Z"}
AT = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-11-25T03:00:00.000Z"}


def _error(category: str, message: str, **context: list[str]) -> dict[str, Any]:
    return {
        "status": "error", "category": category, "message": message, "context": context, "links": {}, "errors": [],
        "correlationId": "aeb5f871-7f07-4993-9211-075dc63e7cbf",
    }  # fmt: skip


class Contacts:
    """The batch API of contacts, by id or by the unique property `crm_id`, with its limits."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, str]] = {}

    def answer(self, asked: Asked) -> Reply:
        if asked.headers["Authorization"] != "Bearer sesame":
            return 401, _error("INVALID_AUTHENTICATION", "Authentication credentials not found")
        prefix, verb = asked.path.rsplit("/", 1)
        inputs = asked.json["inputs"]
        assert asked.method == "POST" and prefix == "/crm/v3/objects/contacts/batch"
        if len(inputs) > 100 or len({one["id"] for one in inputs}) != len(inputs):
            return 400, _error("VALIDATION_ERROR", "too many inputs, or one twice")
        if verb == "read":
            key = asked.json.get("idProperty")
            found = [self._shown(one["id"], key) for one in inputs if one["id"] in self.held]
            return 200 if len(found) == len(inputs) else 207, {"status": "COMPLETE", "results": found, **TIMES}
        return self._written(inputs, verb)

    def _written(self, inputs: list[dict[str, Any]], verb: str) -> Reply:
        for one in inputs:
            if not all(isinstance(value, str) for value in one["properties"].values()):
                return 400, _error("VALIDATION_ERROR", "Invalid input JSON: Cannot deserialize value of type String")
            if unknown := set(one["properties"]) - PROPERTIES:
                return 400, _error("VALIDATION_ERROR", f'Property values were not valid: "{unknown.pop()}" does not exist')
        if verb == "upsert":
            assert all(one["idProperty"] == "crm_id" for one in inputs)
            for one in inputs:
                self.held.setdefault(one["id"], {})
        missing = [one["id"] for one in inputs if one["id"] not in self.held]
        there = [one for one in inputs if one["id"] in self.held]
        for one in there:
            self.held[one["id"]].update(one["properties"])
        results = [{**self._shown(one["id"], one.get("idProperty")), "new": False} for one in there]
        if not missing:
            return 200, {"status": "COMPLETE", "results": results, **TIMES}
        errors = [_error("OBJECT_NOT_FOUND", "Could not get some CONTACT objects, they may be deleted", ids=missing)]
        return 207, {"status": "COMPLETE", "results": results, "numErrors": 1, "errors": errors, **TIMES}

    def _shown(self, identity: str, key: str | None) -> dict[str, Any]:
        extra = {key: identity} if key else {}
        return {
            "id": f"9{identity}" if key else identity,
            "properties": {**self.held[identity], **extra},
            "archived": False,
            **AT,
        }


@pytest.fixture
def contacts() -> Contacts:
    found = Contacts()
    found.held = {str(number): {} for number in range(1, 251)}
    return found


@pytest.fixture
def crm(contacts: Contacts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crm]:
    monkeypatch.setenv("HUBSPOT_TOKEN", "sesame")
    complaints: list[str] = []
    with serving(judged(contacts.answer, complaints)) as found:
        yield found
    assert complaints == []


def open_target(root: Path, crm: Crm, **target: object) -> Workspace:
    settings = {"to": "hubspot", "url": crm.url, "token": "${HUBSPOT_TOKEN}", "fields": FIELDS, "per_second": 1_000}
    return open_workspace(root, **{**settings, **target})


def test_a_hundred_a_call_and_every_value_is_text(crm: Crm, contacts: Contacts, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {str(number): 1 + number % 100 for number in range(1, 251)})
    assert run(workspace).is_complete and [len(asked.json["inputs"]) for asked in crm.got] == [100, 100, 50]
    assert contacts.held["41"] == {"foresell_churn_score": "42", "foresell_churn_probability": "0.42", "why": "C"}
    assert contacts.held["99"]["foresell_churn_probability"] == "0.99"
    assert reconcile(workspace, "crm", 250).differences == []
    night(workspace, {str(number): 1 + number % 100 for number in range(2, 251)} | {"2": None}, FIRST + DAY)
    assert run(workspace).sent == 2 and set(contacts.held["1"].values()) == set(contacts.held["2"].values()) == {""}
    assert reconcile(workspace, "crm", 250).differences == []


def test_those_that_207_names_are_rejected_in_one_call(crm: Crm, contacts: Contacts, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"1": 10, "2": 20, "9001": 30, "9002": 40})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, len(crm.got)) == (2, 2, 1)
    assert outcome.rejections[0][1:] == ("9001", "OBJECT_NOT_FOUND: Could not get some CONTACT objects, they may be deleted")


def test_many_deleted_ids_that_come_first_stop_nobody(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"1": 10, **{f"0{number}": 10 for number in range(1_000, 1_120)}})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.failures, outcome.stopped) == (1, 120, {}, None)


def test_an_answer_that_leaves_records_out_is_not_believed(crm: Crm, contacts: Contacts, tmp_path: Path) -> None:
    """HubSpot has answered 207 without errors and without results."""
    workspace = open_target(tmp_path, crm)

    def answer(asked: Asked) -> Reply:
        told = contacts.answer(asked)
        return told[0], {**told[1], "errors": [], "numErrors": 0}

    crm.answer = answer
    night(workspace, {str(number): 10 for number in range(1, 31)} | {"9001": 30})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected) == (30, 1) and outcome.rejections[0][1] == "9001"


def test_by_a_unique_property_and_with_upsert(crm: Crm, contacts: Contacts, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, id_property="crm_id", create=True)
    night(workspace, {"1": 10, "new": 20})
    assert run(workspace).is_complete and crm.got[0].path.endswith("/upsert")
    assert contacts.held["new"]["foresell_churn_score"] == "20"
    assert reconcile(workspace, "crm", 5).differences == []


def test_a_property_that_is_not_there_is_told_and_no_record_blamed(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, fields={"other": "score"})
    night(workspace, {str(number): 10 for number in range(1, 251)})
    outcome = run(workspace)
    assert '"other" does not exist' in outcome.failures["churn"].received and (outcome.rejected, outcome.waiting) == (0, 250)


def test_a_limit_is_waited_for_and_a_wrong_token_is_not(crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"1": 10})
    limit = {"status": "error", "errorType": "RATE_LIMIT", "message": "ten secondly", "policyName": "TEN_SECONDLY_ROLLING"}
    crm.faults = [(429, limit), (429, limit, {"Retry-After": "10"})]
    time = Time()
    assert run(workspace, time).sent == 1 and time.slept == [1, 10]
    night(workspace, {"1": 50}, FIRST + DAY)
    monkeypatch.setenv("HUBSPOT_TOKEN", "guessed")
    outcome = run(workspace)
    assert "lets nobody in: HTTP 401" in str(outcome.stopped) and "guessed" not in repr(outcome)


def test_a_dry_run_shows_no_token(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"1": 10})
    (call,) = run(workspace, dry_run=True).calls
    assert call.address == crm.url + "/crm/v3/objects/contacts/batch/update" and "sesame" not in repr(call) and crm.got == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"create": True}, "unique values"), ({"token": "sesame"}, "maybe the secret"), ({"fields": {}}, "name them")],
)
def test_settings_that_cannot_work_are_told(crm: Crm, tmp_path: Path, wrong: dict[str, object], told: str) -> None:
    workspace = open_target(tmp_path, crm, **wrong)
    night(workspace, {"1": 10})
    with pytest.raises(WorkspaceError, match=told):
        run(workspace)
