"""A real MLflow tracking server on PostgreSQL instead of `mlruns/`: one setting, and nothing else is different."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.servers import tracking
from features import snapshot
from features.propensity import load
from features.settings import SETTINGS_FILE, Workspace
from tests.servers import POSTGRES, database
from tests.training.conftest import ME, NOW, QUIET
from tests.training.test_commands import call
from training import dataset, registry
from training.registry import Signature
from training.train import train

pytestmark = [pytest.mark.slow, pytest.mark.postgres]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an `mlflow server` on a fresh database."""
    with database("mlflow") as name, tracking(tmp_path_factory.mktemp("server"), f"{POSTGRES}/{name}") as made:
        yield made.address


@pytest.fixture(scope="module")
def people(server: str, make_shop: Callable[..., Workspace]) -> list[Workspace]:
    """Two people, each with a workspace of the same shop, who have trained at the same moment."""
    shops = [make_shop(), make_shop()]
    for shop in shops:
        with (shop.root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
            settings.write(f'[mlflow]\ntracking_uri = "{server}"\n')
    at_once(_train, shops)
    return [Workspace.open(shop.root) for shop in shops]


def at_once(work: Callable[..., None], shops: list[Workspace]) -> None:
    """Let one process for each workspace do its work, all starting together."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(shops))
    processes = [context.Process(target=work, args=(shop.root, f"person {n}", start)) for n, shop in enumerate(shops)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [0] * len(shops)


def _train(root: Path, _: str, start) -> None:
    workspace = Workspace.open(root)
    start.wait()
    train(workspace, load(workspace, "churn"), NOW, QUIET)


def _swap(root: Path, by: str, start) -> None:
    """Promote and roll back again and again, whatever the others do."""
    workspace = Workspace.open(root)
    start.wait()
    for _ in range(3):
        registry.promote(workspace, "churn", Signature(by, NOW), "2")
        registry.promote(workspace, "churn", Signature(by, NOW), "1")


def test_two_who_train_at_once_get_two_whole_versions(people):
    one, other = people
    assert registry.newest_version(one, "churn") == registry.newest_version(other, "churn") == "2"
    first, second = (registry.load(one, "churn", version).model for version in ("1", "2"))
    assert first.contract == second.contract
    assert not one.mlruns.exists() and not other.mlruns.exists()
    document, page = registry.report(other, "churn", "1")
    assert document["verdict"] == "pass" and "version 1 ·" in page
    assert aliases(one) == {"challenger": "2"}


def test_what_one_promotes_serves_the_other_and_either_rolls_back(people):
    one, other = people
    call(one, "promote", "churn", "--version", "1", "--by", "anna")
    call(other, "promote", "churn", "--by", "bert")
    assert registry.champion(one, "churn").version == "2"
    model = registry.champion(other, "churn").model
    frame = snapshot.read(one, "customer", dataset.as_ofs(one, load(one, "churn"))[-1:], list(model.columns))
    assert np.isfinite(model.probability(model.matrix(frame))).all()
    call(one, "rollback", "churn", "--by", "anna")
    told = json.loads(call(other, "history", "churn", "--json").stdout)
    assert [(event["kind"], event["version"], event["by"]) for event in told["events"]] == [
        ("promotion", "1", "anna"),
        ("promotion", "2", "bert"),
        ("rollback", "1", "anna"),
    ]
    assert "version 1 served" in call(other, "which", "churn").stdout
    call(one, "rollback", "churn", code=1)


def test_people_who_promote_at_once_leave_one_history_without_a_gap(people):
    one, _ = people
    before = len(registry.history(one, "churn").entries)
    at_once(_swap, people)
    history = registry.history(one, "churn")
    events = [entry.event for entry in history.entries]
    assert [event.before for event in events] == [None, *(event.version for event in events[:-1])]
    assert {event.kind for event in events[before:]} == {"promotion"}
    assert len(events) > before and {event.by for event in events[before:]} <= {"person 0", "person 1"}
    assert not history.moved and history.unfinished is None
    assert history.alias == events[-1].version


def test_mlflow_loads_the_champion_through_the_server(people):
    import mlflow

    one, _ = people
    registry.promote(one, "churn", ME, "1")
    model = registry.champion(one, "churn").model
    frame = snapshot.read(one, "customer", dataset.as_ofs(one, load(one, "churn"))[-1:], list(model.columns))
    served = mlflow.pyfunc.load_model("models:/churn@champion")
    expected = model.probability(model.matrix(frame))
    assert (np.asarray(served.predict(frame[list(model.columns)])) == expected).all()


def aliases(workspace: Workspace) -> dict[str, str]:
    import mlflow

    uri = registry.store_uri(workspace)
    found = mlflow.MlflowClient(uri, uri).get_registered_model("churn").aliases
    return {alias: str(version) for alias, version in found.items()}
