"""The production profile, run for real: docs/deploy/production.toml with other hosts and nothing else changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from benchmarks.servers import Server, redis, tracking
from features import store
from features.catalog import Catalog
from features.cohort import cohort
from features.errors import RegistryError
from features.settings import Workspace
from features.views import views
from foresell import main
from serving.http.address import free_port, url
from serving.scorer import records, scorer_of
from tests.servers import POSTGRES, database
from tests.serving.running import SERVE, started, until
from tests.serving.shop import NOW, crown, open_shop
from training.registry import champion, champion_version

pytestmark = [pytest.mark.slow, pytest.mark.postgres, pytest.mark.redis]
PROFILE = Path(__file__).resolve().parent.parent.parent / "docs" / "deploy" / "production.toml"
SECRETS = {"REDIS_PASSWORD": "a/b@c#d%25'e", "POSTGRES_PASSWORD": "f/g@h:i%25'j", "MLFLOW_PASSWORD": "k-l"}
ASKED = 40


@dataclass
class Production:
    """The shop where the profile keeps it, and MLflow, which can be stopped."""

    workspace: Workspace
    mlflow: Server

    @property
    def command(self) -> list[str]:
        return [*SERVE, "--workspace", str(self.workspace.root)]

    @property
    def address(self) -> str:
        serving = self.workspace.settings.serving
        return url(serving.host, serving.port)

    @property
    def log(self) -> Path:
        return self.workspace.root / "log"

    def key(self, scope: str) -> dict[str, str]:
        """The headers of who has a new key of that scope."""
        words = ["key", "create", "--name", "crm", "--scope", scope, "--json", "--workspace", str(self.workspace.root)]
        secret = json.loads(CliRunner().invoke(main, words).stdout)["secret"]
        return {"Authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    folder = tmp_path_factory.mktemp("production")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        for name, secret in SECRETS.items():
            patch.setenv(name, secret)
        feast, ledger, runs = (stack.enter_context(database(name)) for name in ("feast", "ledger", "mlflow"))
        online = stack.enter_context(redis(folder, SECRETS["REDIS_PASSWORD"]))
        mlflow = stack.enter_context(tracking(folder, f"{POSTGRES}/{runs}"))
        settings = PROFILE.read_text(encoding="utf-8")
        for there, here in {
            "redis:6379": online.address.removeprefix("redis://"),
            "mlflow:5000": f"ana:${{MLFLOW_PASSWORD}}@{mlflow.address.removeprefix('http://')}",
            "port = 3000": f"port = {free_port('127.0.0.1')}",
            "//foresell:${POSTGRES_": "//postgres:${POSTGRES_",
            "postgres:5432/feast": f"127.0.0.1:5432/{feast}", "postgres:5432/foresell": f"127.0.0.1:5432/{ledger}",
        }.items():  # fmt: skip
            assert there in settings
            settings = settings.replace(there, here)
        yield Production(open_shop(folder / "shop", settings), mlflow)


def test_the_profile_serves_what_was_learned_and_goes_on_without_mlflow(production: Production) -> None:
    workspace = production.workspace
    score, admin = production.key("score"), production.key("admin")
    want = historical(workspace)
    with started(production.command, production.address, production.log) as service, service.client() as at:
        assert ask(at, want, score) == want
        assert at.post("/v1/churn", json={"ids": ["C0001"]}).status_code == 401
        for _ in range(ASKED):
            assert httpx.post(f"{production.address}/v1/churn", json={"ids": ["C0001"]}, headers=score).status_code == 200
        counted = [f'foresell_requests_total{{route="/v1/churn",status="{status}"}}' for status in (200, 401)]
        until(lambda: [service.metric(line, admin) for line in counted] == [ASKED + 1, 1])  # counted once answered
        crown(workspace, "churn", seed=6)
        assert champion_version(workspace, "churn") == "2"
        until(lambda: {version(production.address, score) for _ in range(20)} == {"2"})
        second = historical(workspace)
        assert ask(at, second, score) == second and second != want
        until(lambda: stored(at, score)["model_version"] == "2")
    production.mlflow.kill()
    with pytest.raises(RegistryError) as away:
        champion(workspace, "churn")
    assert SECRETS["MLFLOW_PASSWORD"] not in str(away.value)
    with started(production.command, production.address, production.log) as service, service.client() as at:
        assert ask(at, second, score) == second
        assert 'foresell_dependency_up{dependency="registry"} 0.0' in at.get("/metrics", headers=admin).text
    told = production.log.read_text()
    assert not [name for name, secret in SECRETS.items() if secret in told]


def historical(workspace: Workspace) -> list[dict[str, Any]]:
    """Who is in the cohort of churn, scored from Feast's historical join: what must be the same to the bit."""
    registered = champion(workspace, "churn")
    scorer = scorer_of(workspace, views(workspace, Catalog.load(workspace)), registered)
    frame = store.historical(workspace, "customer", cohort(workspace, registered.model.propensity, [NOW]), scorer.columns)
    scores = scorer.scored(records(frame), NOW).scores
    assert len(scores) > 100
    return [{"entity_id": one.entity_id, "probability": one.probability, "model_version": one.model_version} for one in scores]


def ask(client: httpx.Client, want: list[dict[str, Any]], headers: dict[str, str]) -> list[dict[str, Any]]:
    answer = client.post("/v1/churn", json={"ids": [one["entity_id"] for one in want]}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [{name: one[name] for name in want[0]} for one in answer.json()["scores"]]


def version(address: str, headers: dict[str, str]) -> str:
    """Who answers a new connection."""
    answer = httpx.post(f"{address}/v1/churn", json={"ids": ["C0001"]}, headers=headers, timeout=60)
    return str(answer.json()["scores"][0]["model_version"])


def stored(client: httpx.Client, headers: dict[str, str]) -> dict[str, Any]:
    """The last score of one customer in the ledger."""
    return dict(client.get("/v1/scores/customer/C0001", headers=headers).json()["scores"][0])
