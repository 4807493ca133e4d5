"""The year's world is told as it was known, its faults do what they say and no more, and a life of three weeks is a real one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import year
from benchmarks.year_faults import DESK, FAULTS, HOURS, Fault, change_unit, leak, open_channel, stop
from benchmarks.year_life import NEVER, QUESTIONS, Life, Week, read
from benchmarks.year_plot import plot
from benchmarks.year_tally import FORGOTTEN, Truth, false_alarms, figures, seen
from benchmarks.year_world import END, KNOWN, LATER, WEEK, World, cut
from features.finding import Finding, Severity
from features.propensity import Value
from features.settings import Workspace

WEEKS, BEGINS, MENDED = 10, 4, 7
EXPORT_FAULTS = {
    one.change: replace(one, week=BEGINS, mended=MENDED if one.mended else None) for one in FAULTS if one.change
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.make(tmp_path_factory.mktemp("year"), 150, WEEKS, 1, ())


def spoilt(world: World, fault: Fault, week: int) -> dict[str, pd.DataFrame]:
    return replace(world, faults=(fault,)).as_known(week)


@pytest.mark.parametrize("week", [0, 3, WEEKS])
def test_a_week_holds_what_was_known_before_it_and_as_it_looked_then(world: World, week: int) -> None:
    at = pd.Timestamp(world.as_of(week)).tz_localize(None)
    frames = world.as_known(week)
    assert frames.keys() == world.frames.keys() == KNOWN.keys()
    for name, frame in frames.items():
        whole = world.frames[name]
        assert len(frame) == (whole[KNOWN[name]] < at).sum() > 0
        for filled, columns in LATER.get(name, {}).items():
            assert not (frame[filled] >= at).any()
            known = whole[whole[KNOWN[name]] < at].reset_index(drop=True)
            late = (known[filled] >= at).fillna(False).astype(bool)
            assert late.any() or week == WEEKS or name not in ("leads", "vehicles")
            for column in columns:
                assert frame.loc[late, column].isna().all()
                pd.testing.assert_series_equal(frame.loc[~late, column], known.loc[~late, column])


def test_every_time_in_an_export_is_before_its_week_but_a_renewal_to_come(world: World) -> None:
    at = pd.Timestamp(world.as_of(5)).tz_localize(None)
    for name, frame in world.as_known(5).items():
        for column in frame.columns:
            if pd.api.types.is_datetime64_any_dtype(frame[column]) and column != "next_renewal":
                assert not (frame[column] >= at).any(), f"{name}.{column}"


def test_a_row_of_the_very_instant_is_not_known_yet() -> None:
    at = datetime(2026, 3, 2, tzinfo=UTC)
    times = pd.Series([at.replace(tzinfo=None) - pd.Timedelta(1, "us"), at.replace(tzinfo=None)])
    lost = pd.DataFrame({"imported": [times[0]] * 2, "converted": pd.NaT, "lost": times, "lost_reason": "x"})
    found = cut({"surveys": pd.DataFrame({"logged": times}), "leads": lost}, at)
    assert len(found["surveys"]) == 1
    assert found["leads"]["lost"].notna().tolist() == found["leads"]["lost_reason"].notna().tolist() == [True, False]


@pytest.mark.parametrize("fault", EXPORT_FAULTS.values(), ids=lambda fault: fault.name)
def test_a_fault_changes_nothing_before_it_begins_nor_what_was_known_by_then(world: World, fault: Fault) -> None:
    for week in (0, BEGINS):
        for name, frame in spoilt(world, fault, week).items():
            pd.testing.assert_frame_equal(frame, world.as_known(week)[name])
    begin = pd.Timestamp(world.as_of(BEGINS)).tz_localize(None)
    right, wrong = world.as_known(BEGINS + 2), spoilt(world, fault, BEGINS + 2)
    touched = {name for name in right if not right[name].equals(wrong[name])}
    assert touched and touched <= {"leads", "activities"}
    for name in touched:
        old = [frame[frame[KNOWN[name]] < begin].reset_index(drop=True) for frame in (right[name], wrong[name])]
        pd.testing.assert_frame_equal(*old)


def test_each_fault_changes_what_it_says(world: World) -> None:
    week, begin = BEGINS + 2, pd.Timestamp(world.as_of(BEGINS)).tz_localize(None)
    right = world.as_known(week)
    new = (right["leads"]["imported"] >= begin).to_numpy()
    assert not (spoilt(world, EXPORT_FAULTS[stop], week)["activities"]["logged"] >= begin).any()
    budget = spoilt(world, EXPORT_FAULTS[change_unit], week)["leads"]["budget"]
    assert (budget[new] == HOURS * right["leads"]["budget"][new]).dropna().all()
    opened = spoilt(world, EXPORT_FAULTS[open_channel], week)
    assert 0.2 < (opened["leads"]["source"][new] == "messenger").mean() < 0.5
    assert (opened["activities"]["channel"] == "messenger").any()
    dealer = spoilt(world, EXPORT_FAULTS[leak], week)["leads"]["dealer"]
    assert ((dealer == DESK).to_numpy() == (new & right["leads"]["converted"].notna().to_numpy())).all()


def test_what_was_mended_is_right_again_but_for_what_was_never_told(world: World) -> None:
    for change in (change_unit, leak):
        for name, frame in spoilt(world, EXPORT_FAULTS[change], MENDED).items():
            pd.testing.assert_frame_equal(frame, world.as_known(MENDED)[name])
    begin, until = (pd.Timestamp(world.as_of(week)).tz_localize(None) for week in (BEGINS, MENDED))
    logged = spoilt(world, EXPORT_FAULTS[stop], MENDED + 2)["activities"]["logged"]
    assert not ((logged >= begin) & (logged < until)).any() and (logged >= until).any()


def test_the_faults_that_turn_the_world_leave_the_export_alone(world: World) -> None:
    turning = [fault for fault in FAULTS if not fault.change]
    assert [fault.name for fault in turning] == ["the base rate doubles", "slow decay"]
    for fault in turning:
        assert fault.turn(END) is not None
        assert spoilt(world, replace(fault, week=0), 5)["leads"].equals(world.as_known(5)["leads"])
    assert EXPORT_FAULTS[stop].turn(END) is None


def found(kind: str, where: str, severity: Severity = "alarm") -> dict:
    one = Finding(kind=kind, subject="data", severity=severity, where=where, propensities=("churn",), sentence="?")
    return one.model_dump(mode="json")


def test_a_fault_is_seen_by_the_first_finding_about_it_that_was_not_there_before() -> None:
    fault = EXPORT_FAULTS[change_unit]
    said = {
        BEGINS: [found("drift", "lead_budget")],
        BEGINS + 1: [found("drift", "lead_budget"), found("scale", "leads.budget", "note"), found("stopped", "leads.budget")],
        BEGINS + 2: [found("scale", "leads.budget", "warning")],
        BEGINS + 3: [found("scale", "leads.budget")],
    }
    weeks = [Week(week, "", findings=said.get(week, [])) for week in range(WEEKS)]
    told = seen(fault, weeks)
    assert (told.finding, told.alarm, told.alarm_by) == (14, 21, "scale, leads.budget")
    assert seen(fault, weeks[: BEGINS + 2]).alarm is None


def test_an_alarm_that_goes_on_is_one_and_what_a_fault_explains_is_none() -> None:
    said = [found("drift", "x")], [found("drift", "x")], [found("drift", "x"), found("drift", "y", "warning")]
    weeks = [Week(number, "", findings=each) for number, each in enumerate(said)]
    assert [week for week, _ in false_alarms((), weeks)] == [0]
    again = [*weeks, *(Week(number, "") for number in range(3, 4 + FORGOTTEN)), Week(4 + FORGOTTEN, "", findings=said[0])]
    assert [week for week, _ in false_alarms((), again)] == [0, 4 + FORGOTTEN]
    fault = Fault("f", 0, frozenset({"drift"}), ("x",))
    assert [week for week, _ in false_alarms((fault,), again)] == [0]


def test_profit_is_that_of_the_contacts_that_are_expected_to_pay() -> None:
    from types import SimpleNamespace

    asked = SimpleNamespace(name="x", value=Value(amount=100, cost=10, success=0.5))
    label, worth = np.array([1, 0, 1, 0]), np.full(4, 100.0)
    of = figures(3, asked, np.array([0.9, 0.3, 0.1, 0.2]), label, worth)  # type: ignore[arg-type]
    assert (of.profit, of.positives, of.rows) == (50 - 10 - 10, 2, 4)
    assert (of.auc, of.lift) == (0.5, 2.0)
    assert figures(3, asked, np.full(4, 0.1), 0 * label, worth).auc is None  # type: ignore[arg-type]


def test_the_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        year.main(["--help"])
    assert "benchmarks.year --folder" in capsys.readouterr().out


@pytest.mark.slow
def test_three_weeks_are_lived_by_real_nights_and_a_real_service_and_a_killed_life_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(QUESTIONS, "lead-conversion")  # one training less
    world = World.make(tmp_path / "world", 400, 6, 1, ())
    life = Life(tmp_path / "life", world, NEVER, 1)
    life.live(1)
    first = [path.read_bytes() for path in sorted(life.weeks.iterdir())]
    shutil.rmtree(life.root / "export")
    life.live(2)
    assert [path.read_bytes() for path in sorted(life.weeks.iterdir())][:2] == first
    weeks = read(life.root)
    assert [week.week for week in weeks] == [0, 1, 2]
    assert all(not week.failed and week.asked > 0 and set(week.versions.values()) == {"1"} for week in weeks)
    truth = Truth(tmp_path / "truth", world)
    of = [one for name in weeks[0].versions for one in truth.figures(Workspace.open(life.root), name)]
    assert [(one.week, one.propensity) for one in of] == [(0, "churn"), (1, "churn"), (2, "churn")]
    assert all(one.rows > one.positives > 0 for one in of) and world.as_of(2) + 4 * WEEK <= END
    plot({NEVER: of}, [seen(fault, weeks) for fault in FAULTS], tmp_path / "year.png")
    assert (tmp_path / "year.png").stat().st_size > 10_000
    assert json.loads(first[0])["week"] == 0
