"""The main job on every data set, by the commands a user types: from an export to scores, at least as good as stated.

The floors are those of a plain LightGBM on a dozen hand-made columns, less what chance may take; a figure that is too good is a
leak and fails as well.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from features.propensity import load
from features.settings import Workspace
from tests.conftest import REPOSITORY, SHARED_DATA
from tests.forks import Forks
from training import dataset, registry


def foresell(*words: str | Path, code: int = 0) -> str:
    """Run a command as a user would; its standard output."""
    done = subprocess.run([sys.executable, "-m", "foresell", *map(str, words)], capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture
def command(forks: Forks, tmp_path: Path) -> Callable[..., str]:
    """The same in a process that has imported everything already."""

    def run(*words: str | Path) -> str:
        files = {"stdout": tmp_path / "stdout", "stderr": tmp_path / "stderr"}
        for file in files.values():
            file.write_text("")
        code, _ = forks.run(*map(str, words), **files)
        said, complained = (file.read_text(encoding="utf-8") for file in files.values())
        assert code == 0, f"{words} ended with {code}:\n{said[-2000:]}\n{complained[-4000:]}"
        return said

    return run


def shell_lines(page: Path) -> list[str]:
    """What a page tells the reader to type: the lines that begin with `$` in its `console` blocks."""
    blocks = re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def walk(workspace: Path) -> None:
    """The commands of the README, as they stand there, with the data of this machine."""
    for line in shell_lines(REPOSITORY / "README.md"):
        program, *words = shlex.split(line)
        assert program == "foresell", line
        places = {"../shared/data/olist": str(SHARED_DATA / "olist"), "olist-workspace": str(workspace)}
        foresell(*(places.get(word, word) for word in words))


def travel(command: Callable[..., str], adapter: str, workspace: Path, names: list[str]) -> None:
    """init, ingest, check, snapshot, train, promote, score."""
    command("init", "--adapter", adapter, "--from", SHARED_DATA / adapter, "--workspace", workspace)
    for word in ("ingest", "check", "snapshot"):
        command(word, "--workspace", workspace)
    for name in names:
        command("train", name, "--workspace", workspace)
        command("promote", name, "--workspace", workspace)
    command("score", "--workspace", workspace)


def reported(command: Callable[..., str], workspace: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(command("report", name, "--json", "--workspace", workspace))
    return document


FLOORS = {
    ("olist", "lead-conversion"): (0.64, 0.90),
    ("olist", "churn"): (0.81, 0.90),
    ("olist", "upsell"): (0.65, 0.80),
    ("online_retail", "churn"): (0.73, 0.85),
    ("telco", "churn"): (0.84, 0.86),
}


@pytest.mark.slow(minutes=3)
@pytest.mark.real_data
@pytest.mark.parametrize("data", ["olist", "online_retail", "telco"])
def test_real_data_reach_what_is_stated_and_not_more(data: str, command: Callable[..., str], tmp_path: Path) -> None:
    names = [name for where, name in FLOORS if where == data]
    if data == "olist":
        walk(tmp_path / "workspace")
    else:
        travel(command, data, tmp_path / "workspace", names)
    for name in names:
        report, (floor, ceiling) = reported(command, tmp_path / "workspace", name), FLOORS[data, name]
        assert report["champion"] == report["version"] and report["verdict"] == "pass"
        assert floor <= report["test"]["auc"] <= ceiling, (data, name, report["test"]["auc"])
        assert report["test"]["auc_low"] < report["test"]["auc"] < report["test"]["auc_high"]
        [partition] = (tmp_path / "workspace" / "scores" / f"propensity={name}").iterdir()
        receipt = json.loads((partition / "_receipt.json").read_text())
        assert len(pd.read_parquet(partition / "part-0.parquet")) == receipt["rows"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lead-conversion", "churn", "upsell"])
def test_on_the_sample_crm_a_model_comes_within_two_points_of_the_truth(
    name: str, command: Callable[..., str], sample_workspace: Path
) -> None:
    """The best reachable AUC is that of the true probabilities, on the very rows the model was tested on."""
    workspace = Workspace.open(sample_workspace)
    version = registry.newest_version(workspace, name)
    assert version
    window = registry.load(workspace, name, version).model.contract.windows["test"]
    question = load(workspace, name)
    instants = [as_of for as_of in dataset.as_ofs(workspace, question) if window.first <= as_of.isoformat() <= window.last]
    rows = dataset.build(workspace, question, instants).frame[["entity_id", "as_of", "label"]]
    truth = pd.read_parquet(sample_workspace / "data" / "truth" / f"{name}.parquet")
    truth["as_of"] = pd.to_datetime(truth["as_of"], utc=True).astype("datetime64[us, UTC]")
    known = rows.merge(truth, on=["entity_id", "as_of"], how="left", validate="one_to_one")
    assert known["probability"].notna().all() and len(known) == window.rows
    reachable = roc_auc_score(known["label"], known["probability"])
    assert reported(command, sample_workspace, name)["test"]["auc"] > reachable - 0.02


@pytest.mark.slow
def test_the_batch_gives_the_same_bytes_twice(command: Callable[..., str], sample_workspace: Path) -> None:
    """By two interpreters, each of which has a seed of its own for the order of sets."""

    def parts(run: Callable[..., str]) -> dict[str, bytes]:
        run("score", "--workspace", sample_workspace)
        return {str(path): path.read_bytes() for path in sample_workspace.glob("scores/**/*") if path.is_file()}

    first = parts(command)
    shutil.rmtree(sample_workspace / "scores")
    assert len(first) == 6 and parts(foresell) == first
