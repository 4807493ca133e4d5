"""A Redis and a tracking server of the test's own, killed, stopped and started again while the service answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from features import store
from features.settings import Workspace
from serving.http.address import free_port
from serving.ledger import Ledger
from serving.policy import share
from tests.serving.running import Load, Running, copied, probabilities, running, until
from tests.serving.shop import MODEL_COLUMNS, NOW, learn
from training.registry import Signature, promote

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("shop")]
ANNA = Signature("anna", NOW)
NEW_LEAD = [{"attributes": {"origin": "web", "budget": 25_000}}]
CANARY = 0.3


class Server:
    """A server that can be killed, stopped and started again."""

    def __init__(self, command: list[str], log: Path, probe: str) -> None:
        self._command, self._log, self._probe = command, log, probe
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as file:
            environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            self.process = subprocess.Popen(
                self._command, stdout=file, stderr=file, cwd=self._log.parent, env=environment, start_new_session=True
            )
        until(self._answers, 300)

    def signal(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        try:
            return httpx.get(self._probe, timeout=5).status_code == 200
        except httpx.RemoteProtocolError:  # it listens, and speaks something else
            return True
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, str]]:
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server here")
    folder, port = tmp_path_factory.mktemp("redis"), str(free_port("127.0.0.1"))
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = Server(command, folder / "log", f"http://127.0.0.1:{port}")
    yield server, f"redis://127.0.0.1:{port}"
    server.signal(signal.SIGKILL)


def test_without_its_store_the_service_shows_what_is_stored_and_with_it_fresh_scores(
    redis: tuple[Server, str], shop: Workspace, tmp_path: Path
) -> None:
    server, address = redis
    workspace = copied(shop, tmp_path / "workspace", online=address)
    store.apply(workspace)
    store.materialize(workspace, NOW)
    with running(workspace, tmp_path / "log") as service:
        fresh = {one["entity_id"]: one for one in service.ask("lead-conversion", ids=[f"L{number:04d}" for number in range(60)])}
        known = next(one for one in fresh.values() if one["score"] is not None)
        until(lambda: service.get(f"/v1/scores/lead/{known['entity_id']}").status_code == 200)
        for away, back in ((signal.SIGSTOP, signal.SIGCONT), (signal.SIGKILL, None)):
            server.signal(away)
            _shows_what_is_stored(service, known)
            if back is None:
                server.start()
                store.materialize(workspace, NOW)
            else:
                server.signal(back)
            until(partial(_is_fresh, service, known["entity_id"]))
            (again,) = service.ask("lead-conversion", ids=[known["entity_id"]])
            assert again["probability"] == known["probability"] and service.get("/readyz").status_code == 200
            known = again
            until(partial(_is_stored, service, again))
        assert service.end() == 0, service.log.read_text()
    log = service.log.read_text()
    assert "Traceback" not in log, log


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
    folder, port = tmp_path_factory.mktemp("tracked"), free_port("127.0.0.1")
    address = f"http://127.0.0.1:{port}"
    serving = f'pin = {{lead-conversion = "1"}}\ncanary = {{churn = {CANARY}}}\nshadow = ["churn"]\n'
    workspace = copied(shop, folder / "workspace", f'[mlflow]\ntracking_uri = "{address}"\n', serving)
    database = f"sqlite:///{workspace.mlruns / 'mlflow.db'}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database, "--workers", "1",
               "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    server = Server(command, folder / "log", f"{address}/health")
    local = Workspace(workspace.root, workspace.settings.model_copy(update={"mlflow": type(workspace.settings.mlflow)()}))
    learn(local, "churn", MODEL_COLUMNS["churn"][:4], 6)
    learn(local, "lead-conversion", MODEL_COLUMNS["lead-conversion"][:4], 6)
    promote(local, "lead-conversion", ANNA, "2")
    yield server, workspace
    server.signal(signal.SIGKILL)


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
        server.signal(signal.SIGKILL)
        until(lambda: service.metric('foresell_dependency_up{dependency="registry"}') == 0.0)
        with Load(service.address, ids, callers=2, pause=0.01) as load:
            until(lambda: len(load.answers) > 100)
        assert not load.lost and all(status == 200 for _, _, status, *_ in load.answers)
        everybody(service)
        assert service.get("/readyz").status_code == 200
        assert service.end() == 0, service.log.read_text()
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
