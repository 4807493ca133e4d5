"""Laws 7 and 9: imports point one way and in no circle, one door per library, no room for utils, and importing does nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("features", "training", "serving")
DOORS = {
    "feast": ("features/store.py", "features/repo/"),
    "mlflow": ("training/registry/",),
    "bentoml": ("serving/service.py",),
    "great_expectations": ("features/quality.py",),
    "numba": ("training/kernels.py", "training/lanes.py"),
    "llvmlite": ("training/lanes.py",),
    "pyspark": ("features/spark/",),
}
OF_TRAINING_FOR_SERVING = {"training.contract", "training.model", "training.registry"}
OF_TRAINING_FOR_MONITORING = {  # holds what was served against what happened; nothing that answers imports it
    "training.dataset", "training.decision", "training.evaluation", "training.label", "training.slices"
}  # fmt: skip


@cache
def modules() -> dict[str, Path]:
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*.py") if "adapters" not in path.relative_to(ROOT).parts]
    return {_name(path): path for path in [*paths, ROOT / "foresell.py"]}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, in functions too; not what only a type checker reads."""
    found: set[str] = set()
    for node in _nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & set(modules()) or {node.module}
    return found


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from _nodes(node)


def ours(path: Path) -> set[str]:
    return {name for name in imported(path) if name in modules() and name not in ROOMS}


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_one_way(name: str) -> None:
    room, found = name.split(".")[0], ours(modules()[name])
    rooms = {other.split(".")[0] for other in found} - {room}
    assert rooms <= {"features": set(), "training": {"features"}, "serving": {"features", "training"}}.get(room, set(ROOMS))
    if room == "serving":
        allowed = OF_TRAINING_FOR_SERVING | (OF_TRAINING_FOR_MONITORING if name.startswith("serving.monitor.") else set())
        assert {other for other in found if other.startswith("training.")} <= allowed


def test_no_module_imports_itself_through_others() -> None:
    graph = {name: ours(path) - {name} for name, path in modules().items()}
    remaining = dict(graph)
    while free := [name for name, found in remaining.items() if not found & set(remaining)]:
        for name in free:
            del remaining[name]
    assert remaining == {}, "these modules import each other in a circle"


@pytest.mark.parametrize("library", DOORS)
def test_one_door_per_library(library: str) -> None:
    through = {
        str(path.relative_to(ROOT))
        for path in modules().values()
        if any(found.split(".")[0] == library for found in imported(path))
    }
    assert through, f"nothing imports {library}: is it still needed?"
    assert {path for path in through if not path.startswith(DOORS[library])} == set()


def test_no_room_for_utils() -> None:
    assert {
        name for name in modules() if name.split(".")[-1] in {"utils", "util", "helpers", "helper", "common", "misc"}
    } == set()


def test_no_pickle_on_the_way_to_a_prediction() -> None:
    """Law 6: LightGBM text and JSON only."""
    pickling = {"pickle", "cloudpickle", "joblib", "dill", "skops"}
    assert {name for name, path in modules().items() if {i.split(".")[0] for i in imported(path)} & pickling} == set()


def test_every_module_can_be_imported_without_doing_anything(tmp_path: Path) -> None:
    """Law 9: no folder, no connection, no logging set-up, and none of the slow libraries."""
    names = [name for name in modules() if ".repo" not in name and not name.startswith("serving.service")]
    code = (
        "import logging, socket, sys\n"
        "def refuse(*a, **k): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\n"
        f"for name in {names!r}: __import__(name)\n"
        "assert logging.getLogger().handlers == [], 'logging set up at import'\n"
        f"slow = [m for m in {sorted(DOORS)!r} if m in sys.modules]\n"
        "assert slow == [], slow\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [path for path in tmp_path.rglob("*") if ".cache" not in path.parts] == []


def test_the_top_level_is_the_one_that_was_asked_for() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    folders = {path.split("/")[0] for path in tracked if "/" in path}
    assert folders == {"features", "training", "serving", "notebooks", "mlruns", "tests", "benchmarks", "docs", ".ci"}
