"""Dynamics takes scores, grades and trends in its own choices, all of a call or nothing, and the lead points to its score."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import pytest

from features.errors import WorkspaceError
from features.settings import Workspace
from serving.connectors.reconciliation import reconcile
from tests.serving.connectors.worlds import DAY, FIRST, Asked, Crm, Reply, Time, night, open_workspace, run, serving

COLUMNS = {"msdyn_score", "msdyn_grade", "msdyn_scoretrend", "msdyn_scoredon"}


def guid(number: int) -> str:
    return str(UUID(int=number))


class Environment:
    """Leads and their scores behind Entra ID; UpsertMultiple and UpdateMultiple are transactions."""

    def __init__(self) -> None:
        self.leads: dict[str, str | None] = {guid(number): None for number in range(1, 301)}
        self.rows: dict[str, dict[str, Any]] = {}
        self.token = 0

    def answer(self, asked: Asked) -> Reply:
        if asked.path == "/tenant/oauth2/v2.0/token":
            told = {name: value[0] for name, value in parse_qs(asked.body.decode()).items()}
            if told["client_secret"] != "sesame" or not told["scope"].endswith("/.default"):
                return 401, {"error": "invalid_client", "error_description": f"AADSTS7000215: {told['client_secret']}"}
            self.token += 1
            return 200, {"access_token": f"token {self.token}", "token_type": "Bearer", "expires_in": 3599}
        if asked.headers["Authorization"] != f"Bearer token {self.token}":
            return 401, None
        path = asked.path.removeprefix("/api/data/v9.2/")
        if asked.method == "GET":
            return self._read(parse_qs(urlsplit(path).query))
        targets = asked.json["Targets"]
        if len(targets) > 1_000:
            return 400, _error("0x80048d19", "too many")
        if path == "msdyn_predictivescores/Microsoft.Dynamics.CRM.UpsertMultiple":
            return self._upsert(targets)
        assert path == "leads/Microsoft.Dynamics.CRM.UpdateMultiple"
        return self._point(targets)

    def _upsert(self, targets: list[dict[str, Any]]) -> Reply:
        for one in targets:
            assert one["@odata.type"] == "Microsoft.Dynamics.CRM.msdyn_predictivescore"
            columns = {name: value for name, value in one.items() if not name.startswith("@")}
            if unknown := set(columns) - COLUMNS:
                return 400, _error("0x80048d19", f"The property '{unknown.pop()}' does not exist on type msdyn_predictivescore")
            assert columns["msdyn_score"] is None or 0 <= columns["msdyn_score"] <= 100
            assert columns["msdyn_grade"] in (0, 1, 2, 3, None) and columns["msdyn_scoretrend"] in (0, 1, 2, 3)
            assert re.fullmatch(r"\d{4}-\d\d-\d\d", columns["msdyn_scoredon"])
        for one in targets:
            self.rows.setdefault(one["@odata.id"], {}).update({name: one[name] for name in COLUMNS})
        return 204, None

    def _point(self, targets: list[dict[str, Any]]) -> Reply:
        missing = next((one["leadid"] for one in targets if one["leadid"] not in self.leads), None)
        if missing:
            return 404, _error("0x80040217", f"Entity 'Lead' With Id = {missing} Does Not Exist")
        for one in targets:
            row = one["msdyn_PredictiveScoreId@odata.bind"].removeprefix("/")
            assert row in self.rows and one["@odata.type"] == "Microsoft.Dynamics.CRM.lead"
            self.leads[one["leadid"]] = row
        return 204, None

    def _read(self, query: dict[str, list[str]]) -> Reply:
        ids = re.findall(r"'([0-9a-f-]{36})'", query["$filter"][0])
        assert query["$filter"][0].startswith("msdyn_entitytype eq 'lead' and Microsoft.Dynamics.CRM.In(")
        names = {one: f"msdyn_predictivescores(msdyn_entityid='{one}',msdyn_entitytype='lead')" for one in ids}
        return 200, {"value": [{"msdyn_entityid": one, **self.rows[name]} for one, name in names.items() if name in self.rows]}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@pytest.fixture
def environment() -> Environment:
    return Environment()


@pytest.fixture
def crm(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Crm]:
    monkeypatch.setenv("ENTRA_SECRET", "sesame")
    with serving(environment.answer) as found:
        yield found


def open_target(root: Path, crm: Crm, **target: object) -> Workspace:
    settings = {
        "to": "dynamics", "entity": "lead", "propensities": ["lead-conversion"], "url": crm.url, "login": crm.url,
        "tenant": "tenant", "client_id": "app", "client_secret": "${ENTRA_SECRET}", "per_second": 1_000,
    }  # fmt: skip
    return open_workspace(root, **{**settings, **target})


def leads(workspace: Workspace, points: dict[str, int | None], later: int = 0) -> None:
    night(workspace, points, FIRST + later * DAY, "lead-conversion")


def test_score_grade_and_trend_are_its_own_choices(crm: Crm, environment: Environment, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    leads(workspace, {guid(number): 1 + number % 100 for number in range(1, 251)})
    assert run(workspace).sent == 250 and len(crm.got) == 1 + 2 * 3
    row = environment.rows[environment.leads[guid(41)] or ""]
    assert row == {"msdyn_score": 42, "msdyn_grade": 2, "msdyn_scoretrend": 3, "msdyn_scoredon": "2026-11-25"}
    leads(workspace, {guid(41): 80, guid(42): 44, guid(99): 20}, later=1)
    assert run(workspace).sent == 250
    found = [environment.rows[environment.leads[guid(number)] or ""] for number in (41, 42, 99, 100)]
    assert [(row["msdyn_score"], row["msdyn_grade"], row["msdyn_scoretrend"]) for row in found] == [
        (80, 0, 0), (44, 2, 1), (20, 3, 2), (None, None, 3),
    ]  # fmt: skip
    assert reconcile(workspace, "crm", 250).differences == []
    found[0]["msdyn_scoretrend"] = 2
    assert reconcile(workspace, "crm", 250).differences == [
        ("lead-conversion", guid(41), "msdyn_scoretrend", "rising", "falling")
    ]


def test_a_deleted_lead_and_an_id_that_is_none_are_rejected(crm: Crm, environment: Environment, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    del environment.leads[guid(7)]
    leads(workspace, {guid(number): 10 for number in range(1, 51)} | {"L-1": 10})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected) == (49, 2) and sum(row is not None for row in environment.leads.values()) == 49
    kept = (tmp_path / "data" / "write_back" / "crm" / "rejected.jsonl").read_text()
    assert "Does Not Exist" in kept and "GUIDs" in kept


def test_many_deleted_leads_that_come_first_stop_nobody(crm: Crm, environment: Environment, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    leads(workspace, {guid(number): 10 for number in range(241, 361)})
    environment.leads = {guid(number): None for number in range(341, 361)}
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.failures, outcome.stopped) == (20, 100, {}, None)


def test_a_limit_is_waited_for_and_a_token_that_has_run_out_renewed(crm: Crm, environment: Environment, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    leads(workspace, {guid(1): 10})
    crm.faults = [None, (429, _error("0x80072322", "Number of requests exceeded"), {"Retry-After": "33"}), (401, None)]
    time = Time()
    assert run(workspace, time).is_complete and time.slept == [33] and environment.token == 2


def test_a_wrong_secret_is_not_shown(crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = open_target(tmp_path, crm)
    leads(workspace, {guid(1): 10})
    calls = run(workspace, dry_run=True).calls
    assert len(calls) == 2 and "sesame" not in repr(calls) and crm.got == []
    monkeypatch.setenv("ENTRA_SECRET", "guessed")
    outcome = run(workspace)
    assert "AADSTS7000215: ***" in str(outcome.stopped) and "guessed" not in repr(outcome.as_dict())


def test_without_a_link_the_score_alone_is_written(crm: Crm, environment: Environment, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, link=False, fields={"msdyn_score": "score", "other": "grade"})
    leads(workspace, {guid(1): 10})
    assert "'other' does not exist" in run(workspace).rejections[0][2] and len(crm.got) == 2


def test_one_propensity_a_target(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, propensities=[])
    leads(workspace, {guid(1): 10})
    with pytest.raises(WorkspaceError, match="one propensity"):
        run(workspace)
