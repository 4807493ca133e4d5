"""HubSpot to be read: searches that end at ten thousand, equal milliseconds, histories, associations, archived objects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest

from features import ingest
from features.errors import SourceError, WorkspaceError
from features.settings import Workspace
from tests.features.sources.worlds import adapter, open_workspace, rows, run
from tests.serving.connectors.worlds import Asked, Crm, Reply, Time, serving

START, CONTACTS, DEEPEST = datetime(2026, 1, 5, 8, tzinfo=UTC), 60, 10_000
MILLISECOND = timedelta(milliseconds=1)
FILES = (
    "contact",
    "contact_property_history",
    "deal",
    "deal_contact",
    "deal_pipeline_stage",
    "engagement_call",
    "engagement_contact",
)


class Account:
    """Objects by kind; properties are text, a search sorts by one of them and is two hundred a page."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self.histories: dict[str, list[dict[str, Any]]] = {}
        self.links: dict[tuple[str, str], dict[str, list[str]]] = {}
        self.token = "sesame"

    def put(self, kind: str, number: int, at: datetime, **values: str) -> None:
        modified = "lastmodifieddate" if kind == "contacts" else "hs_lastmodifieddate"
        one = self.objects[kind].setdefault(str(number), {"id": str(number), "archived": False, "properties": {}})
        one["properties"] |= {**values, modified: _told(at), "hs_object_id": str(number), "email": "nobody@business.example"}
        for name, value in values.items():
            self.histories.setdefault(f"{kind} {number} {name}", []).insert(
                0, {"value": value, "timestamp": _told(at), "sourceType": "CRM_UI"}
            )

    def archive(self, kind: str, number: int, at: datetime) -> None:
        self.objects[kind][str(number)] |= {"archived": True, "archivedAt": _told(at)}

    def answer(self, asked: Asked) -> Reply:
        path = urlsplit(asked.path)
        if asked.headers["Authorization"] != f"Bearer {self.token}":
            return 401, {"status": "error", "category": "INVALID_AUTHENTICATION", "message": f"The token {self.token} is expired"}
        if path.path == "/crm/v3/pipelines/deals":
            return 200, {"results": [{"id": "default", "stages": [_stage("won", "1.0"), _stage("new", "0.2")]}]}
        if path.path.startswith("/crm/v3/properties/"):
            return 200, {"results": [{"name": name} for name in ("lifecyclestage", "plan", "createdate")]}
        if path.path.startswith("/crm/v4/associations/"):
            return self._linked(path.path, asked.json["inputs"])
        kind = path.path.split("/")[4]
        if path.path.endswith("/search"):
            return self._search(kind, asked.json)
        if path.path.endswith("/batch/read"):
            return self._read(kind, asked.json)
        return self._listed(kind, parse_qs(path.query))

    def _search(self, kind: str, body: dict[str, Any]) -> Reply:
        assert body["limit"] <= 200 and len(body["sorts"]) == 1 and len(body["filterGroups"]) <= 5
        terms = [term for group in body["filterGroups"] for term in group["filters"]]
        found = [one for one in self.objects[kind].values() if not one["archived"] and all(_holds(one, term) for term in terms)]
        by = body["sorts"][0]["propertyName"]
        found.sort(key=lambda one: _comparable(by, one["properties"][by]))
        assert int(body.get("after", 0)) + body["limit"] <= DEEPEST
        told = [self._told(one, body["properties"]) for one in found[: body["limit"]]]
        return 200, {"total": len(found), "results": told}

    def _read(self, kind: str, body: dict[str, Any]) -> Reply:
        if len(body["inputs"]) > 50:
            return 400, {"status": "error", "message": "with history at most 50 inputs"}
        results = [
            {
                **self._told(self.objects[kind][one["id"]], []),
                "propertiesWithHistory": {
                    name: self.histories.get(f"{kind} {one['id']} {name}", []) for name in body["propertiesWithHistory"]
                },
            }
            for one in body["inputs"]
        ]
        return 200, {"status": "COMPLETE", "results": results}

    def _linked(self, path: str, inputs: list[dict[str, str]]) -> Reply:
        _, _, _, _, kind, other, *_ = path.split("/")
        links = self.links.get((kind, other), {})
        results = [
            {"from": {"id": one["id"]}, "to": [{"toObjectId": int(to)} for to in links[one["id"]]]}
            for one in inputs
            if one["id"] in links
        ]
        errors = [{"category": "OBJECT_NOT_FOUND", "message": "No associations"}] * (len(results) < len(inputs))
        return (207 if errors else 200), {"status": "COMPLETE", "results": results, "errors": errors}

    def _listed(self, kind: str, query: dict[str, list[str]]) -> Reply:
        assert query["archived"] == ["true"]
        limit, after = int(query["limit"][0]), int(query.get("after", ["0"])[0])
        found = [one for one in self.objects[kind].values() if one["archived"]]
        more = {"paging": {"next": {"after": str(after + limit)}}} if after + limit < len(found) else {}
        return 200, {
            "results": [self._told(one, query["properties"][0].split(",")) for one in found[after : after + limit]],
            **more,
        }

    def _told(self, one: dict[str, Any], names: list[str]) -> dict[str, Any]:
        assert "email" not in names
        return {**one, "properties": {name: one["properties"].get(name) for name in [*names, "hs_object_id"]}}


