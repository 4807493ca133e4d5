"""A disk that fills up under a night, and a wall clock that jumps while it runs: told, and made up for by the next run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from features.settings import Workspace
from foresell import main
from tests.forks import Forks, forking, runs
from tests.serving.nightly.conftest import Nights
from tests.serving.nightly.state import state
from tests.serving.running import until


def run(workspace: Workspace, command: str = "nightly") -> Result:
    return CliRunner().invoke(main, [command, "--workspace", str(workspace.root), "--json"])


@pytest.fixture(scope="module")
def expected(nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a night leaves that nothing happened to."""
    workspace = nights(tmp_path_factory.mktemp("undisturbed") / "night")
    assert run(workspace).exit_code == 0
    return state(workspace)


@pytest.fixture
def mounted() -> Iterator[Callable[[Path], None]]:
    """Mounts small disks."""
    folders: list[Path] = []

    def mount(folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        done = os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=False)
        if not done or done.returncode:
            pytest.skip("only root may mount a disk")
        folders.append(folder)

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", folder], check=True)


@contextmanager
def filled(disk: Path, but: int) -> Iterator[None]:
    """A disk with only so many bytes left."""
    filling = disk / "filling"
    with suppress(OSError), filling.open("wb") as file:
        while True:
            file.write(bytes(4_096))
            file.flush()
    os.truncate(filling, max(0, filling.stat().st_size - but))
    yield
    filling.unlink()


@pytest.mark.parametrize("left", [0, 100_000, 1_000_000, 3_000_000])
def test_a_full_disk_under_the_data_is_told_and_made_up_for(
    workspace: Workspace, mounted: Callable[[Path], None], expected: dict[str, Any], left: int
) -> None:
    mounted(workspace.root / "data")
    with filled(workspace.root / "data", left):
        result = run(workspace)
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
    assert run(workspace).exit_code == 0 and state(workspace) == expected


@pytest.mark.parametrize("left", [0, 8_192])
def test_a_full_disk_under_the_scores_leaves_no_part_of_a_partition(
    workspace: Workspace, mounted: Callable[[Path], None], expected: dict[str, Any], left: int
) -> None:
    mounted(workspace.scores)
    with filled(workspace.scores, left):
        result = run(workspace)
        document = json.loads(result.stdout)
        assert result.exit_code == 1 and "score churn" in document["failed"] and "No space left" in result.stderr
        assert {path.name for path in workspace.scores.rglob("*") if path.is_file()} <= {
            "filling",
            "part-0.parquet",
            "_receipt.json",
        }
    again = run(workspace)
    done = [name for name, step in json.loads(again.stdout)["steps"].items() if step["status"] == "done"]
    assert again.exit_code == 0 and {"score churn"} <= set(done) <= {
        "score churn",
        "score lead-conversion",
        "latest",
        "monitor",
        "retention",
    }
    assert state(workspace) == expected


@pytest.mark.parametrize("command", ["nightly", "score"])
def test_a_full_disk_under_the_latest_scores_is_told_and_made_up_for(
    workspace: Workspace, mounted: Callable[[Path], None], expected: dict[str, Any], command: str
) -> None:
    assert run(workspace).exit_code == 0
    mounted(workspace.latest)
    with filled(workspace.latest, 0):
        result = run(workspace, command)
        assert result.exit_code == 1 and isinstance(result.exception, SystemExit) and "No space left" in result.stderr
    assert run(workspace, command).exit_code == 0 and state(workspace)["latest"] == expected["latest"]


@pytest.fixture(scope="module")
def shift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that libfaketime reads the shift of the wall clock from."""
    return tmp_path_factory.mktemp("clock") / "shift"


@pytest.fixture(scope="module")
def unsteady(shift: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs commands by a clock that jumps; it looks for its shift once a second."""
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    shift.write_text("+0d")
    environment = {
        **os.environ, "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(shift), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }  # fmt: skip
    with forking(tmp_path_factory.mktemp("unsteady") / "log", environment) as found:
        yield found


@pytest.mark.slow
@pytest.mark.parametrize("days", [365, -365], ids=["a year ahead", "a year back"])
def test_a_clock_that_jumps_while_a_night_runs_changes_nothing(
    unsteady: Forks, shift: Path, workspace: Workspace, expected: dict[str, Any], tmp_path: Path, days: int
) -> None:
    words, told = ["nightly", "--workspace", str(workspace.root)], tmp_path / "told"
    shift.write_text("+0d")
    child = unsteady.begin(*words, stderr=told)
    until(lambda: "ingest: " in told.read_text() or not runs(child))
    shift.write_text(f"{days:+d}d")
    assert unsteady.end() == 0, told.read_text()
    assert all(json.loads(path.read_text())["seconds"] >= 0 for path in (workspace.nightly / "2018-05-15").glob("*.json"))
    assert state(workspace) == expected
    assert unsteady.run(*words)[0] == 0
    assert state(workspace) == expected
