"""Salesforce takes two hundred records a call or a job of the Bulk API, renews tokens, and says record by record what failed."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from features.errors import StoreError, WorkspaceError
from features.settings import Workspace
from serving.connectors.reconciliation import reconcile
from tests.serving.connectors.worlds import DAY, FIRST, Asked, Crm, Reply, Time, night, open_workspace, run, serving

FIELDS = {"Foresell_{propensity}__c": "score", "Foresell_Grade__c": "grade", "Probability__c": "percent"}
ROOT = "/services/data/v62.0"


class Org:
    """Accounts by an id or by `Crm_Id__c`, with the collections, the jobs, their limits and tokens that run out."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {f"{number:05d}": {} for number in range(3_000)}
        self.locked: dict[str, int] = {}
        self.jobs: list[dict[str, Any]] = []
        self.token = 0
        self.fail_jobs = False

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/services/oauth2/token":
            told = parse_qs(asked.body.decode())
            if told != {"grant_type": ["client_credentials"], "client_id": ["app"], "client_secret": ["sesame"]}:
                return 400, {"error": "invalid_client", "error_description": f"invalid client credentials {told}"}
            self.token += 1
            return 200, {"access_token": f"token {self.token}", "instance_url": "x", "token_type": "Bearer"}
        if asked.headers["Authorization"] != f"Bearer token {self.token}":
            return 401, [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]
        assert asked.path.startswith(ROOT)
        path = asked.path.removeprefix(ROOT)
        if path.startswith("/query?"):
            return self._query(parse_qs(urlsplit(path).query)["q"][0])
        return self._job(asked, path) if path.startswith("/jobs") else self._collection(asked, path)

    def _collection(self, asked: Asked, path: str) -> Reply:
        body = asked.json
        external = path == "/composite/sobjects/Account/Crm_Id__c"
        assert asked.method == "PATCH" and (external or path == "/composite/sobjects") and body["allOrNone"] is False
        if len(body["records"]) > 200:
            return 400, [{"message": "The number of records exceeds 200", "errorCode": "INVALID_INPUT"}]
        return 200, [self._write(one, external) for one in body["records"]]

    def _write(self, one: dict[str, Any], external: bool) -> dict[str, Any]:
        assert one.pop("attributes") == {"type": "Account"}
        identity = one.pop("Crm_Id__c" if external else "id")
        if self.locked.get(identity, 0):
            self.locked[identity] -= 1
            return self._error("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
        if identity not in self.held and not external:
            return self._error("ENTITY_IS_DELETED", "entity is deleted")
        self.held.setdefault(identity, {}).update(one)
        return {"id": identity, "success": True, "errors": []}

    def _error(self, code: str, message: str) -> dict[str, Any]:
        return {"success": False, "errors": [{"statusCode": code, "message": message, "fields": []}]}

    def _job(self, asked: Asked, path: str) -> Reply:
        if asked.method == "POST":
            self.jobs.append({**asked.json, "state": "Open", "looks": 0})
            return 200, {"id": str(len(self.jobs) - 1), "state": "Open"}
        _, _, _, number, *rest = path.split("/")
        job = self.jobs[int(number)]
        if rest == ["batches"]:
            assert asked.headers["Content-Type"] == "text/csv"
            job["rows"] = list(csv.DictReader(StringIO(asked.body.decode())))
            return 201, None
        if rest == ["failedResults"]:
            return 200, job["failed"]
        if asked.method == "PATCH":
            assert asked.json == {"state": "UploadComplete"}
            job["state"] = "UploadComplete"
            return 200, {"id": number, "state": "UploadComplete"}
        job["looks"] += 1
        return 200, self._looked_at(job) if job["looks"] > 2 else {"id": number, "state": "InProgress"}

    def _looked_at(self, job: dict[str, Any]) -> dict[str, Any]:
        if self.fail_jobs:
            return {"state": "Failed", "errorMessage": "InvalidBatch : Field name not found : Foresell_churn__c"}
        failed = StringIO()
        writer = csv.writer(failed)
        external = job.get("externalIdFieldName")
        key = external or "Id"
        writer.writerow(["sf__Id", "sf__Error", key])
        count = 0
        for row in job["rows"]:
            identity = row.pop(key)
            cells = {name: None if cell == "#N/A" else cell for name, cell in row.items()}
            told = self._write(
                {"attributes": {"type": "Account"}, "Crm_Id__c" if external else "id": identity, **cells}, bool(external)
            )
            if not told["success"]:
                count += 1
                writer.writerow(["", f"{told['errors'][0]['statusCode']}:{told['errors'][0]['message']}:--", identity])
            row[key] = identity
        job["failed"] = failed.getvalue()
        return {"state": "JobComplete", "numberRecordsProcessed": len(job["rows"]), "numberRecordsFailed": count}

    def _query(self, query: str) -> Reply:
        found = re.fullmatch(r"SELECT (.+) FROM Account WHERE (\w+) IN \((.+)\)", query)
        assert found
        names, key = found[1].split(", "), found[2]
        ids = [re.sub(r"\\(.)", r"\1", one) for one in re.findall(r"'((?:[^'\\]|\\.)*)'", found[3])]
        rows = [{**{name: self.held[one].get(name) for name in names}, key: one} for one in ids if one in self.held]
        return 200, {"totalSize": len(rows), "done": True, "records": rows}


@pytest.fixture
def org() -> Org:
    return Org()


@pytest.fixture
def crm(org: Org, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crm]:
    monkeypatch.setenv("SF_SECRET", "sesame")
    with serving(org.answer) as found:
        yield found


def open_target(root: Path, crm: Crm, **target: object) -> Workspace:
    settings = {
        "to": "salesforce", "url": crm.url, "client_id": "app", "client_secret": "${SF_SECRET}", "fields": FIELDS,
        "per_second": 1_000,
    }  # fmt: skip
    return open_workspace(root, **{**settings, **target})


def people(count: int) -> dict[str, int | None]:
    return {f"{number:05d}": 1 + number % 100 for number in range(count)}


def test_a_few_go_in_collections_of_two_hundred(crm: Crm, org: Org, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {**people(450), "99999": 10})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, len(crm.got), org.jobs) == (450, 1, 4, [])
    assert outcome.rejections == [("churn", "99999", "ENTITY_IS_DELETED: entity is deleted")]
    assert org.held["00041"] == {"Foresell_churn__c": 42, "Foresell_Grade__c": "C", "Probability__c": 42.0}
    assert org.held["00099"]["Probability__c"] == 99
    assert reconcile(workspace, "crm", 450).differences == []
    del org.held["00007"]
    assert [(one.entity_id, one.field) for one in reconcile(workspace, "crm", 450).differences] == [("00007", None)]


