"""Notebooks import and never define, hold no output, and run from top to bottom."""

from __future__ import annotations

import ast
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from features.ingest import run
from features.settings import Workspace
from features.tour import init

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
ON_OLIST = FOLDER / "backtest.ipynb"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_imports_and_does_not_define(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == [] and cell.execution_count is None, "clear the outputs before you commit"
            defined = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.FunctionDef | ast.ClassDef)]
            assert defined == [], "move it into a module, with a test"


@pytest.mark.slow(minutes=2)
@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path != ON_OLIST], ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, sample_workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execute(path, sample_workspace, monkeypatch)


@pytest.mark.slow
@pytest.mark.real_data
def test_the_walk_through_a_backtest_runs_on_olist(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    init(tmp_path / "olist", "olist", shared_data / "olist")
    run(Workspace.open(tmp_path / "olist"), datetime(2026, 6, 1, tzinfo=UTC))
    execute(ON_OLIST, tmp_path / "olist", monkeypatch)


def execute(path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every cell of a notebook on a workspace."""
    monkeypatch.setenv("FORESELL_WORKSPACE", str(workspace))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
