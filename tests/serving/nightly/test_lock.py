"""One night at a time; a second one hears who holds the workspace, and a killed holder holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from features.errors import BusyError
from features.lock import holder
from features.settings import Settings, Workspace
from foresell import main
from serving.nightly.lock import LOCK, held

HOLDER = """
import pathlib, sys, time
from features.lock import holder
from features.settings import Settings, Workspace
from serving.nightly.lock import held

with held(Workspace(pathlib.Path(sys.argv[1]), Settings()), holder("foresell nightly --workspace W", "2026-11-26 02:00:00 UTC")):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "foresell.toml").write_text("")
    return Workspace(tmp_path, Settings())


def test_a_second_one_hears_who_holds_it_and_a_killed_holder_holds_nothing(workspace: Workspace) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, workspace.root], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        result = CliRunner().invoke(main, ["nightly", "--workspace", str(workspace.root)])
        os.kill(process.pid, signal.SIGKILL)
    told = "`foresell nightly --workspace W` of "
    assert result.exit_code == 1 and told in result.stderr and "since 2026-11-26 02:00:00 UTC" in result.stderr
    assert f"on {os.uname().nodename}, process {process.pid}" in result.stderr and "Traceback" not in result.output
    with held(workspace, holder("another", "now")):
        assert '"another"' in (workspace.nightly / LOCK).read_text()


def test_a_holder_that_has_not_yet_written_who_it_is_is_told_of_all_the_same(workspace: Workspace) -> None:
    with held(workspace, holder("one", "now")):
        (workspace.nightly / LOCK).write_text("")
        with pytest.raises(BusyError, match="does not say who"), held(workspace, holder("two", "now")):
            pass


def test_who_comes_while_the_file_is_made_does_not_empty_it(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(workspace, holder("one", "now")):
        monkeypatch.setattr(Path, "is_file", lambda path: False)  # as it was when both looked
        with pytest.raises(BusyError, match="`one`"), held(workspace, holder("two", "now")):
            pass


def test_a_user_without_a_name_is_told_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert holder("c", "now").user == "4000000000"
