"""Many scores in one signed call; a bad record is found by halving, or by what the receiver says."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.errors import CallError, WorkspaceError
from features.settings import Workspace
from serving.connectors.reconciliation import reconcile
from tests.serving.connectors.worlds import DAY, FIRST, Asked, Crm, Reply, night, open_workspace, run, serving


@pytest.fixture
def held() -> dict[str, Any]:
    return {}


@pytest.fixture
def crm(held: dict[str, Any]) -> Iterator[Crm]:
    """A receiver that takes all or nothing, and nothing with `bad` in it."""

    def answer(asked: Asked) -> Reply:
        expected = f"sha256={hmac.new(b'sesame', asked.body, hashlib.sha256).hexdigest()}"
        if asked.headers.get("X-Foresell-Signature") != expected:
            return 401, None
        scores = asked.json["scores"]
        if any(one["entity_id"].startswith("bad") for one in scores):
            return 422, {"error": {"message": "one of them is bad"}}
        held.update({one["entity_id"]: one["score"] for one in scores})
        return 204, None

    with serving(answer) as found:
        yield found


@pytest.fixture
def workspace(crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("HOOK_SECRET", "sesame")
    return open_workspace(tmp_path, to="webhook", url=crm.url, secret="${HOOK_SECRET}", per_second=1_000)


def test_chunks_are_signed_and_as_large_as_the_settings_say(workspace: Workspace, crm: Crm, held: dict[str, Any]) -> None:
    night(workspace, {f"{number:03d}": 10 for number in range(250)})
    assert run(workspace).is_complete
    assert [len(asked.json["scores"]) for asked in crm.got] == [100, 100, 50] and len(held) == 250
    assert len({asked.headers["Idempotency-Key"] for asked in crm.got}) == 3
    body = crm.got[0].json
    assert body["target"] == "crm" and body["scores"][0] == {
        "entity": "customer", "entity_id": "000", "propensity": "churn", "score": 10, "probability": 0.1, "percent": 10.0,
        "percentile": 0.1, "grade": "D", "expected_value": None, "reasons": None, "trend": None, "withheld": None,
        "state": "scored", "version": "3", "as_of": "2026-11-25T00:00:00+00:00",
    }  # fmt: skip


def test_a_bad_record_is_found_by_halving(workspace: Workspace, crm: Crm, held: dict[str, Any]) -> None:
    night(workspace, {f"{number:03d}": 10 for number in range(98)} | {"bad 1": 1, "bad 2": 2})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected) == (98, 2) and len(held) == 98
    assert outcome.rejections[0] == ("churn", "bad 1", "HTTP 422: one of them is bad") and len(crm.got) <= 2 * 2 * 7


def test_a_receiver_that_takes_half_names_the_others(workspace: Workspace, crm: Crm) -> None:
    def answer(asked: Asked) -> Reply:
        named = [{"entity_id": one["entity_id"], "error": "odd"} for one in asked.json["scores"][1::2]]
        return 207, {"rejected": [*named, {"x": 1}, 3]}

    crm.answer = answer
    night(workspace, {f"{number:03d}": 10 for number in range(100)})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, len(crm.got)) == (50, 50, 1) and outcome.rejections[0][1:] == ("001", "odd")


def test_it_cannot_be_read_back(workspace: Workspace) -> None:
    night(workspace, {"a": 10})
    run(workspace)
    with pytest.raises(CallError, match="only takes"):
        reconcile(workspace, "crm", 1)


def test_a_secret_in_the_settings_is_refused_and_not_repeated(crm: Crm, tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, to="webhook", url=crm.url, secret="sesame")
    night(workspace, {"a": 10})
    with pytest.raises(WorkspaceError, match="maybe the secret itself") as told:
        run(workspace)
    assert "sesame" not in str(told.value)


def test_a_score_that_comes_back_to_what_it_was_is_another_call(workspace: Workspace, crm: Crm) -> None:
    for days, points in enumerate((50, 60, 50)):
        night(workspace, {"a": points}, FIRST + days * DAY)
        assert run(workspace).sent == 1
    assert len({asked.headers["Idempotency-Key"] for asked in crm.got}) == 3