def _told(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def _stage(name: str, probability: str) -> dict[str, Any]:
    told = {"isClosed": str(probability == "1.0").lower(), "probability": probability}
    return {"id": name, "label": name.title(), "updatedAt": _told(START), "metadata": told}


def _comparable(name: str, value: str) -> Any:
    return int(value) if name == "hs_object_id" else value


def _holds(one: dict[str, Any], term: dict[str, str]) -> bool:
    name, value = term["propertyName"], term["value"]
    own = _comparable(name, one["properties"][name])
    wanted: Any = int(value) if name == "hs_object_id" else _told(datetime.fromtimestamp(int(value) / 1000, UTC))
    return {"GTE": own >= wanted, "LT": own < wanted, "GT": own > wanted}[term["operator"]]


@pytest.fixture
def account() -> Account:
    found = Account()
    for number in range(1, CONTACTS + 1):
        found.put("contacts", number, START + (number // 25) * MILLISECOND, createdate=_told(START), lifecyclestage="lead")
    found.put("deals", 500, START, dealstage="new", amount="10")
    found.links["deals", "contacts"] = {"500": ["7", "8"]}
    found.put("calls", 900, START, hs_timestamp=_told(START), hs_call_direction="INBOUND")
    found.links["calls", "contacts"] = {"900": ["7"]}
    return found


@pytest.fixture
def crm(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crm]:
    monkeypatch.setenv("HUBSPOT_TOKEN", "sesame")
    with serving(account.answer) as found:
        yield found


@pytest.fixture
def workspace(crm: Crm, tmp_path: Path) -> Workspace:
    return opened(tmp_path, crm)


def opened(root: Path, crm: Crm, **other: Any) -> Workspace:
    settings = {"of": "hubspot", "url": crm.url, "token": "${HUBSPOT_TOKEN}", "per_second": 10_000, "overlap_minutes": 0.0}
    return open_workspace(root, adapter(root, *FILES), **{**settings, **other})


def test_objects_come_with_their_histories_and_associations(crm: Crm, tmp_path: Path) -> None:
    workspace = opened(tmp_path, crm, page=20)
    run(workspace)
    assert rows(workspace, "contact", "count(distinct id), min(is_deleted), min(property_lifecyclestage)") == [
        (CONTACTS, "false", "lead")
    ]
    assert rows(workspace, "contact_property_history", "distinct name, value, timestamp") == [
        ("lifecyclestage", "lead", _told(START)), *(("lifecyclestage", "lead", _told(START + n * MILLISECOND)) for n in (1, 2)),
    ]  # fmt: skip
    assert rows(workspace, "deal_contact", "deal_id, contact_id") == [("500", "7"), ("500", "8")]
    assert rows(workspace, "engagement_contact", "engagement_id, contact_id") == [("900", "7")]
    assert rows(workspace, "engagement_call", "engagement_id, property_hs_call_direction") == [("900", "INBOUND")]
    assert rows(workspace, "deal_pipeline_stage", "stage_id, closed_won, is_closed") == [
        ("new", "false", "false"), ("won", "true", "true"),
    ]  # fmt: skip


def test_a_second_pull_fetches_what_changed_and_keeps_every_change(workspace: Workspace, crm: Crm, account: Account) -> None:
    run(workspace)
    account.put("contacts", 7, START + timedelta(days=1), lifecyclestage="customer")
    crm.got.clear()
    done = run(workspace)["contact"]
    assert (done.records, done.versions) == (12, 1)
    assert sum("contacts/search" in one.path for one in crm.got) == 2
    assert (
        rows(workspace, "contact_property_history", "value, timestamp").count(("customer", _told(START + timedelta(days=1)))) == 1
    )
    assert len(rows(workspace, "contact_property_history")) == CONTACTS + 1
    assert len(rows(workspace, "contact")) == CONTACTS


def test_an_archived_object_is_marked_and_its_time_moves_no_cursor(workspace: Workspace, account: Account) -> None:
    run(workspace)
    account.archive("contacts", 9, START + timedelta(days=3))
    account.put("contacts", 10, START + timedelta(days=2), lifecyclestage="customer")
    run(workspace)
    assert rows(workspace, "contact", "id, property_lifecyclestage, is_deleted").count(("9", "lead", "true")) == 1
    account.put("contacts", 11, START + timedelta(days=2, hours=1), lifecyclestage="customer")
    run(workspace)
    assert ("11", "customer") in rows(workspace, "contact", "id, property_lifecyclestage")
    assert len(rows(workspace, "contact")) == CONTACTS


def test_an_own_property_comes_along_and_a_wrong_one_is_told(crm: Crm, account: Account, tmp_path: Path) -> None:
    account.put("contacts", 7, START, plan="gold")
    workspace = opened(tmp_path, crm, fields={"contact": ["plan"]})
    run(workspace)
    assert ("gold",) in rows(workspace, "contact", "property_plan")
    with pytest.raises(WorkspaceError, match="write `plan`"):
        run(opened(tmp_path, crm, fields={"contact": ["plann"]}))
    with pytest.raises(WorkspaceError, match="write `contact`"):
        run(opened(tmp_path, crm, fields={"contacts": ["plan"]}))


def test_a_limit_is_waited_for_and_a_token_that_ran_out_is_told(workspace: Workspace, crm: Crm, account: Account) -> None:
    time = Time()
    crm.faults = [(429, {"status": "error", "category": "RATE_LIMITS", "message": "secondly limit"}, {"Retry-After": "10"})]
    run(workspace, time)
    assert time.slept[0] == 10.0
    account.token = "another"
    with pytest.raises(SourceError, match="lets us in") as caught:
        run(workspace)
    assert "sesame" not in str(caught.value)


def test_html_instead_of_objects_is_told(workspace: Workspace, crm: Crm) -> None:
    crm.faults = [(200, "<html>Welcome</html>")] * 5
    with pytest.raises(SourceError, match="contacts"):
        run(workspace)


def test_what_is_pulled_is_what_the_shipped_adapter_reads(crm: Crm, account: Account, tmp_path: Path) -> None:
    for number in range(1, 4):
        account.put("companies", number, START, createdate=_told(START), industry="CARS")
    account.put("contacts", 5, START + timedelta(days=2), lifecyclestage="customer")
    account.archive("contacts", 9, START + timedelta(days=3))
    account.put("deals", 500, START + timedelta(days=4), dealstage="won", createdate=_told(START), closedate=_told(START))
    account.links["deals", "companies"] = {"500": ["2"]}
    account.put("calls", 900, START, hs_createdate=_told(START))
    settings = {"of": "hubspot", "url": crm.url, "token": "${HUBSPOT_TOKEN}", "per_second": 10_000}
    workspace = open_workspace(tmp_path, "hubspot", **settings)
    run(workspace)
    catalog = ingest.run(workspace, datetime(2026, 3, 1, tzinfo=UTC))
    tables = {name: table.rows for name, table in catalog.tables.items()}
    history = tables.pop("attribute_history")
    assert tables == {"leads": CONTACTS - 1, "customers": 3, "interactions": 1, "orders": 1} and history > 0
    with duckdb.connect() as connection:
        won = (
            f"select lead_id, converted_at from read_parquet('{catalog.path(workspace, 'leads')}') where converted_at is not null"
        )
        assert connection.execute(won).fetchall() == [("5", (START + timedelta(days=2)).replace(tzinfo=None))]
