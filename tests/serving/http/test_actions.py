"""POST /v1/actions: the routes over a real office and both ledgers, and the real service where a process counts."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx import Response
from starlette.testclient import TestClient

from features.forgetting.forgotten import Forgotten
from features.forgetting.person import Person
from features.settings import Workspace
from serving.http import keys
from serving.http.api import Api
from serving.http.gate import Gate
from serving.ledger import Action, Ledger
from serving.ledger.address import Address
from serving.metrics import Metrics
from serving.office import Office
from serving.policy import share
from tests.serving.ledger.conftest import schema
from tests.serving.running import copied, running, until

HELD = next(f"C{i:04d}" for i in range(400) if share(f"holdout:customer:C{i:04d}") < 0.2)
FREE = next(f"C{i:04d}" for i in range(400) if share(f"holdout:customer:C{i:04d}") >= 0.2)
Opened = tuple[Workspace, TestClient]
AT = "2026-01-05T10:30:00.000001+02:00"
CALL = {"propensity": "churn", "entity_id": FREE, "at": AT, "kind": "call"}


@contextmanager
def answering(workspace: Workspace) -> Iterator[TestClient]:
    """The service's own routes over its office, in this process."""
    api, office = Api(), Office(workspace)
    api.open(office, Gate.open(workspace), Metrics())
    try:
        yield TestClient(api.app)
    finally:
        office.stop()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def opened(request: pytest.FixtureRequest, shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """A workspace and its routes."""
    with schema() if request.param == "postgres" else nullcontext("sqlite") as address:
        settings = f'ledger = "{address}"\nledger_deadline_ms = 5000\n[policy]\nholdout = 0.2'
        workspace = copied(shop, tmp_path_factory.mktemp("actions") / "workspace", serving=settings)
        with answering(workspace) as client:
            yield workspace, client


def kept(workspace: Workspace) -> dict[str, Action]:
    with closing(Ledger.open(workspace)) as ledger:
        return {one.id: one for one in ledger.actions()}


def tell(opened: Opened, *actions: Any) -> Response:
    return opened[1].post("/v1/actions", json={"actions": list(actions)})


def test_the_service_answers_once_it_is_kept(service: str, shop: Workspace) -> None:
    for known in (False, True):
        (one,) = httpx.post(f"{service}/v1/actions", json={"actions": [{**CALL, "id": "live"}]}, timeout=30).json()["actions"]
        assert one["known"] is known and kept(shop)["live"].entity_id == FREE
    response = httpx.post(f"{service}/v1/actions", json={"actions": [{}]}, timeout=30)
    assert response.status_code == 422 and response.headers["content-type"] == "application/problem+json"


def test_what_is_answered_is_kept_and_told_twice_it_is_kept_once(opened: Opened) -> None:
    first, again = tell(opened, {**CALL, "id": "task:1", "outcome": "reached"}), tell(opened, {**CALL, "id": "task:1"})
    assert first.status_code == again.status_code == 200
    logged = {"id": "task:1", "propensity": "churn", "entity_id": FREE, "held_out": False, "known": False}
    assert first.json() == {"actions": [logged]} and again.json() == {"actions": [{**logged, "known": True}]}
    one = kept(opened[0])["task:1"]
    assert (one.at, one.kind, one.outcome, one.entity) == (datetime(2026, 1, 5, 8, 30, 0, 1, UTC), "call", "reached", "customer")


def test_without_an_id_it_is_known_by_what_was_done(opened: Opened) -> None:
    at_utc = {**CALL, "at": "2026-01-05T08:30:00.000001Z"}
    first, again, other = tell(opened, CALL), tell(opened, at_utc), tell(opened, {**CALL, "kind": "visit"})
    (one,), (two,), (three,) = (response.json()["actions"] for response in (first, again, other))
    assert one["id"] == two["id"] != three["id"] and (one["known"], two["known"], three["known"]) == (False, True, False)


def test_what_one_request_tells_twice_was_known_the_second_time(opened: Opened) -> None:
    first, again, other = tell(opened, *({**CALL, "id": one} for one in ("twice", "twice", "once"))).json()["actions"]
    assert (first["known"], again["known"], other["known"]) == (False, True, False)


def test_acting_on_somebody_held_out_is_kept_and_said(opened: Opened) -> None:
    (one,) = tell(opened, {**CALL, "entity_id": HELD, "id": "breach"}).json()["actions"]
    assert one["held_out"] is True and kept(opened[0])["breach"].held_out


def test_of_somebody_who_was_forgotten_nothing_is_kept_any_more(opened: Opened) -> None:
    Forgotten(opened[0]).add(Person.of([("customer", "C0399")]))
    gone, good = tell(opened, {**CALL, "entity_id": "C0399", "id": "gone"}, {**CALL, "id": "other"}).json()["actions"]
    assert gone["problem"]["flaws"][0]["received"] == "somebody who was forgotten" and good["id"] == "other"
    assert "gone" not in kept(opened[0])


def test_one_bad_record_does_not_lose_the_others(opened: Opened) -> None:
    far = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()
    near = (datetime.now(UTC) + timedelta(minutes=4)).isoformat()
    response = tell(
        opened, {**CALL, "id": "good"}, {**CALL, "propensity": "chrun"}, {**CALL, "at": far}, {**CALL, "kind": "called Ana Sá"},
        {"propensity": "churn", "entity_id": FREE, "kind": "call"}, 7, {**CALL, "id": "ahead", "at": near}, {**CALL, "knd": "x"},
        {**CALL, "id": "breach", "entity_id": FREE},
    )  # fmt: skip
    told = response.json()["actions"]
    assert response.status_code == 200 and [one.get("id") for one in told] == ["good", *[None] * 5, "ahead", None, None]
    flaws = [one["problem"]["flaws"][0] for one in told if "problem" in one]
    assert "did you mean `churn`?" in flaws[0]["repair"] and flaws[0]["where"] == "body.actions[1].propensity"
    assert flaws[1]["where"] == "body.actions[2].at" and "up to now" in flaws[1]["expected"]
    assert flaws[2]["where"] == "body.actions[3].kind" and "`id` or an `at`" in flaws[3]["expected"]
    assert "did you mean `kind`?" in flaws[5]["repair"] and "put the name of the CRM" in flaws[6]["repair"]
    assert [one["entity_id"] for one in told if "problem" in one] == [FREE, FREE, FREE, FREE, None, FREE, FREE]
    assert {"good", "ahead"} <= set(kept(opened[0])) and kept(opened[0])["breach"].entity_id == HELD


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422), ({"actions": []}, 422), ({"actions": None}, 422), ({"actions": {}}, 422), ([], 422), (7, 422),
        ({"actions": [{}]}, 422), ({"actions": [CALL], "more": 1}, 422), ({"actions": [CALL] * 1_001}, 422),
        ({"actions": [{**CALL, "at": 1_760_000_000}]}, 422), ({"actions": [{**CALL, "at": "yesterday"}]}, 422),
        ({"actions": [{**CALL, "at": "9999-12-31T23:59:59-01:00"}]}, 422), ({"actions": [{**CALL, "id": "a@b.com"}]}, 422),
        ({"actions": [{**CALL, "entity_id": ""}]}, 422), ({"actions": [{**CALL, "entity_id": "\x00"}]}, 422),
        ({"actions": [{**CALL, "entity_id": "\ud800"}]}, 400), ({"actions": [{**CALL, "outcome": "x" * 41}]}, 422),
        ({"actions": [{**CALL, "kind": "0049 172 1234567"}]}, 422), ({"actions": [{**CALL, "propensity": "p" * 101}]}, 422),
        ({"actions": [{**CALL, "propensity": "nothing"}]}, 422),
    ],
)  # fmt: skip
def test_a_body_of_which_nothing_can_be_kept_is_a_problem(opened: Opened, body: Any, status: int) -> None:
    before = len(kept(opened[0]))
    response = opened[1].post("/v1/actions", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json" and response.json()["flaws"]
    assert len(kept(opened[0])) == before


def test_a_thousand_at_once_are_kept(opened: Opened) -> None:
    response = tell(opened, *({**CALL, "entity_id": f"C{i:04d}", "id": f"many-{i}"} for i in range(1_000, 2_000)))
    assert response.status_code == 200 and len(response.json()["actions"]) == 1_000
    assert sum(one.startswith("many-") for one in kept(opened[0])) == 1_000


def test_what_is_no_json_or_no_post_is_said_so(opened: Opened) -> None:
    client = opened[1]
    assert client.post("/v1/actions", content="{", headers={"Content-Type": "application/json"}).status_code == 400
    assert client.post("/v1/actions", content="{}").status_code == 415
    assert client.get("/v1/actions").status_code == 405


def test_a_propensity_of_that_name_does_not_take_the_path(shop: Workspace, tmp_path: Path) -> None:
    workspace = copied(shop, tmp_path / "workspace")
    workspace.own_propensities.mkdir(exist_ok=True)
    (workspace.own_propensities / "actions.toml").write_text("", encoding="utf-8")
    with answering(workspace) as client:
        assert client.post("/v1/actions", json={"actions": [CALL]}).status_code == 200


def test_a_key_needs_the_scope_to_score(shop: Workspace, tmp_path: Path) -> None:
    workspace = copied(shop, tmp_path / "workspace", keys="required")
    secrets = {
        scope: keys.create(workspace, "tests", [scope], 1e6, 1_000_000, None, datetime.now(UTC))[1] for scope in ("score", "hook")
    }
    with answering(workspace) as client:
        said = {
            scope: client.post("/v1/actions", json={"actions": [CALL]}, headers={"Authorization": f"Bearer {secret}"}).status_code
            for scope, secret in secrets.items()
        }
        assert said == {"score": 200, "hook": 403} and client.post("/v1/actions", json={"actions": [CALL]}).status_code == 401
    (one,) = kept(workspace).values()
    assert one.caller == secrets["score"][3:11]


def test_what_was_answered_outlives_a_kill(shop: Workspace, tmp_path: Path) -> None:
    workspace = copied(shop, tmp_path / "workspace")
    with pytest.raises((AssertionError, ProcessLookupError)), running(workspace, tmp_path / "log") as service:
        for number in range(20):
            assert service.post("actions", actions=[{**CALL, "id": f"task:{number}"}]).status_code == 200
        os.killpg(service.process.pid, signal.SIGKILL)
    assert len(kept(workspace)) == 20


@contextmanager
def locked(workspace: Workspace) -> Iterator[None]:
    """Somebody else holds what the ledger writes to, for longer than anybody waits."""
    address = Address.of(workspace)
    if address.path is not None:
        with closing(sqlite3.connect(address.path, isolation_level=None)) as connection:
            connection.execute("begin immediate")
            yield
    else:
        import psycopg

        with psycopg.connect(workspace.settings.serving.ledger) as connection:
            connection.execute("lock table action in exclusive mode")
            yield


def test_while_the_ledger_is_away_nothing_is_promised_and_afterwards_all_is_kept(opened: Opened) -> None:
    assert tell(opened, {**CALL, "id": "before"}).status_code == 200
    with locked(opened[0]):
        response = tell(opened, {**CALL, "id": "meanwhile"})
    assert response.status_code == HTTPStatus.SERVICE_UNAVAILABLE and response.headers["retry-after"] == "1"
    assert response.json()["title"] == "No action can be kept now" and response.json()["flaws"]
    until(lambda: tell(opened, {**CALL, "id": "meanwhile"}).status_code == 200)
    assert {"before", "meanwhile"} <= set(kept(opened[0]))
