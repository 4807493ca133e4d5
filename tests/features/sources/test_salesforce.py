"""Salesforce to be read: SOQL by key, answers in parts, deleted records, what an organisation lacks, the day's limit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from features import ingest
from features.errors import SourceError, WorkspaceError
from features.settings import Workspace
from tests.features.sources.worlds import adapter, open_workspace, rows, run
from tests.serving.connectors.worlds import Asked, Crm, Reply, Time, serving

START, LEADS, MOST_OF_A_PART = datetime(2026, 1, 5, 8), 30, 4
FIELDS = {
    "Lead": {"Id", "CreatedDate", "IsDeleted", "LastModifiedDate", "SystemModstamp", "LeadSource", "Status", "Size__c", "Email"},
    "LeadHistory": {"Id", "CreatedDate", "IsDeleted", "LeadId", "Field", "OldValue", "NewValue"},
}
SOQL = re.compile(
    r"SELECT (?P<what>.+) FROM (?P<name>\w+)(?: WHERE (?P<where>.+?))?(?: ORDER BY (?P<by>.+) LIMIT (?P<limit>\d+))?"
)


class Organisation:
    """Records by object; SOQL as far as it is spoken here, and no field that is not there."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, dict[str, Any]]] = {"Lead": {}, "LeadHistory": {}}
        self.parts: dict[str, list[dict[str, Any]]] = {}
        self.token = "first"

    def put(self, name: str, number: int, at: datetime, **values: Any) -> None:
        key = f"00Q{number:015}"
        record = self.records[name].setdefault(key, {"Id": key, "CreatedDate": _told(at), "IsDeleted": False})
        record.update(values, SystemModstamp=_told(at), LastModifiedDate=_told(at))

    def answer(self, asked: Asked) -> Reply:
        path = urlsplit(asked.path)
        if path.path == "/services/oauth2/token":
            return 200, {"access_token": self.token, "token_type": "Bearer"}
        if asked.headers["Authorization"] != f"Bearer {self.token}":
            return 401, [{"errorCode": "INVALID_SESSION_ID", "message": "Session expired or invalid"}]
        if path.path.endswith("/describe"):
            name = path.path.split("/")[-2]
            if name not in self.records:
                return 404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}]
            return 200, {"name": name, "fields": [{"name": field} for field in sorted(FIELDS[name])]}
        if path.path.startswith("/services/data/v62.0/queryAll/"):
            return self._part(path.path.rsplit("/", 1)[1])
        assert path.path == "/services/data/v62.0/queryAll"
        return self._query(parse_qs(path.query)["q"][0])

    def _query(self, asked: str) -> Reply:
        found = SOQL.fullmatch(asked)
        assert found, asked
        name, what = found["name"], found["what"].split(", ")
        records = [
            one
            for one in self.records[name].values()
            if all(_holds(one, term) for term in (found["where"] or "").split(" AND ") if term)
        ]
        if what == ["COUNT()"]:
            return 200, {"totalSize": len(records), "done": True, "records": []}
        if unknown := set(what) - FIELDS[name]:
            return 400, [{"errorCode": "INVALID_FIELD", "message": f"No such column {unknown}"}]
        assert "Email" not in what, "nobody's name or address is asked for"
        records = sorted(records, key=lambda one: [one[field] for field in found["by"].split(", ")])[: int(found["limit"])]
        self.parts["01g-0"] = [{"attributes": {"type": name}, **{field: one.get(field) for field in what}} for one in records]
        return self._part("01g-0")

    def _part(self, locator: str) -> Reply:
        """Answers may be shorter than was asked for, whatever LIMIT says."""
        every, start = self.parts["01g-0"], int(locator.split("-")[1])
        some, following = every[start : start + MOST_OF_A_PART], start + MOST_OF_A_PART
        more = {"nextRecordsUrl": f"/services/data/v62.0/queryAll/01g-{following}"} if following < len(every) else {}
        return 200, {"totalSize": len(every), "done": not more, "records": some, **more}


