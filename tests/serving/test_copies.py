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
    assert np.array_equal(
        model.foreseen(model.rows(rows)).contributions, found.model.foreseen(found.model.rows(rows)).contributions
    )


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


def promote(workspace: Workspace, model: Model, version: str, challenger: Named | None = None) -> None:
    """What a worker does when a version is to serve."""
    for named in filter(None, (Named(version, "run"), challenger)):
        copies.keep(workspace, "churn", named, model)
    copies.remember(workspace, "churn", Standing(Named(version, "run"), challenger))


def kept(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in (workspace.serving / "champions" / "churn").iterdir() if path.is_dir())


def test_of_all_copies_those_of_the_champion_and_of_the_one_before_stay(workspace: Workspace, model: Model) -> None:
    for version in "123":
        promote(workspace, model, version)
    assert kept(workspace) == ["2-run", "3-run"]
    promote(workspace, model, "2")  # a rollback
    assert kept(workspace) == ["2-run", "3-run"] and copies.copied(workspace, "churn", Named("3", "run")) is not None


def test_the_challengers_copy_stays_while_it_waits_and_a_new_one_costs_no_champion_its_copy(
    workspace: Workspace, model: Model
) -> None:
    promote(workspace, model, "1")
    promote(workspace, model, "2", Named("3", "run"))
    promote(workspace, model, "2", Named("4", "run"))
    assert kept(workspace) == ["1-run", "2-run", "4-run"]
    promote(workspace, model, "4")
    assert kept(workspace) == ["2-run", "4-run"]


def test_a_copy_that_another_worker_has_just_made_stays(workspace: Workspace, model: Model) -> None:
    """One that is late writes down version 2 when another has version 3 already."""
    promote(workspace, model, "1")
    copies.keep(workspace, "churn", Named("3", "run"), model)
    promote(workspace, model, "2")
    assert kept(workspace) == ["1-run", "2-run", "3-run"]
    promote(workspace, model, "3")
    assert kept(workspace) == ["2-run", "3-run"]


def test_where_it_is_not_known_who_served_no_copy_is_removed(workspace: Workspace, model: Model) -> None:
    for version in "12":
        promote(workspace, model, version)
    (workspace.serving / "champions" / "churn" / copies.POINTER).write_text("{}")
    promote(workspace, model, "3")
    assert kept(workspace) == ["1-run", "2-run", "3-run"]


def test_what_an_older_release_remembered_is_understood(workspace: Workspace, model: Model) -> None:
    promote(workspace, model, "1")
    pointer = workspace.serving / "champions" / "churn" / copies.POINTER
    pointer.write_text(json.dumps({"champion": {"version": "1", "run_id": "run"}, "challenger": None}))
    promote(workspace, model, "2")
    promote(workspace, model, "3")
    assert kept(workspace) == ["2-run", "3-run"]


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
