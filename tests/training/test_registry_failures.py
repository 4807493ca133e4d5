"""What the registry promises when something breaks: a kill, a server that is down, a damaged store."""

from __future__ import annotations

import pytest

from features.errors import RegistryError
from features.settings import MlflowSettings, Workspace
from tests.training.conftest import ME
from training import registry


def test_a_version_that_exists_is_complete(trained, monkeypatch):
    """Killed while it writes its pages, a training leaves no version behind that cannot be shown or promoted."""
    import mlflow

    model = registry.load(trained, "churn", "1").model
    record = registry.Record({}, {}, {}, {"gates": []}, {"report/report.html": "<html>"})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "log_text", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.register(trained, model, record)
    assert registry.newest_version(trained, "churn") == "1"
    assert registry.promote(trained, "churn", ME).event.version == "1"


def test_the_page_carries_its_version_and_promoting_does_not_need_it(trained):
    page = registry.report(trained, "churn", "1")[1]
    assert "version 1 ·" in page and registry.VERSION_MARK not in page
    [stored] = (trained.mlruns / "artifacts").rglob("report.html")
    stored.unlink()
    with pytest.raises(RegistryError, match=r"report\.html"):
        registry.report(trained, "churn", "1")
    assert registry.promote(trained, "churn", ME).event.version == "1"


def promote(workspace: Workspace, name: str) -> registry.Entry:
    return registry.promote(workspace, name, ME)


def test_a_server_that_is_down_is_said(trained, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    down = MlflowSettings(tracking_uri="http://127.0.0.1:9")
    workspace = Workspace(trained.root, trained.settings.model_copy(update={"mlflow": down}))
    for ask in (registry.champion, promote, registry.report, registry.history):
        with pytest.raises(RegistryError, match="start the server") as caught:
            ask(workspace, "churn")
        assert caught.value.where == "MLflow at http://127.0.0.1:9"


def test_a_damaged_store_is_said(trained):
    (trained.mlruns / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(RegistryError, match="file is not a database"):
        registry.promote(trained, "churn", ME)


@pytest.mark.parametrize("call", ["log_inputs", "set_registered_model_alias"])
def test_two_who_first_write_the_same_do_not_stop_each_other(trained, monkeypatch, call):
    """MLflow's own answer to the one who lost, as PostgreSQL gives it."""
    import mlflow
    from mlflow.exceptions import MlflowException

    write, calls = getattr(mlflow.MlflowClient, call), []

    def collide(*words: object, **named: object) -> None:
        calls.append(words)
        if len(calls) == 1:
            raise MlflowException("duplicate key value violates unique constraint")
        write(*words, **named)

    monkeypatch.setattr(mlflow.MlflowClient, call, collide)
    record = registry.Record({}, {}, {}, {"gates": []}, {})
    version = registry.register(trained, registry.load(trained, "churn", "1").model, record)
    uri = registry.store_uri(trained)
    api = mlflow.MlflowClient(uri, uri)
    assert len(api.get_run(api.get_model_version("churn", version).run_id).inputs.dataset_inputs) == 3
    assert str(api.get_model_version_by_alias("churn", "challenger").version) == version


def test_what_is_refused_again_and_again_is_said(trained, monkeypatch):
    import mlflow
    from mlflow.exceptions import MlflowException

    def refuse(*_: object, **__: object) -> None:
        raise MlflowException("the disk is full")

    monkeypatch.setattr(mlflow.MlflowClient, "log_inputs", refuse)
    with pytest.raises(RegistryError, match="the disk is full"):
        registry.register(trained, registry.load(trained, "churn", "1").model, registry.Record({}, {}, {}, {"gates": []}, {}))
