"""Commands work beside each other, and none of them while a person is forgotten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from features.at_work import alone, at_work
from features.errors import BusyError
from features.lock import holder
from features.settings import Workspace
from foresell import main

FORGETS = holder("foresell forget ID", "2026-11-26 02:00:00 UTC")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "foresell.toml").write_text("")
    (tmp_path / "data").mkdir()
    return Workspace.open(tmp_path)


def call(workspace: Workspace, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--workspace", str(workspace.root)])


@pytest.mark.parametrize(
    "words",
    [["ingest"], ["snapshot"], ["check"], ["train", "--all"], ["retrain"], ["score"], ["nightly"], ["write-back"], ["monitor"]],
)
def test_whoever_writes_what_they_read_is_refused_while_a_person_is_forgotten(workspace: Workspace, words: list[str]) -> None:
    with alone(workspace, FORGETS):
        refused = call(workspace, *words)
    assert refused.exit_code == 1 and "`foresell forget ID` of" in refused.stderr, refused.output
    assert "foresell forget" not in call(workspace, *words).stderr


def test_nobody_is_forgotten_while_others_work_who_do_not_hinder_each_other(workspace: Workspace) -> None:
    with alone(workspace, FORGETS):
        pass
    with at_work(workspace), at_work(workspace):
        refused = call(workspace, "forget", "C100001", "--yes")
        assert refused.exit_code == 1 and "does not say who" in refused.stderr, refused.output
    assert not (workspace.root / "data" / "forgotten").exists()


def test_who_was_killed_while_alone_is_not_blamed_for_others(workspace: Workspace) -> None:
    (workspace.root / "data" / "at_work.json").write_text(json.dumps(FORGETS.__dict__))
    with at_work(workspace), pytest.raises(BusyError, match="does not say who"), alone(workspace, FORGETS):
        pass


def test_where_there_is_no_data_no_file_is_made(tmp_path: Path) -> None:
    (tmp_path / "foresell.toml").write_text("")
    with at_work(Workspace.open(tmp_path)):
        pass
    assert not (tmp_path / "data").exists()
