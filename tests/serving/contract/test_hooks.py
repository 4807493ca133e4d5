"""A CRM's webhooks over HTTP: answered at once whatever the online store does, then scored, stored and written back."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from tests.serving.contract.conftest import SIGNED_WITH, Counter
from tests.serving.contract.test_auth import require_refusal
from tests.serving.hooks.payloads import ESPOCRM, ODOO, SALESFORCE
from tests.serving.running import until

pytestmark = pytest.mark.slow


def stored(counter: Counter, entity_id: str) -> list[dict[str, Any]]:
    """The stored scores of a lead; none before it is scored."""
    with counter.client("score") as client:
        response = client.get(f"/v1/scores/lead/{entity_id}")
    return response.json()["scores"] if response.status_code == 200 else []


def test_odoo_is_answered_while_the_store_is_slow_and_hears_the_score_afterwards(counter: Counter) -> None:
    hook = f"/v1/hooks/odoo/{counter.secrets['hook']}"
    with counter.client() as client, counter.slow_store():
        first = client.post(hook, json={**ODOO, "_id": 88, "source": "web", "expected_revenue": 10_000.0})
        second = client.post(hook, json={**ODOO, "_id": 88, "source": "fair"})
        assert first.status_code == second.status_code == 202, first.text
        assert first.json()["accepted"] == 1 and first.json()["flaws"] == [] and len(first.json()["id"]) == 32
        assert first.headers["x-request-id"] == first.json()["id"] != second.json()["id"]
        assert stored(counter, "88") == [] == told(counter, "88")
    until(lambda: nothing_waits(counter))
    heard = told(counter, "88")
    assert 1 <= len(heard) <= 2, "two calls give one score, or two where the store comes back between them"
    until(lambda: stored(counter, "88") == heard[-1:])
    score = heard[-1]
    assert score["score"] is not None and not {"lead_origin", "lead_budget"} & set(score["missing"])
    reasons = {reason["feature"]: reason["value"] for reason in score["reasons"]}
    assert reasons.get("lead_origin", "fair") == "fair", "of two calls the later field counts"


def told(counter: Counter, entity_id: str) -> list[dict[str, Any]]:
    """The scores of a lead that the CRM was told, in order."""
    return [score for path, score in list(counter.told) if path == f"/lead/{entity_id}/lead-conversion"]


def nothing_waits(counter: Counter) -> bool:
    """Whether every webhook is scored, and every score sent."""
    with counter.client("admin") as client:
        waiting = client.get("/v1/status").json()["waiting"]
    return (waiting.get("inbox"), waiting.get("outbox")) == (0, 0)


def test_odoos_other_records_are_told_and_left_out(counter: Counter) -> None:
    with counter.client() as client:
        answer = client.post(f"/v1/hooks/odoo/{counter.secrets['hook']}", json={**ODOO, "_model": "res.partner"})
    assert answer.status_code == 202 and answer.json()["accepted"] == 0
    assert set(answer.json()["flaws"][0]) == {"where", "expected", "received", "repair"}


def test_espocrm_signs_its_arrays(counter: Counter) -> None:
    hook, body = f"/v1/hooks/espocrm/{counter.secrets['hook']}", json.dumps(ESPOCRM).encode()
    signed = hmac.new(SIGNED_WITH.encode(), body, hashlib.sha256).hexdigest()
    signature = base64.b64encode(f"hook-id:{signed}".encode()).decode()
    with counter.client() as client:
        assert client.post(hook, content=body, headers={"Signature": signature}).json()["accepted"] == 2
        require_refusal(client.post(hook, content=body + b" ", headers={"Signature": signature}), 401)
        require_refusal(client.post(hook, content=body), 401)
    until(lambda: all(stored(counter, record["id"]) for record in ESPOCRM))


def test_salesforce_gets_its_acknowledgement(counter: Counter) -> None:
    with counter.client() as client:
        headers = {"Content-Type": "text/xml; charset=utf-8"}
        answer = client.post(f"/v1/hooks/salesforce/{counter.secrets['hook']}", content=SALESFORCE, headers=headers)
    assert answer.status_code == 200 and "<Ack>true</Ack>" in answer.text
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    until(lambda: stored(counter, "00Q24000004AbCdEAK") and stored(counter, "00Q24000004AbCeEAK"))


def test_a_wrong_source_or_body_is_refused(counter: Counter) -> None:
    secret = counter.secrets["hook"]
    with counter.client() as client:
        problem = require_refusal(client.post(f"/v1/hooks/odo/{secret}", json=ODOO), 404)
        assert problem["flaws"][0]["repair"] == "did you mean `odoo`?" and secret not in json.dumps(problem)
        require_refusal(client.post(f"/v1/hooks/odoo/{secret}", content=b"{"), 400)
        require_refusal(client.post("/v1/hooks/odoo/fs_wrong", json=ODOO), 401)
        refused = require_refusal(client.get(f"/v1/hooks/odoo/{secret}"), 405)
        assert secret not in json.dumps(refused)
