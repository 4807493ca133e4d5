"""`--test-alert`: says where the test went, and ends with an error where it did not arrive."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from features.errors import BusyError
from features.settings import SETTINGS_FILE, Settings, Workspace
from foresell import main
from serving.commands import alerts
from tests.serving.monitor.alerts.postbox import receiver

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def workspace_of(root: Path, url: str) -> Workspace:
    return Workspace(root, Settings.model_validate({"monitor": {"owner": "ana@example.com", "webhook": url}}))


def test_it_says_where_the_test_went(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with receiver() as pager:
        alerts.test_alert(workspace_of(tmp_path, pager.url), NOW, as_json=False)
        alerts.test_alert(workspace_of(tmp_path, pager.url), NOW, as_json=True)
    told = capsys.readouterr()
    assert "webhook to ana@example.com: Foresell: a test" in told.err
    assert [one["failure"] for one in json.loads(told.out)["sent"]] == [""]
    assert len(pager.calls) == 2


def test_the_command_looks_at_nothing_and_sends_the_test(tmp_path: Path) -> None:
    with receiver() as pager:
        (tmp_path / SETTINGS_FILE).write_text(
            f'[monitor]\nowner = "ana@example.com"\nwebhook = "{pager.url}"\n', encoding="utf-8"
        )
        done = CliRunner().invoke(main, ["monitor", "--workspace", str(tmp_path), "--test-alert"])
    assert done.exit_code == 0, done.output
    assert [said["test"] for said in pager.documents] == [True] and not (tmp_path / "monitor").exists()


def test_a_test_that_does_not_arrive_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BusyError, match="ConnectError"):
        alerts.test_alert(workspace_of(tmp_path, "http://127.0.0.1:9/"), NOW, as_json=False)
    assert "was not taken" in capsys.readouterr().err
