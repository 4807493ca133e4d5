"""Killed anywhere and run again, a night ends as if nothing had happened."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from features.settings import Workspace
from foresell import main
from serving.nightly.lock import LOCK
from tests.forks import Forks
from tests.serving.nightly.conftest import Nights
from tests.serving.nightly.state import looked, state
from tests.serving.running import until


@pytest.fixture(scope="module")
def undisturbed(forks: Forks, nights: Nights, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], float]:
    """What a night leaves that nobody killed, and how long it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    ended = {name: forks.run(*words(nights(folder / name))) for name in ("cold", "warm")}
    assert {code for code, _ in ended.values()} == {0}
    return both(Workspace.open(folder / "warm")), ended["warm"][1]


def words(workspace: Workspace) -> list[str]:
    return ["nightly", "--workspace", str(workspace.root)]


def both(workspace: Workspace) -> dict[str, Any]:
    return {**state(workspace), **looked(workspace)}


@pytest.mark.parametrize("points", [5, pytest.param(45, marks=pytest.mark.slow(minutes=4))])  # fifty with the slow ones
def test_a_night_that_is_killed_anywhere_and_run_again_ends_the_same(
    forks: Forks, nights: Nights, undisturbed: tuple[dict[str, Any], float], tmp_path: Path, points: int
) -> None:
    expected, seconds = undisturbed
    rng, killed, scored = random.Random(points), 0, 0
    for point in range(points):
        workspace = nights(tmp_path / str(point))
        for again in range(1 + point % 2):  # every other one is killed again while it makes up for it
            code, took = forks.run(*words(workspace), killed_after=rng.uniform(0.0, seconds))
            assert code in (0, -9)
            killed += code == -9
            if code == 0 and not again:  # the machine has become quicker
                seconds = took
        scored += workspace.scores.exists()
        assert forks.run(*words(workspace))[0] == 0, f"point {point}"
        assert both(workspace) == expected, f"point {point}"
    assert killed > points // 2 and scored


def test_of_two_at_once_one_hears_of_the_other_and_nothing_is_done_twice(
    forks: Forks, nights: Nights, undisturbed: tuple[dict[str, Any], float], tmp_path: Path
) -> None:
    workspace = nights(tmp_path / "night")
    first = forks.begin(*words(workspace))
    until(lambda: (workspace.nightly / LOCK).is_file() and f'"pid": {first},' in (workspace.nightly / LOCK).read_text())
    second = CliRunner().invoke(main, [*words(workspace), "--json"])
    assert forks.end() == 0
    assert second.exit_code == 1 and f"process {first}, since " in second.stderr and second.stdout == ""
    assert both(workspace) == undisturbed[0]