def test_many_go_as_one_job(crm: Crm, org: Org, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {**people(2_500), "99999": 10, "a,'b": 10})
    time = Time()
    outcome = run(workspace, time)
    assert (outcome.sent, outcome.rejected, len(org.jobs)) == (2_500, 2, 1) and time.slept == [2, 4]
    assert {one: org.jobs[0][one] for one in ("object", "operation", "contentType", "lineEnding")} == {
        "object": "Account", "operation": "update", "contentType": "CSV", "lineEnding": "LF",
    }  # fmt: skip
    assert outcome.rejections[0][1:] == ("99999", "ENTITY_IS_DELETED:entity is deleted:--")
    assert reconcile(workspace, "crm", 300).differences == []
    night(workspace, {}, FIRST + DAY)
    assert run(workspace).sent == 2_502, "those that are gone need no emptying"
    assert set(org.held["00041"].values()) == {None}


def test_by_an_external_id_records_are_made(crm: Crm, org: Org, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, external_id="Crm_Id__c", bulk_above=2)
    night(workspace, {"new 1": 10, "new 2": 20})
    assert run(workspace).is_complete and org.jobs == []
    night(workspace, {"new 1": 30, "new 2": 40, "it's \\ new": 50}, FIRST + DAY)
    assert run(workspace).is_complete and org.jobs[0]["operation"] == "upsert"
    assert org.held["it's \\ new"]["Foresell_churn__c"] == "50"
    assert reconcile(workspace, "crm", 5).differences == []


def test_a_job_that_fails_as_a_whole_is_halved_until_collections_tell(crm: Crm, org: Org, tmp_path: Path) -> None:
    org.fail_jobs = True
    workspace = open_target(tmp_path, crm, bulk_above=100)
    night(workspace, people(300))
    outcome = run(workspace)
    assert outcome.sent == 300 and len(org.jobs) == 3


def test_a_locked_record_is_sent_again_and_not_rejected(crm: Crm, org: Org, tmp_path: Path) -> None:
    org.locked = {"00001": 2}
    workspace = open_target(tmp_path, crm)
    night(workspace, people(3))
    time = Time()
    assert run(workspace, time).is_complete and time.slept == [1, 2]
    org.locked = {"00001": 10_000}
    night(workspace, {"00001": 90, "00002": 90, "00003": 90}, FIRST + DAY)
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.waiting, outcome.stopped) == (3, 0, 1, None)