def _told(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.000+0000"


def _holds(record: dict[str, Any], term: str) -> bool:
    name, sign, value = term.split(" ")
    value = value.strip("'") if name == "Id" else value.replace("Z", ".000+0000")
    return {">=": record[name] >= value, "<": record[name] < value, ">": record[name] > value}[sign]


@pytest.fixture
def organisation() -> Organisation:
    found = Organisation()
    for number in range(LEADS):
        found.put("Lead", number, START + timedelta(minutes=number // 10), LeadSource="Web", Status="New", Email="a@b.example")
        found.put("LeadHistory", number, START, LeadId=f"00Q{number:015}", Field="Status", OldValue=None, NewValue="New")
    return found


@pytest.fixture
def crm(organisation: Organisation, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crm]:
    monkeypatch.setenv("SF_SECRET", "sesame")
    with serving(organisation.answer) as found:
        yield found


@pytest.fixture
def workspace(crm: Crm, tmp_path: Path) -> Workspace:
    return opened(tmp_path, crm)


def opened(root: Path, crm: Crm, **other: Any) -> Workspace:
    settings = {
        "of": "salesforce", "url": crm.url, "client_id": "app", "client_secret": "${SF_SECRET}", "per_second": 10_000,
        "overlap_minutes": 0.5, **other,
    }  # fmt: skip
    return open_workspace(root, adapter(root, "lead", "lead_history", "opportunity_history"), **settings)


def test_records_of_one_second_and_answers_in_parts_are_all_there(crm: Crm, organisation: Organisation, tmp_path: Path) -> None:
    workspace = opened(tmp_path, crm, page=7)
    assert {name: one.versions for name, one in run(workspace).items()} == {"Lead": LEADS, "LeadHistory": LEADS}
    assert rows(workspace, "Lead", "count(*), count(distinct Id), min(IsDeleted), min(LeadSource)") == [
        (LEADS, LEADS, "false", "Web")
    ]
    assert not (workspace.source / "OpportunityHistory.parquet").exists()


def test_a_second_pull_fetches_what_changed_and_the_export_has_the_newest_of_each(
    workspace: Workspace, crm: Crm, organisation: Organisation
) -> None:
    run(workspace)
    organisation.put("Lead", 3, START + timedelta(days=1), Status="Working")
    organisation.put("Lead", 4, START + timedelta(days=1), IsDeleted=True)
    crm.got.clear()
    done = run(workspace)["Lead"]
    assert (done.records, done.versions) == (12, 2)
    assert sum("queryAll" in one.path for one in crm.got) == 2 * (1 + 1) + 2 + (LEADS // MOST_OF_A_PART)
    assert rows(workspace, "Lead", "count(*), count(*) filter (where IsDeleted = 'true')") == [(LEADS, 1)]
    assert ("Working",) in rows(workspace, "Lead", "Status")


def test_a_token_that_ran_out_is_renewed_and_a_wrong_one_is_told(
    workspace: Workspace, crm: Crm, organisation: Organisation
) -> None:
    answer = crm.answer

    def expiring(asked: Asked) -> Reply:
        if "COUNT" in asked.path and organisation.token == "first":
            organisation.token = "second"
        return answer(asked)

    crm.answer = expiring
    assert run(workspace)["Lead"].records == LEADS
    crm.answer = lambda asked: (400, {"error": "invalid_client", "error_description": "sesame is wrong"})
    with pytest.raises(SourceError, match="lets us in") as caught:
        run(workspace)
    assert "sesame" not in str(caught.value)


def test_the_day_s_limit_ends_the_pull_and_a_retry_after_is_waited(workspace: Workspace, crm: Crm) -> None:
    limit = [{"errorCode": "REQUEST_LIMIT_EXCEEDED", "message": "TotalRequests Limit exceeded."}]
    crm.faults = [None, (403, limit)]
    with pytest.raises(SourceError, match="TotalRequests"):
        run(workspace)
    time = Time()
    crm.faults = [None, (503, None, {"Retry-After": "9"})]
    run(workspace, time)
    assert time.slept[0] == 9.0


def test_own_fields_come_along_and_a_wrong_one_is_told(crm: Crm, organisation: Organisation, tmp_path: Path) -> None:
    organisation.put("Lead", 3, START, Size__c=5.5)
    workspace = opened(tmp_path, crm, fields={"Lead": ["Size__c"]})
    run(workspace)
    assert ("5.5",) in rows(workspace, "Lead", "Size__c")
    with pytest.raises(WorkspaceError, match="write `Size__c`"):
        run(opened(tmp_path, crm, fields={"Lead": ["Sise__c"]}))


def test_html_instead_of_records_is_told(workspace: Workspace, crm: Crm) -> None:
    crm.faults = [None, *[(200, "<html>Maintenance</html>")] * 5]
    with pytest.raises(SourceError, match="its records"):
        run(workspace)


def test_what_is_pulled_is_what_the_shipped_adapter_reads(crm: Crm, organisation: Organisation, tmp_path: Path) -> None:
    """A lead's status was another one before; a deleted account is none; the day of a conversion is told by Salesforce alone."""
    for name, own in {
        "Account": {"Type", "Industry"}, "Opportunity": {"AccountId", "IsWon", "IsClosed", "StageName", "Amount", "CloseDate"},
        "OpportunityHistory": {"OpportunityId", "StageName", "Amount"}, "Task": {"WhoId", "TaskSubtype", "CallType", "IsClosed"},
    }.items():  # fmt: skip
        organisation.records[name] = {}
        FIELDS[name] = own | {"Id", "CreatedDate", "IsDeleted", "LastModifiedDate", "SystemModstamp"}
    key = f"00Q{3:015}"
    for number in range(5):
        organisation.put("Account", number, START, Type="Customer", IsDeleted=number == 4)
    won = {
        "AccountId": key,
        "IsWon": True,
        "IsClosed": True,
        "StageName": "Closed Won",
        "Amount": 10.5,
        "CloseDate": "2026-01-07",
    }
    organisation.put("Opportunity", 3, START, **won)
    organisation.put("OpportunityHistory", 3, START, OpportunityId=key, StageName="Closed Won", Amount=10.5)
    organisation.put("Task", 3, START, WhoId=key, TaskSubtype="Call", CallType="Outbound", IsClosed=True)
    settings = {"of": "salesforce", "url": crm.url, "client_id": "app", "client_secret": "${SF_SECRET}", "per_second": 10_000}
    workspace = open_workspace(tmp_path, "salesforce", **settings)
    run(workspace)
    catalog = ingest.run(workspace, datetime(2026, 3, 1, tzinfo=UTC))
    assert {name: table.rows for name, table in catalog.tables.items()} == {
        "leads": LEADS, "customers": 4, "interactions": 1, "orders": 1, "attribute_history": LEADS,
    }  # fmt: skip
