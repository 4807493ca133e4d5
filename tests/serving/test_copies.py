"""A copy of a champion scores as the original does, and one that is damaged or half written is no copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from features.settings import Settings, Workspace
from serving import copies
from training.model import CONTRACT_FILE, Model
from training.registry import Named, Standing

THIRD = Named("3", "8d2f60c1aaaa")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Settings())


def folder(workspace: Workspace) -> Path:
    return workspace.serving / "champions" / "churn" / "3-8d2f60c1"


def test_a_copy_says_the_same_to_the_bit(workspace: Workspace, model: Model, rows_of: Callable[..., Any]) -> None:
    copies.keep(workspace, "churn", THIRD, model)
    found = copies.copied(workspace, "churn", THIRD)
    assert found is not None and found.version == "3" and found.model.contract == model.contract
    rows = rows_of(50)
    one, two = (each.probability(each.rows(rows)) for each in (model, found.model))
    assert one.tobytes() == two.tobytes()
    assert np.array_equal(model.explained(model.rows(rows))[1], found.model.explained(found.model.rows(rows))[1])


def test_a_version_of_another_store_is_another_copy(workspace: Workspace, model: Model) -> None:
    copies.keep(workspace, "churn", THIRD, model)
    assert copies.copied(workspace, "churn", Named("3", "ffffffff")) is None
    assert (
        copies.copied(workspace, "upsell", THIRD) is None and copies.copied(workspace, "churn", Named("4", THIRD.run_id)) is None
    )


def test_one_that_was_killed_half_way_is_written_again(workspace: Workspace, model: Model) -> None:
    copies.keep(workspace, "churn", THIRD, model)
    (folder(workspace) / CONTRACT_FILE).unlink()  # written last
    assert copies.copied(workspace, "churn", THIRD) is None
    copies.keep(workspace, "churn", THIRD, model)
    assert copies.copied(workspace, "churn", THIRD) is not None


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", "\x00"])
@pytest.mark.parametrize("file", [CONTRACT_FILE, "model.txt"])
def test_a_damaged_copy_is_none(workspace: Workspace, model: Model, file: str, content: str) -> None:
    copies.keep(workspace, "churn", THIRD, model)
    (folder(workspace) / file).write_text(content)
    assert copies.copied(workspace, "churn", THIRD) is None


def test_it_is_remembered_who_served_last(workspace: Workspace) -> None:
    assert copies.last_champion(workspace, "churn") is None
    copies.remember(workspace, "churn", Standing(THIRD, None))
    copies.remember(workspace, "churn", Standing(Named("4", "b"), None))
    assert copies.last_champion(workspace, "churn") == Named("4", "b") and copies.last_champion(workspace, "upsell") is None


@pytest.mark.parametrize("content", ["", "[]", '"3"', json.dumps({"version": "3"}), json.dumps({"version": "3", "run": "x"})])
def test_a_damaged_memory_is_none(workspace: Workspace, content: str) -> None:
    copies.remember(workspace, "churn", Standing(THIRD, None))
    (workspace.serving / "champions" / "churn" / copies.POINTER).write_text(content)
    assert copies.last_champion(workspace, "churn") is None
    copies.remember(workspace, "churn", Standing(THIRD, None))
    assert copies.last_champion(workspace, "churn") == THIRD


def test_where_nothing_can_be_written_the_service_goes_on(workspace: Workspace, model: Model) -> None:
    (workspace.root / "data").write_text("a file where the folder should be")
    copies.keep(workspace, "churn", THIRD, model)
    copies.remember(workspace, "churn", Standing(THIRD, None))
    assert copies.copied(workspace, "churn", THIRD) is None and copies.last_champion(workspace, "churn") is None
