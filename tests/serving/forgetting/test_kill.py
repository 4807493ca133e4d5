"""Killed for real, at any moment, and run again, a person is forgotten all the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.catalog import Catalog
from features.settings import Workspace
from serving.partition import RECEIPT, digest, joint, parts
from tests.serving.forgetting.conftest import CUSTOMER
from tests.serving.forgetting.test_forget import filled, forgotten, found, made, others  # noqa: F401 - fixtures
from tests.serving.running import until

pytestmark = pytest.mark.xdist_group("shop")
WORDS = ["forget", CUSTOMER, "--linked", "--yes", "--workspace"]


def begun(workspace: Workspace) -> subprocess.Popen[bytes]:
    """The command in a process of its own, from the moment on at which it begins to remove."""
    command = [sys.executable, "-c", "from foresell import main; main()", *WORDS, str(workspace.root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: any((workspace.root / "data" / "forgotten").glob("pending-*")) or process.poll() is not None)
    return process


@pytest.mark.parametrize("points", [3, pytest.param(30, marks=pytest.mark.slow)])
def test_who_is_killed_at_any_moment_runs_it_again(filled: Workspace, points: int) -> None:  # noqa: F811
    before, rng, killed = others(filled), random.Random(points), 0
    for _ in range(points):
        with begun(filled) as process:
            time.sleep(rng.uniform(0.0, 1.5))
            os.kill(process.pid, signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL
    assert killed
    forgotten(filled)
    assert found(filled.root) == set() and others(filled) == before
    for folder in [*filled.scores.glob("*/*"), *filled.latest.glob("*")]:
        assert f'"{joint([digest(path) for path in parts(folder)])}"' in (folder / RECEIPT).read_text(encoding="utf-8")
    catalog = Catalog.load(filled)
    assert {path.name for path in filled.tables.iterdir() if path.is_dir()} == {catalog.version}
    assert not list(Path(filled.root).rglob(".building"))