def test_many_deleted_records_that_come_first_stop_nobody(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, chunk=20)
    night(workspace, {"00001": 10, **{f"000{number}": 10 for number in range(100, 160)}})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.failures, outcome.stopped) == (1, 60, {}, None)


@pytest.mark.parametrize("bulk_above", [2_000, 100])
def test_only_the_records_that_were_locked_are_sent_again(crm: Crm, org: Org, tmp_path: Path, bulk_above: int) -> None:
    org.locked = {"00001": 1, "00150": 2}
    workspace = open_target(tmp_path, crm, bulk_above=bulk_above)
    night(workspace, {**people(300), "99999": 10})
    time = Time()
    outcome = run(workspace, time)
    assert (outcome.sent, outcome.rejected, outcome.waiting) == (300, 1, 0) and time.slept[-2:] == [1, 2]
    assert len(org.jobs) == (bulk_above < 300)
    again = [len(asked.json["records"]) for asked in crm.got if asked.path.endswith("/composite/sobjects")]
    assert again[-2:] == [2, 1] and sum(again) == (3 if org.jobs else 301 + 3)


def test_a_token_that_has_run_out_is_renewed_once(crm: Crm, org: Org, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, people(450))
    crm.faults = [None, None, (401, [{"message": "Session expired", "errorCode": "INVALID_SESSION_ID"}])]
    assert run(workspace).is_complete and org.token == 2
    night(workspace, {"00001": 99}, FIRST + DAY)
    monkeypatch.setenv("SF_SECRET", "guessed")
    outcome = run(workspace)
    assert "lets nobody in" in str(outcome.stopped) and "guessed" not in repr(outcome) + str(outcome.as_dict())


def test_the_days_limit_stops_the_run(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, people(450))
    limit = [{"message": "TotalRequests Limit exceeded.", "errorCode": "REQUEST_LIMIT_EXCEEDED"}]
    crm.faults = [None, None, (403, limit)]
    outcome = run(workspace)
    assert "TotalRequests Limit exceeded" in str(outcome.stopped) and (outcome.rejected, outcome.waiting) == (0, 450)
    assert run(workspace).sent == 450


PAGE = "\n<!DOCTYPE html>\n<HTML><body>We are down for maintenance</body></HTML>"


@pytest.mark.parametrize("nonsense", [PAGE, "", "[1]"])
@pytest.mark.parametrize("call", range(6))
def test_an_answer_of_something_else_is_waited_for_and_nobody_is_lost(
    crm: Crm, org: Org, tmp_path: Path, call: int, nonsense: str
) -> None:
    """The calls are for a token, a job, its rows, its start, a look at it, and for a token or a collection."""
    workspace = open_target(tmp_path, crm, bulk_above=2, attempts=2)
    night(workspace, people(5))
    crm.faults = [*[None] * call, (200, nonsense)]
    first = run(workspace)
    assert first.rejected == 0 and first.sent + first.waiting == 5
    assert first.is_complete or run(workspace).is_complete
    assert [org.held[one].get("Foresell_churn__c") for one in people(6)] == [*map(str, range(1, 6)), None]


def test_a_page_of_maintenance_stops_a_run_like_an_outage(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, people(5))
    crm.faults = [(200, PAGE)] * 20
    time = Time()
    outcome = run(workspace, time)
    assert "page of HTML" in str(outcome.stopped) and (outcome.rejected, outcome.waiting, time.slept) == (0, 5, [1, 2, 4, 8])
    crm.faults = []
    assert run(workspace).is_complete
    crm.faults = [None, (200, PAGE)]
    with pytest.raises(StoreError, match="page of HTML"):
        reconcile(workspace, "crm", 5)


@pytest.mark.parametrize("bulk_above", [2_000, 2])
def test_a_dry_run_shows_no_secret_and_asks_for_no_token(crm: Crm, tmp_path: Path, bulk_above: int) -> None:
    workspace = open_target(tmp_path, crm, bulk_above=bulk_above)
    night(workspace, people(5))
    calls = run(workspace, dry_run=True).calls
    assert calls and "00001" in repr(calls) and "sesame" not in repr(calls) and crm.got == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [({"client_id": ""}, "neither"), ({"token": "${SF_SECRET}"}, "both"), ({"client_secret": "sesame"}, "maybe")],
)
def test_settings_that_cannot_work_are_told(crm: Crm, tmp_path: Path, wrong: dict[str, object], told: str) -> None:
    workspace = open_target(tmp_path, crm, **wrong)
    night(workspace, people(1))
    with pytest.raises(WorkspaceError, match=told):
        run(workspace)
