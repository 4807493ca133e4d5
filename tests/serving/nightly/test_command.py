"""`foresell nightly` as it is typed: its words, its JSON, its exit codes."""

from __future__ import annotations

import json
import os

import pytest
from click.testing import CliRunner, Result

from features.settings import SETTINGS_FILE, Workspace
from foresell import main


def run(workspace: Workspace, *words: str) -> Result:
    return CliRunner().invoke(main, ["nightly", "--workspace", str(workspace.root), *words])


def test_a_night_is_told_in_words_and_as_json(workspace: Workspace) -> None:
    first = run(workspace)
    assert first.exit_code == 0 and "part-0.parquet" in first.stdout
    assert "score churn: 284 of 400 scored by version 1" in first.stderr and "10 done, 0 skipped, 0 failed" in first.stderr
    assert "467 scores of 2 propensities: A 48, B 92, C 140, D 187; 0 withheld by policy" in first.stderr
    again = run(workspace, "--as-of", "2018-05-15", "--json")
    document = json.loads(again.stdout)
    assert again.exit_code == 0 and "0 done, 10 skipped, 0 failed" in document["summary"][0]
    assert {step["status"] for step in document["steps"].values()} == {"skipped"} and document["failed"] == {}
    assert document["scored"]["churn"]["rows"] == 284 and os.path.isfile(document["scored"]["churn"]["file"])  # noqa: PTH113
    assert not document["stopped"] and document["late"] == [] and document["forgotten"]["served"] == 0


def test_late_data_is_told_and_ends_with_1_or_is_marked(workspace: Workspace) -> None:
    path = workspace.root / SETTINGS_FILE
    path.write_text(path.read_text() + 'late_after = "36h"\n')
    refused = run(workspace, "--json")
    assert refused.exit_code == 1 and json.loads(refused.stdout)["stopped"]
    assert "customers: the newest row became known 2018-02-02" in refused.stderr and "Traceback" not in refused.output
    path.write_text(path.read_text() + 'late = "score"\n')
    marked = run(workspace)
    assert marked.exit_code == 0 and "scored with late data: customers: the newest row" in marked.stderr


@pytest.mark.parametrize(
    ("text", "key"),
    [('late_after = "soon"', "late_after"), ('late_after_of = { oders = "3d" }', "late_after_of"), ('late = "maybe"', "late")],
)
def test_a_wrong_setting_ends_with_2(workspace: Workspace, text: str, key: str) -> None:
    path = workspace.root / SETTINGS_FILE
    path.write_text(path.read_text() + text + "\n")
    result = run(workspace)
    assert result.exit_code == 2 and f"nightly.{key}" in result.stderr


def test_a_night_that_is_still_to_come_is_refused(workspace: Workspace) -> None:
    result = CliRunner().invoke(main, ["nightly", "--workspace", str(workspace.root), "--as-of", "2962-05-15"])
    assert result.exit_code == 2 and "has passed" in result.stderr
