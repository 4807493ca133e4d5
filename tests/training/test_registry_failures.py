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
