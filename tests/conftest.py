"""What every test may use: the real data, the servers, and the rule that in CI nothing is skipped for want of one of them."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

from benchmarks.serving_load import has_wrk
from features.console import silence_telemetry
from features.sample import CUSTOMERS
from foresell import main
from serving.demo import Demo
from tests.forks import Forks, forking
from tests.serving.connectors.bottlecrm import newer_python

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED_DATA = REPOSITORY.parent / "shared" / "data"
NO_SKIPS = "FORESELL_NO_SKIPS" in os.environ
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

silence_telemetry()
settings.register_profile("foresell", deadline=None)  # how long an example takes is the machine's affair
settings.load_profile("foresell")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The workers share out modules; those that take longest come first, so that all end together."""
    minutes: dict[Path, float] = {}
    for item in items:
        slow = item.get_closest_marker("slow")
        minutes[item.path] = max(minutes.get(item.path, 0), slow.kwargs.get("minutes", 1) if slow else 0)
    items.sort(key=lambda item: -minutes[item.path])


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("real_data") and not SHARED_DATA.is_dir():
        _skip(f"real data: no folder {SHARED_DATA}")
    if item.get_closest_marker("redis") and not _listens(6379):
        _skip("Redis: nothing listens on 127.0.0.1:6379")
    if item.get_closest_marker("spark") and not (shutil.which("java") and find_spec("pyspark")):
        _skip("Spark: no java, or no package pyspark")
    if item.get_closest_marker("postgres") and not _listens(5432):
        _skip("PostgreSQL: nothing listens on 127.0.0.1:5432")
    if item.get_closest_marker("nginx") and NGINX is None:
        _skip("nginx: not installed")
    if item.get_closest_marker("wrk") and not has_wrk():
        _skip("wrk: not installed")
    if item.get_closest_marker("bottlecrm") and newer_python() is None:
        _skip("BottleCRM: no Python 3.12 or newer on the PATH or below ~/.pyenv")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; tests that use it carry the marker `real_data`."""
    return SHARED_DATA


@pytest.fixture(scope="session")
def sample_workspace(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """What `make demo` leaves, of a sample CRM as of a fixed day; what it printed is in `demo.out`.

    It takes minutes, so the workers share one: whoever asks first makes it, and the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "sample"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            root = folder / "workspace"
            root.mkdir()
            with (root / "demo.out").open("w", encoding="utf-8") as printed, redirect_stdout(printed):
                Demo(main, root).run(datetime(2026, 6, 1, tzinfo=UTC), CUSTOMERS)
            (folder / "made").touch()
    return folder / "workspace"


@pytest.fixture(scope="session")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs commands in processes that need not import anything."""
    with forking(tmp_path_factory.mktemp("forks") / "log") as found:
        yield found


def _skip(reason: str) -> None:
    if NO_SKIPS:
        pytest.fail(f"would be skipped, which CI does not allow: {reason}")
    pytest.skip(reason)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
