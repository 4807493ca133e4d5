"""Killed for real, at any moment, and run again, a person is forgotten all the same."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from features.catalog import Catalog
from features.settings import Workspace
from serving.partition import RECEIPT, digest, joint, parts
from tests.forks import Forks, kill, runs
from tests.serving.forgetting.conftest import CUSTOMER
from tests.serving.forgetting.test_forget import copy, forgotten, found, made, others  # noqa: F401 - fixtures
from tests.serving.running import until

WORDS = ["forget", CUSTOMER, "--linked", "--yes", "--workspace"]
KILLS = 3  # of one workspace in a row; the first ones meet the most work


def begun(forks: Forks, workspace: Workspace) -> int:
    """The command in a process of its own, from the moment on at which it begins to remove."""
    child = forks.begin(*WORDS, str(workspace.root))
    until(lambda: any((workspace.root / "data" / "forgotten").glob("pending-*")) or not runs(child))
    return child


@pytest.fixture(scope="module")
def seconds(forks: Forks, made: Workspace, tmp_path_factory: pytest.TempPathFactory) -> float:  # noqa: F811
    """How long removing takes that nobody kills."""
    child = begun(forks, copy(made, tmp_path_factory.mktemp("undisturbed") / "night"))
    began = time.monotonic()
    until(lambda: not runs(child))
    assert forks.end() == 0
    return time.monotonic() - began


@pytest.mark.parametrize("points", [3, pytest.param(27, marks=pytest.mark.slow)])  # thirty with the slow ones
def test_who_is_killed_at_any_moment_runs_it_again(
    forks: Forks, made: Workspace, seconds: float, tmp_path: Path, points: int  # noqa: F811
) -> None:  # fmt: skip
    rng, killed = random.Random(points), 0
    for number in range(points // KILLS):
        workspace = copy(made, tmp_path / str(number))
        before = others(workspace)
        for _ in range(KILLS):
            child = begun(forks, workspace)
            time.sleep(rng.uniform(0.0, seconds))
            kill(child)
            killed += forks.end() == -9
        forgotten(workspace)
        assert found(workspace.root) == set() and others(workspace) == before
        for folder in [*workspace.scores.glob("*/*"), *workspace.latest.glob("*")]:
            assert f'"{joint([digest(path) for path in parts(folder)])}"' in (folder / RECEIPT).read_text(encoding="utf-8")
        catalog = Catalog.load(workspace)
        assert {path.name for path in workspace.tables.iterdir() if path.is_dir()} == {catalog.version}
        assert not list(workspace.root.rglob(".building"))
    assert killed >= points // KILLS
