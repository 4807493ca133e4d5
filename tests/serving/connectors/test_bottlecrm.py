"""Scores written back into the real BottleCRM over its REST API, into custom fields of leads and accounts."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.errors import StoreError
from features.settings import Workspace
from serving.connectors.reconciliation import reconcile
from tests.serving.connectors.bottlecrm import Bottlecrm, bottlecrm
from tests.serving.connectors.test_hardship import CODE, ROOT
from tests.serving.connectors.worlds import DAY, FIRST, night, open_workspace, run
from tests.serving.running import until

pytestmark = [pytest.mark.slow, pytest.mark.bottlecrm, pytest.mark.postgres]
OWN = {"custom_fields.foresell_score": "score", "custom_fields.foresell_grade": "grade", "custom_fields.foresell_day": "day"}
KINDS = {"foresell_score": "number", "foresell_grade": "text", "foresell_day": "date", "owner_says": "text"}
OF = {
    "leads": {
        "entity": "lead", "propensities": ["lead-conversion"], "record": "lead_obj", "fields": {**OWN, "probability": "score"},
    },
    "accounts": {"entity": "customer", "propensities": ["churn"], "record": "account_obj", "fields": OWN},
}  # fmt: skip


@pytest.fixture(scope="module")
def crm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bottlecrm]:
    with bottlecrm(tmp_path_factory.mktemp("bottlecrm")) as found:
        for target in ("Lead", "Account"):
            for key, kind in KINDS.items():
                found.ask("POST", "custom-fields/", {"target_model": target, "key": key, "label": key, "field_type": kind})
        yield found


@pytest.fixture(autouse=True)
def token(crm: Bottlecrm, monkeypatch: pytest.MonkeyPatch) -> None:
    scopes = ["leads:read", "leads:write", "accounts:read", "accounts:write"]
    monkeypatch.setenv("BOTTLECRM_TOKEN", str(crm.token(scopes)["token"]))


def open_target(root: Path, crm: Bottlecrm, kind: str = "leads", **target: Any) -> Workspace:
    settings = {
        "to": "rest", "url": f"{crm.url}/api/{kind}/{{id}}/", "headers": {"Authorization": "Bearer ${BOTTLECRM_TOKEN}"},
        "denied": [403], "per_second": 1_000, **OF[kind],
    }  # fmt: skip
    return open_workspace(root, **{**settings, **target})


def held(crm: Bottlecrm, lead: str) -> tuple[dict[str, Any], int]:
    """Its custom fields, and its own probability."""
    record = crm.ask("GET", f"leads/{lead}/")["lead_obj"]
    return record["custom_fields"], record["probability"]


def score(workspace: Workspace, points: dict[str, Any], as_of: datetime = FIRST) -> None:
    night(workspace, points, as_of, "lead-conversion")


def test_scores_come_into_leads_and_what_a_rep_has_written_stays(crm: Bottlecrm, tmp_path: Path) -> None:
    sure, unsure = crm.lead("sure"), crm.lead("unsure")
    crm.ask("PATCH", f"leads/{sure}/", {"custom_fields": {"owner_says": "call in May"}})
    workspace = open_target(tmp_path, crm)
    score(workspace, {sure: 100, unsure: 30})
    assert run(workspace).is_complete
    told = {"owner_says": "call in May", "foresell_score": 100, "foresell_grade": "A", "foresell_day": "2026-11-25"}
    assert held(crm, sure) == (told, 99) and held(crm, unsure)[0]["foresell_score"] == 30
    assert reconcile(workspace, "crm", 10).differences == []
    crm.ask("PATCH", f"leads/{unsure}/", {"custom_fields": {"foresell_grade": "A"}})
    assert [one[1:] for one in reconcile(workspace, "crm", 10).differences] == [
        (unsure, "custom_fields.foresell_grade", "C", "A")
    ]


def test_the_fields_of_who_is_withheld_are_emptied(crm: Bottlecrm, tmp_path: Path) -> None:
    lead = crm.lead("shy")
    workspace = open_target(tmp_path, crm)
    score(workspace, {lead: 70})
    run(workspace)
    score(workspace, {lead: None}, FIRST + DAY)
    assert run(workspace).sent == 1 and held(crm, lead)[0] == {"foresell_day": "2026-11-26"}
    assert reconcile(workspace, "crm", 10).differences == []


def test_scores_come_into_accounts(crm: Bottlecrm, tmp_path: Path) -> None:
    accounts = {crm.account(f"account {number}"): 10 + number for number in range(5)}
    workspace = open_target(tmp_path, crm, "accounts")
    night(workspace, accounts)
    assert run(workspace).sent == 5 and reconcile(workspace, "crm", 10).differences == []
    for account, points in accounts.items():
        assert crm.ask("GET", f"accounts/{account}/")["account_obj"]["custom_fields"]["foresell_score"] == points


def test_a_field_that_nobody_has_made_is_only_found_by_reading_back(crm: Bottlecrm, tmp_path: Path) -> None:
    """BottleCRM answers 200 and drops what it does not know."""
    lead = crm.lead("field")
    workspace = open_target(tmp_path, crm, fields={"custom_fields.no_such_field": "score"})
    score(workspace, {lead: 70})
    assert run(workspace).is_complete
    assert reconcile(workspace, "crm", 10).differences == [("lead-conversion", lead, "custom_fields.no_such_field", 70, None)]


def test_a_lead_that_was_deleted_is_a_dead_letter_and_the_others_get_theirs(crm: Bottlecrm, tmp_path: Path) -> None:
    gone, there = crm.lead("gone"), crm.lead("there")
    crm.ask("DELETE", f"leads/{gone}/")
    workspace = open_target(tmp_path, crm)
    score(workspace, {gone: 70, there: 60, "no UUID": 50})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.stopped) == (1, 2, None) and held(crm, there)[1] == 60
    letters = (tmp_path / "data" / "write_back" / "crm" / "rejected.jsonl").read_text().splitlines()
    assert {json.loads(letter)["entity_id"]: json.loads(letter)["error"] for letter in letters} == {
        gone: "HTTP 404: No Lead matches the given query.", "no UUID": "HTTP 404",
    }  # fmt: skip


def test_a_token_that_has_run_out_or_may_not_write_stops_the_run_and_no_lead_is_given_up(
    crm: Bottlecrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = {crm.lead(f"waiting {number}"): 50 + number for number in range(3)}
    workspace = open_target(tmp_path, crm)
    score(workspace, dict(leads))
    valid, reads = crm.token([])["token"], crm.token(["leads:read"])["token"]
    run_out = crm.token([], (datetime.now(UTC) + timedelta(seconds=1)).isoformat())["token"]
    until(lambda: not httpx.get(f"{crm.url}/api/leads/", headers={"Authorization": f"Bearer {run_out}"}).is_success)
    for refused, told in ((reads, "not scoped for write"), (run_out, "Organization context")):
        monkeypatch.setenv("BOTTLECRM_TOKEN", refused)
        outcome = run(workspace)
        assert told in str(outcome.stopped) and (outcome.sent, outcome.rejected, outcome.waiting) == (0, 0, 3)
        assert refused not in repr(outcome)
    with pytest.raises(StoreError, match="Organization context"):
        monkeypatch.setenv("BOTTLECRM_TOKEN", valid)
        assert run(workspace).sent == 3
        monkeypatch.setenv("BOTTLECRM_TOKEN", run_out)
        reconcile(workspace, "crm", 3)
    assert {lead: held(crm, lead)[1] for lead in leads} == leads


def test_a_run_that_is_killed_and_run_again_writes_every_lead_and_hardly_one_twice(crm: Bottlecrm, tmp_path: Path) -> None:
    leads = {crm.lead(f"many {number}"): 1 + number for number in range(40)}
    score(open_target(tmp_path, crm, per_second=20), dict(leads))
    process = subprocess.Popen([sys.executable, "-c", CODE, str(tmp_path)], cwd=ROOT)
    until(lambda: written(crm, leads) >= 5)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and written(crm, leads) < len(leads)
    workspace = open_target(tmp_path, crm)
    assert run(workspace).is_complete
    assert {lead: held(crm, lead)[1] for lead in leads} == leads and written(crm, leads) <= len(leads) + 1
    assert run(workspace).changed == 0 and reconcile(workspace, "crm", 40).differences == []


def written(crm: Bottlecrm, leads: dict[str, int]) -> int:
    """How many calls have changed one of these leads."""
    lines = crm.log.read_text(encoding="utf-8").splitlines()
    return sum('"PATCH /api/leads/' in line and any(lead in line for lead in leads) for line in lines)
