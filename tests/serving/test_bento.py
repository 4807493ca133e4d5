"""A Bento, built as a user builds it, serves from another folder and another environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from features import store
from features.settings import SETTINGS_FILE, Workspace
from serving.http.address import free_port, url
from tests.serving.running import started, until
from tests.serving.shop import NOW

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("features", "training", "serving")
OURS = ("PYTHONPATH", "VIRTUAL_ENV", "PROMETHEUS_MULTIPROC_DIR")


def beside(program: str) -> str:
    """A program of this environment."""
    return str(Path(sys.executable).parent / program)


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `bentoml build` makes, unpacked in a folder of its own."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("elsewhere") / "bento"
    subprocess.run([beside("bentoml"), "build"], cwd=ROOT, env=without_ours(BENTOML_HOME=str(home)), check=True)
    (made,) = [path for path in (home / "bentos" / "foresell").iterdir() if path.is_dir()]
    shutil.copytree(made, folder)
    return folder


@pytest.fixture(scope="module")
def environment(bento: Path) -> Path:
    """The programs of a fresh environment with what the Bento asks for, and nothing else."""
    folder, uv = bento.parent / "environment", beside("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
    install = [uv, "pip", "install", "--quiet", "--system-certs", "--python", str(folder / "bin" / "python")]
    subprocess.run([*install, "--requirement", str(bento / "env" / "python" / "requirements.txt")], check=True)
    return folder / "bin"


def without_ours(**variables: str) -> dict[str, str]:
    """The environment without what would lead back to this repository."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return {**kept, "BENTOML_DO_NOT_TRACK": "True", **variables}


def test_it_holds_the_code_and_neither_tests_nor_data(bento: Path) -> None:
    held = {path.name for path in (bento / "src").iterdir()}
    assert held == {"features", "training", "serving", "foresell.py", "pyproject.toml", "README.md", "LICENSE",
                    "requirements.lock", "bentofile.yaml"}  # fmt: skip
    assert not [path for path in bento.rglob("*") if path.suffix in (".db", ".parquet", ".pyc")]
    tracked = subprocess.run(["git", "ls-files", *ROOMS], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert [path for path in tracked if not (bento / "src" / path).is_file()] == []


def test_it_scores_from_another_folder_and_environment(
    bento: Path, environment: Path, own: Workspace, service: str, tmp_path: Path
) -> None:
    port = free_port("127.0.0.1")
    settings = without_ours(BENTOML_HOME=str(tmp_path / "home"), FORESELL_WORKSPACE=str(own.root), FORESELL_WORKERS="2")
    with (own.root / SETTINGS_FILE).open("a", encoding="utf-8") as file:
        file.write('[serving]\nkeys = "off"\n')
    store.apply(own)
    store.materialize(own, NOW)
    command = [str(environment / "bentoml"), "serve", str(bento), "--host", "127.0.0.1", "--port", str(port)]
    ids = {"ids": [f"C{number:04d}" for number in range(100)]}
    with started(command, url("127.0.0.1", port), tmp_path / "log", settings, tmp_path) as made, made.client() as at:
        assert same(at.post("/v1/churn", json=ids)) == same(httpx.post(f"{service}/v1/churn", json=ids, timeout=60))
        for _ in range(20):
            httpx.post(f"{url('127.0.0.1', port)}/v1/churn", json={"ids": ["C0001"]}, timeout=60)
        until(lambda: made.metric('foresell_requests_total{route="/v1/churn",status="200"}') == 21)  # counted once answered
        assert at.get("/nope").headers["content-type"] == "application/problem+json"


def same(response: httpx.Response) -> list[Mapping[str, Any]]:
    """The scores without what the instant of the request and earlier scores decide."""
    assert response.status_code == 200, response.text
    passing = ("scored_at", "trend", "change")
    return [{name: value for name, value in one.items() if name not in passing} for one in response.json()["scores"]]


@pytest.mark.parametrize("where", [(), ("--host", "0.0.0.0")], ids=["where BentoML likes", "everywhere"])
def test_without_keys_it_refuses_to_start_for_others(shop: Workspace, tmp_path: Path, where: tuple[str, ...]) -> None:
    settings = without_ours(BENTOML_HOME=str(tmp_path), FORESELL_WORKSPACE=str(shop.root), PYTHONPATH=str(ROOT))
    command = [beside("bentoml"), "serve", "serving.service:Foresell", "--port", str(free_port("127.0.0.1")), *where]
    ended = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, timeout=120)
    assert ended.returncode != 0 and "a loopback address" in ended.stderr + ended.stdout
