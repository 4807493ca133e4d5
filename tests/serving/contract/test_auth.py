"""API keys over HTTP: who is let in for what, how soon a change counts, and what nobody can read in the log afterwards."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from foresell import main
from serving.http import keys
from tests.serving.contract.conftest import Counter, key
from tests.serving.running import until

pytestmark = pytest.mark.slow


def require_refusal(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status and all(problem["flaws"][0].values())
    return problem


def ask(counter: Counter, **headers: str) -> httpx.Response:
    return httpx.post(f"{counter.running.address}/v1/churn", json={"ids": ["C0001"]}, headers=headers)


def test_a_key_opens_as_bearer_and_as_header(counter: Counter) -> None:
    secret = counter.secrets["score"]
    assert ask(counter, Authorization=f"Bearer {secret}").status_code == 200
    assert ask(counter, Authorization=f"bearer {secret}").status_code == 200
    assert ask(counter, **{"X-API-Key": secret}).status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic eDp5"}, {"X-API-Key": "é" * 3},
                                     {"X-API-Key": "fs_00000000_" + "a" * 43}])  # fmt: skip
def test_without_a_key_that_is_known_nobody_comes_in(counter: Counter, headers: dict[str, str]) -> None:
    response = httpx.post(
        f"{counter.running.address}/v1/churn", json={}, headers={name: value.encode() for name, value in headers.items()}
    )
    require_refusal(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [("POST", "/v1/churn", "score"), ("POST", "/v1/scores", "score"), ("GET", "/v1/scores/lead/L0001", "score"),
     ("GET", "/v1/status", "admin"), ("GET", "/metrics", "admin"), ("POST", "/v1/hooks/odoo/SECRET", "hook")],
)  # fmt: skip
def test_no_scope_implies_another(counter: Counter, method: str, path: str, scope: str) -> None:
    for other in sorted(set(keys.SCOPES) - {scope}):
        with counter.client(other) as client:
            problem = require_refusal(client.request(method, path.replace("SECRET", counter.secrets[other])), 403)
        assert f"the scope {scope}" in problem["detail"] and counter.secrets[other] not in json.dumps(problem)
    with counter.client(scope) as client:
        answer = client.request(method, path.replace("SECRET", counter.secrets[scope]), json={"_id": 1, "_model": "res.partner"})
        assert answer.status_code not in (401, 403)


def test_a_key_in_a_webhooks_address_is_the_one_that_counts(counter: Counter) -> None:
    with counter.client("hook") as client:
        require_refusal(client.post("/v1/hooks/odoo/wrong", json={"_id": 1, "_model": "crm.lead"}), 401)


def test_who_comes_too_often_is_told_when_to_come_again(counter: Counter) -> None:
    secret = key(counter.workspace, ["score"], per_second=0.01, burst=2)
    until(lambda: ask(counter, **{"X-API-Key": secret}).status_code == 200)
    responses = [ask(counter, **{"X-API-Key": secret}) for _ in range(3)]
    require_refusal(responses[-1], 429)
    assert 1 <= int(responses[-1].headers["retry-after"]) <= 100
    assert ask(counter, **{"X-API-Key": counter.secrets["score"]}).status_code == 200


def test_a_key_made_or_revoked_while_the_service_runs_counts_at_once(counter: Counter) -> None:
    secret = key(counter.workspace, ["score"])
    until(lambda: ask(counter, **{"X-API-Key": secret}).status_code == 200, seconds=10)
    keys.revoke(counter.workspace, str(keys.id_of(secret)), datetime.now(UTC))
    until(lambda: ask(counter, **{"X-API-Key": secret}).status_code == 401, seconds=10)


def test_a_file_of_keys_that_is_damaged_while_the_service_runs_is_told_to_who_looks_after_it(counter: Counter) -> None:
    file = keys.path(counter.workspace)
    whole = file.read_bytes()
    line = 'foresell_dependency_up{dependency="keys"}'
    with counter.client("admin") as client:

        def seen() -> tuple[Any, bool]:
            dependencies = client.get("/v1/status").json()["dependencies"]
            return dependencies["keys"], f"{line} 1.0" in client.get("/metrics").text

        assert seen() == (None, True)
        file.write_bytes(whole[:-20])
        try:
            until(lambda: seen()[0] is not None, seconds=10)
            told, is_up = seen()
            assert str(file) in told["where"] and told["repair"] and not is_up
        finally:
            file.write_bytes(whole)
        until(lambda: seen() == (None, True), seconds=10)


def test_bodies_and_batches_have_limits(counter: Counter) -> None:
    with counter.client() as client:
        require_refusal(client.post("/v1/churn", json={"ids": ["a" * 5_000_000]}), 413)
        require_refusal(client.post("/v1/churn", json={"ids": ["a"] * 1_001}), 422)
        hook = f"/v1/hooks/odoo/{counter.secrets['hook']}"
        require_refusal(client.post(hook, content=b"[" + b" " * 5_000_000), 413)
        require_refusal(client.post(hook, json=[{"_id": 1}] * 1_001), 400)


def test_the_log_names_nobody_and_the_audit_tells_who_asked_about_whom(counter: Counter) -> None:
    who, told, secret = "zz-Ümit-4711", "a-very-telling-origin", counter.secrets["all"]
    with counter.client() as client:
        client.post("/v1/lead-conversion", json={"ids": [who], "records": [{"id": who, "attributes": {"origin": told}}]})
        client.post("/v1/lead-conversion", json={"records": [{"id": who, "attributes": {"origin": told, "budget": told}}]})
        client.post("/v1/lead-conversion", content=f'{{"ids": ["{who}", '.encode(), headers={"Content-Type": "application/json"})
        client.get(f"/v1/scores/lead/{who}")
        client.get(f"/v1/nowhere/{who}")
        client.post(f"/v1/hooks/odoo/{secret}", json={"_id": who, "_model": "crm.lead", "source": told, "expected_revenue": told})
        client.post(f"/v1/hooks/{who}/{secret}", json={"id": who})
        until(lambda: client.get(f"/v1/scores/lead/{who}").status_code == 200)
    until(lambda: audited(counter, who))
    text = counter.running.told()
    escaped = json.dumps(who)[1:-1]
    assert not [word for word in (who, escaped, "%C3%9Cmit", "mit-4711", told, *counter.secrets.values()) if word in text]
    assert {answer["caller"] for answer in audited(counter, who)} >= {keys.id_of(secret)}
    last = [line for line in counter.running.lines() if line["route"] == "/v1/lead-conversion"][-1]
    assert last["key"] == keys.id_of(secret) and last["status"] in (200, 400) and last["ms"] > 0 and last["request"]


def audited(counter: Counter, who: str) -> list[dict[str, Any]]:
    """What `foresell audit` tells about an entity."""
    command = ["audit", "--workspace", str(counter.workspace.root), "--entity-id", who, "--json"]
    answers: list[dict[str, Any]] = json.loads(CliRunner().invoke(main, command).stdout)["answers"]
    return answers
