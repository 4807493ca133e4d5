"""Two workers under load: versions change, one is killed, and they end, without an answer that is lost or wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import pytest

from features.settings import Workspace
from tests.serving.running import Load, Running, copied, end_under_load, probabilities, running, until, wrong
from tests.serving.shop import MODEL_COLUMNS, NOW, learn
from training.registry import Signature, promote, rollback

pytestmark = pytest.mark.slow
ANNA = Signature("anna", NOW)


class World(NamedTuple):
    """A workspace whose churn has two versions, what each says of everybody, and its service of two workers."""

    workspace: Workspace
    said: dict[str, dict[str, float | None]]
    service: Running


@pytest.fixture(scope="module")
def world(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("swap")
    workspace = copied(shop, folder / "workspace")
    learn(workspace, "churn", MODEL_COLUMNS["churn"][:4], 6)
    with running(workspace, folder / "log", workers=2) as service:
        yield World(workspace, probabilities(workspace, "churn", ["1", "2"]), service)


def test_promotions_and_rollbacks_reach_every_worker_without_a_wrong_answer(
    world: World, record_property: Callable[[str, object], None]
) -> None:
    moves = (lambda: promote(world.workspace, "churn", ANNA, "2"), lambda: rollback(world.workspace, "churn", ANNA))
    with Load(world.service.address, sorted(world.said["1"])) as load:
        until(lambda: len(load.answers) > 50)
        for move, version in zip(moves, ("2", "1"), strict=True):
            move()
            moved = time.monotonic()
            until(partial(_all_of, load, version))
            old = [one[0] for one in list(load.answers) if one[0] > moved and {s["model_version"] for s in one[4]} != {version}]
            record_property("seconds_to_swap", max(old, default=moved) - moved)
    assert not load.lost and not wrong(load.answers, world.said)
    assert load.versions() == {"1", "2"}


def _all_of(load: Load, version: str, number: int = 100) -> bool:
    """Whether the last so many answers are all of one version."""
    last = list(load.answers)[-number:]
    return {score["model_version"] for *_, scores in last for score in scores} == {version}


def test_when_a_worker_is_killed_the_other_answers_and_a_new_one_comes(world: World) -> None:
    before = {worker.pid for worker in world.service.workers()}
    victim = world.service.workers()[0]
    with Load(world.service.address, sorted(world.said["1"]), pause=0.01) as load:
        until(lambda: len(load.answers) > 20)
        victim.kill()
        killed = time.monotonic()
        until(lambda: sum(one[0] > killed for one in list(load.answers)) > 100)
        until(lambda: len(world.service.workers()) == 2 and victim.pid not in {one.pid for one in world.service.workers()}, 120)
    assert not wrong(load.answers, world.said)
    assert len(load.lost) <= 2 * load.callers  # what was on its way in the killed one
    assert len(before & {worker.pid for worker in world.service.workers()}) == 1


def test_termination_answers_what_was_accepted_and_stores_what_was_answered(world: World) -> None:
    end_under_load(world.workspace, world.service, world.said)
