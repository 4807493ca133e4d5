"""Alarms open once, go on without being told again, and end once; a look that was looked at before changes nothing."""

from __future__ import annotations

import fcntl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from features.errors import WorkspaceError
from features.finding import Finding
from features.settings import Settings, Workspace
from serving.monitor.alerts import alarms
from serving.monitor.alerts.alarms import Alarms, path_of, update

NIGHT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Settings())


def finding(where: str = "orders", **given: Any) -> Finding:
    told = {
        "kind": "stopped",
        "subject": "data",
        "severity": "alarm",
        "propensities": ("churn",),
        "sentence": f"{where} stopped.",
    }
    return Finding.model_validate({**told, "where": where, **given})


def nights(workspace: Workspace, *looks: list[Finding]) -> list[Alarms]:
    return [update(workspace, found, NIGHT + timedelta(days=night)) for night, found in enumerate(looks)]


def keys(found: tuple[alarms.Alarm, ...]) -> list[str]:
    return [alarm.finding.where for alarm in found]


def test_an_alarm_is_new_once_and_then_goes_on(workspace: Workspace) -> None:
    first, second = nights(workspace, [finding()], [finding(sentence="orders stopped 2 days ago.")])
    assert (keys(first.new), keys(first.going_on)) == (["orders"], [])
    assert (keys(second.new), keys(second.going_on)) == ([], ["orders"])
    assert second.open[0].sentence == "orders stopped 2 days ago." and second.open[0].opened_at == NIGHT


def test_only_an_alarm_opens_but_a_warning_keeps_it_open(workspace: Workspace) -> None:
    looks = nights(workspace, [finding(severity="warning")], [finding()], *[[finding(severity="warning")]] * 3, [], [])
    assert [len(look.open) for look in looks] == [0, 1, 1, 1, 1, 1, 0]


def test_an_alarm_ends_once_at_the_second_look_without_it(workspace: Workspace) -> None:
    looks = nights(workspace, [finding()], [], [finding()], [], [], [])
    assert [keys(look.ended) for look in looks] == [[], [], [], [], ["orders"], []]


def test_one_that_comes_back_within_a_week_is_not_told_again(workspace: Workspace) -> None:
    told = alarms.tell(workspace, update(workspace, [finding()], NIGHT))
    assert told.untold == ()
    for night in (1, 2):
        alarms.tell(workspace, update(workspace, [], NIGHT + timedelta(days=night)))
    back = update(workspace, [finding()], NIGHT + timedelta(days=5))
    assert (keys(back.open), back.new, back.untold) == (["orders"], (), ())
    for night in (6, 7):
        again = update(workspace, [], NIGHT + timedelta(days=night))
    assert keys(again.ended) == ["orders"] and again.untold_ends == ()


@pytest.mark.parametrize(("late", "new"), [(timedelta(0), []), (timedelta(microseconds=1), ["orders"])])
def test_one_that_comes_back_after_a_week_is_new(workspace: Workspace, late: timedelta, new: list[str]) -> None:
    nights(workspace, [finding()], [], [])
    assert keys(update(workspace, [finding()], NIGHT + timedelta(days=9) + late).new) == new


def test_the_same_look_again_and_an_earlier_one_change_nothing(workspace: Workspace) -> None:
    first = update(workspace, [finding()], NIGHT)
    kept = path_of(workspace).read_bytes()
    assert update(workspace, [finding()], NIGHT) == first
    assert update(workspace, [], NIGHT) == first
    update(workspace, [finding("surveys")], NIGHT - timedelta(microseconds=1))
    assert path_of(workspace).read_bytes() == kept


def test_a_second_look_at_an_as_of_opens_what_the_first_did_not_see_and_ends_nothing(workspace: Workspace) -> None:
    nights(workspace, [finding()], [])
    again = [update(workspace, [finding("surveys")], NIGHT + timedelta(days=1)) for _ in range(3)]
    assert [(keys(one.open), keys(one.new), one.ended) for one in again] == [(["orders", "surveys"], ["surveys"], ())] * 3


def test_a_table_that_touches_one_more_is_the_same_alarm_and_told_to_whom_it_touches_now(workspace: Workspace) -> None:
    alarms.tell(workspace, update(workspace, [finding()], NIGHT))
    more = update(workspace, [finding(propensities=("churn", "upsell"))], NIGHT + timedelta(days=1))
    assert (len(more.open), more.new, keys(more.untold)) == (1, (), ["orders"])
    alarms.tell(workspace, more)
    fewer = [update(workspace, [finding(propensities=("upsell",))], NIGHT + timedelta(days=night)) for night in (2, 3, 4)]
    assert [(len(one.open), one.untold, one.ended) for one in fewer] == [(1, (), ())] * 3


def test_what_was_wrong_with_a_table_does_not_end_because_the_table_stops(workspace: Workspace) -> None:
    places = ("orders.amount", "orders.channel=web", "orders", "orders_of_others.amount")
    wrong = [finding(where, kind="scale") for where in places]
    update(workspace, wrong, NIGHT)
    for night in (1, 2, 3):
        after = update(workspace, [finding()], NIGHT + timedelta(days=night))
    assert keys(after.open) == [*places[:3], "orders"] and keys(after.past) == ["orders_of_others.amount"]
    for night in (4, 5):
        after = update(workspace, [], NIGHT + timedelta(days=night))
    assert after.open == ()


def test_a_second_look_waits_until_the_first_is_told(workspace: Workspace) -> None:
    place = path_of(workspace).with_name(".alarms.json.lock")
    with alarms.alone(workspace), place.open("w") as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with place.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_model_of_each_propensity_is_an_alarm_of_its_own(workspace: Workspace) -> None:
    of_models = [finding("version 1", subject="model", kind="performance", propensities=(name,)) for name in ("churn", "upsell")]
    assert len(update(workspace, of_models, NIGHT).open) == 2


def test_what_was_not_told_stays_untold_until_it_is(workspace: Workspace) -> None:
    first, second = nights(workspace, [finding()], [finding()])
    assert keys(first.untold) == keys(second.untold) == ["orders"]
    assert alarms.tell(workspace, second).untold == ()
    stored = alarms.read(workspace)
    assert stored is not None and stored.open[0].told_at == NIGHT + timedelta(days=1)


def test_an_end_is_told_only_of_what_was_told(workspace: Workspace) -> None:
    assert nights(workspace, [finding()], [], [])[-1].untold_ends == ()


def test_ended_ones_are_kept_for_as_long_as_the_settings_say(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Settings.model_validate({"nightly": {"keep_partitions_days": 10}}))
    nights(workspace, [finding()], [], [])
    assert len(update(workspace, [], NIGHT + timedelta(days=12)).past) == 1
    assert update(workspace, [], NIGHT + timedelta(days=12, microseconds=1)).past == ()


def test_figures_that_are_no_numbers_do_not_spoil_the_file(workspace: Workspace) -> None:
    update(workspace, [finding(figures={"rows": 3.0, "factor": float("inf"), "share": float("nan")})], NIGHT)
    stored = alarms.read(workspace)
    assert stored is not None and stored.open[0].finding.figures == {"rows": 3.0}


def test_a_file_that_cannot_be_read_is_an_error_with_its_repair(workspace: Workspace) -> None:
    update(workspace, [finding()], NIGHT)
    path_of(workspace).write_text('{"alarms": 3}', encoding="utf-8")
    with pytest.raises(WorkspaceError, match="told once more"):
        update(workspace, [], NIGHT + timedelta(days=1))


def test_nobody_has_looked_yet(workspace: Workspace) -> None:
    assert alarms.read(workspace) is None
