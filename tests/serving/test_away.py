"""A Redis and a tracking server of the test's own, killed, stopped and started again while the service answers."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers import Server, redis, tracking
from features import store
from features.settings import SETTINGS_FILE, Workspace
from serving.ledger import Ledger
from serving.policy import share
from tests.serving.running import Load, Running, copied, end_under_load, is_ready, probabilities, running, until
from tests.serving.shop import MODEL_COLUMNS, NOW, learn
from training import registry
from training.registry import Signature, promote

pytestmark = [pytest.mark.slow, pytest.mark.redis]
ANNA = Signature("anna", NOW)
NEW_LEAD = [{"attributes": {"origin": "web", "budget": 25_000}}]
CANARY = 0.3


@pytest.fixture
def online(tmp_path: Path) -> Iterator[Server]:
    with redis(tmp_path) as made:
        yield made


def test_without_its_store_the_service_shows_what_is_stored_and_with_it_fresh_scores(
    online: Server, shop: Workspace, tmp_path: Path
) -> None:
    workspace = copied(shop, tmp_path / "workspace", online=online.address)
    with running(workspace, tmp_path / "log") as service:
        fresh = {one["entity_id"]: one for one in service.ask("lead-conversion", ids=[f"L{number:04d}" for number in range(60)])}
        known = next(one for one in fresh.values() if one["score"] is not None)
        until(lambda: service.get(f"/v1/scores/lead/{known['entity_id']}").status_code == 200)
        for away, back in ((signal.SIGSTOP, signal.SIGCONT), (signal.SIGKILL, None)):
            online.signal(away)
            _shows_what_is_stored(service, known)
            if back is None:
                online.kill()
                online.start()
                store.materialize(workspace, NOW)
            else:
                online.signal(back)
            until(partial(_is_fresh, service, known["entity_id"]))
            (again,) = service.ask("lead-conversion", ids=[known["entity_id"]])
            assert again["probability"] == known["probability"]
            until(partial(is_ready, service.address))  # which asks about customers, too
            known = again
            until(partial(_is_stored, service, again))
        end_under_load(workspace, service, probabilities(workspace, "churn", ["1"]))


def _is_fresh(service: Running, entity_id: str) -> bool:
    return not service.ask("lead-conversion", ids=[entity_id], records=NEW_LEAD)[0]["degraded"]


def _is_stored(service: Running, score: dict[str, Any]) -> bool:
    return bool(service.get(f"/v1/scores/lead/{score['entity_id']}").json()["scores"] == [score])


def _shows_what_is_stored(service: Running, known: dict[str, object]) -> None:
    """What is said while the store is away. The first one waits for the deadline, those behind it do not."""
    shown, unknown, new = service.ask("lead-conversion", ids=[known["entity_id"], "L0299"], records=NEW_LEAD)
    assert shown["degraded"] and shown["stale"] and shown["probability"] == known["probability"]
    assert shown["reasons"] == known["reasons"] and shown["scored_at"] == known["scored_at"]
    assert unknown["degraded"] and unknown["score"] is None and "no score is stored" in unknown["why"]
    assert not new["degraded"] and new["score"] is not None
    problem = service.post("lead-conversion", ids=["L0299"])
    assert problem.status_code == 503 and problem.headers["retry-after"] == "1"
    assert problem.json()["flaws"][0]["repair"] and problem.headers["content-type"] == "application/problem+json"
    assert service.get("/readyz").status_code == 503 and service.get("/livez").status_code == 200
    assert service.metric('foresell_answers_total{outcome="degraded",propensity="lead-conversion"}') >= 2
    assert service.metric('foresell_dependency_up{dependency="online_store"}') == 0.0


@pytest.fixture(scope="module")
def tracked(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Workspace]]:
    """A tracking server, and a workspace whose churn has a champion and a challenger there, and whose leads are pinned."""
    folder = tmp_path_factory.mktemp("tracked")
    serving = f'pin = {{lead-conversion = "1"}}\ncanary = {{churn = {CANARY}}}\nshadow = ["churn"]\n'
    local = copied(shop, folder / "workspace", serving=serving)
    learn(local, "churn", MODEL_COLUMNS["churn"][:4], 6)
    learn(local, "lead-conversion", MODEL_COLUMNS["lead-conversion"][:4], 6)
    promote(local, "lead-conversion", ANNA, "2")
    with tracking(folder, registry.store_uri(local)) as server:
        with (local.root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
            settings.write(f'[mlflow]\ntracking_uri = "{server.address}"\n')
        yield server, Workspace.open(local.root)


@pytest.mark.usefixtures("impatient")
def test_pin_canary_and_shadow_hold_while_the_registry_is_away_and_when_it_is_back(
    tracked: tuple[Server, Workspace], tmp_path: Path
) -> None:
    server, workspace = tracked
    said = probabilities(workspace, "churn", ["1", "2"])
    taken = {entity_id for entity_id in said["1"] if share(f"canary:churn:{entity_id}") < CANARY}
    assert 0.2 < len(taken) / len(said["1"]) < 0.4
    ids = sorted(said["1"])

    def everybody(service: Running) -> None:
        """Each is answered for by the version that the canary says, with exactly its probability."""
        for one in service.ask("churn", ids=ids):
            assert one["model_version"] == ("2" if one["entity_id"] in taken else "1")
            assert one["probability"] == said[one["model_version"]][one["entity_id"]]
        assert {one["model_version"] for one in service.ask("lead-conversion", ids=["L0001", "L0002"])} == {"1"}

    with running(workspace, tmp_path / "log") as service:
        everybody(service)
        server.kill()
        until(lambda: service.metric('foresell_dependency_up{dependency="registry"}') == 0.0)
        with Load(service.address, ids, callers=2, pause=0.01) as load:
            until(lambda: len(load.answers) > 100)
        assert not load.lost and all(status == 200 for _, _, status, *_ in load.answers)
        everybody(service)
        assert service.get("/readyz").status_code == 200
    _compared_right(workspace, said, set(ids) - taken)
    with running(workspace, tmp_path / "log") as service:
        everybody(service)
        assert "the versions that served last" in service.log.read_text()
        server.start()
        promote(workspace, "churn", ANNA, "2")
        until(lambda: {one["model_version"] for one in service.ask("churn", ids=ids)} == {"2"}, 30)
        assert {one["probability"] for one in service.ask("churn", ids=ids[:1])} == {said["2"][ids[0]]}


def _compared_right(workspace: Workspace, said: dict[str, dict[str, float | None]], heard: set[str]) -> None:
    """Whoever got a score from the champion was asked of the challenger, too, and both are in the ledger as each says."""
    ledger = Ledger.open(workspace)
    found = ledger.compared("churn")
    ledger.close()
    assert {one.entity_id for one in found} == {entity_id for entity_id in heard if said["1"][entity_id] is not None}
    for one in found:
        assert (one.champion, one.challenger) == ("1", "2")
        assert one.champion_probability == said["1"][one.entity_id or ""]
        assert one.challenger_probability == said["2"][one.entity_id or ""]
