"""What is drift and what is chance, season, the passing of time, or too few rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from serving.monitor.drift import reference as made
from serving.monitor.drift.bins import Bins
from serving.monitor.drift.drift import what_moved
from serving.monitor.drift.look import look
from serving.monitor.drift.plots import multiples
from serving.monitor.drift.reference import Reference
from tests.serving.monitor.drift.population import DATES, TODAY, judge, known, learned, people, see
from training.registry import Registered

ROWS = (200, 2_000, 20_000)


@pytest.fixture(scope="module")
def version() -> Registered:
    return learned()


@pytest.fixture(scope="module")
def references(version: Registered) -> Callable[[int], Reference]:
    made: dict[int, Reference] = {}

    def of(rows: int) -> Reference:
        if rows not in made:
            made[rows] = known(version, rows)
        return made[rows]

    return of


@pytest.mark.parametrize(("rows", "seeds"), [(200, 100), (2_000, 100), (20_000, 20)])
def test_nothing_is_found_where_nothing_has_changed(
    version: Registered, references: Callable[[int], Reference], rows: int, seeds: int
) -> None:
    """Ages, tenures and lifetime counts have grown by four months since the newest reference date, and raise nothing either."""
    reference, by = references(rows), judge(references(rows))
    found = [see(version, reference, people(rows, 1000 + seed), by=by).findings for seed in range(seeds)]
    assert [one.sentence for findings in found for one in findings] == []


def test_two_hundred_rows_raise_nothing_whatever_they_are(version: Registered, references: Callable[[int], Reference]) -> None:
    wild = people(200, 1).assign(usage=99.0, visits=1e6, plan="alien", hours=np.nan)
    found = see(version, references(20_000), wild)
    assert found.findings == ()
    assert not found.is_enough
    assert found.sentence == "200 rows are too few to tell drift from chance."
    assert found.moved[0].psi > 1, "it is shown, and called nothing"


SHIFTS: dict[str, tuple[str, str, Callable[[pd.DataFrame], object], str]] = {
    "days became hours": ("hours", "drift", lambda frame: frame["hours"] * 24, "the median rose from"),
    "a category never seen": (
        "plan", "unseen", lambda frame: frame["plan"].where(np.arange(len(frame)) % 10 > 0, "family"),
        "the model does not know, above all 'family'",
    ),
    "missing doubled": (
        "nps", "missing", lambda frame: frame["nps"].where(np.arange(len(frame)) % 9 > 0), "it is missing in 20 % of the rows",
    ),
    "half a standard deviation": ("usage", "drift", lambda frame: frame["usage"] + 0.5, "the median rose from"),
    "a source that stopped": ("visits", "drift", lambda frame: frame["visits"] * 0, "100 % of the rows are '0'"),
    "a constant that moved": ("constant", "drift", lambda frame: frame["constant"] + 1, "the median rose from 3 to 4"),
    "nothing became something": ("nothing", "drift", lambda frame: frame["usage"], "100 % of the rows are 'any value'"),
    "something became nothing": ("hours", "missing", lambda frame: np.full(len(frame), np.nan), "it is missing in 100 %"),
    "a lifetime that began anew": ("lifetime_orders", "drift", lambda frame: frame["lifetime_orders"] * 0.3, "fell from"),
}  # fmt: skip


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_real_shift_is_found_and_told_by_name(version: Registered, references: Callable[[int], Reference], shift: str) -> None:
    name, kind, change, told = SHIFTS[shift]
    for rows in (2_000, 20_000) if shift != "half a standard deviation" else (20_000,):
        frame = people(rows, 77)
        found = see(version, references(rows), frame.assign(**{name: change(frame)}))
        assert [(one.where, one.kind) for one in found.findings if one.subject == "feature"] == [(name, kind)]
        assert told in next(one.sentence for one in found.findings if one.where == name)
        assert found.moved[0].name == name


def test_a_category_that_names_somebody_is_not_told(version: Registered, references: Callable[[int], Reference]) -> None:
    """Who owns an account is a category of its own, and sentences go out by mail."""
    column = references(2_000).features["plan"]
    named = column.model_copy(update={"bins": Bins(categories=("ana@example.com", "max", "plus"))})
    reference = references(2_000).model_copy(update={"features": {**references(2_000).features, "plan": named}})
    found = see(version, reference, people(2_000, 3).assign(plan="basic"))
    moved = next(one for one in found.findings if one.where == "plan")
    assert "100 % of the rows are '(withheld " in moved.sentence
    assert "ana" not in json.dumps(found.document())


def test_values_that_always_were_others_than_before_are_no_drift(version: Registered) -> None:
    """A campaign's name is another one every month: at the newest dates the model knew none of them, and was tested so."""

    def campaign(frame: pd.DataFrame, number: int) -> pd.DataFrame:
        return frame.assign(plan=("basic", "max", "plus")[number % 3] if number < 16 else f"campaign {number}")

    matrices = {at: version.model.matrix(campaign(people(500, number, at), number)) for number, at in enumerate(DATES)}
    reference = made.of(version, matrices, {})
    now = see(version, reference, campaign(people(500, 99), 24))
    assert [one.where for one in now.findings] == []
    unseen = next(one.unseen for one in now.moved if one.name == "plan")
    assert unseen is not None and unseen.now == 1 and unseen.expected > 0.99, "it is shown, and called nothing"


def test_a_date_of_one_entity_does_not_make_every_expected_auc_ordinary(version: Registered) -> None:
    """Of one entity an AUC of 0.5 is to be expected: no estimate would ever lie below."""
    rows = {at: 1 if number == 3 else 200 for number, at in enumerate(DATES)}
    matrices = {at: version.model.matrix(people(rows[at], number, at)) for number, at in enumerate(DATES)}
    reference = made.of(version, matrices, {})
    assert min(reference.aucs) == 0.5 and len(reference.aucs) == len(DATES)
    assert min(reference.ordinary_aucs) > 0.7 and len(reference.ordinary_aucs) == len(DATES) - 1
    few = made.of(version, {at: matrix[:9] for at, matrix in matrices.items()}, {})
    assert len(few.ordinary_aucs) == len(DATES) - 1, "where none has enough rows, those that have most"


def test_a_feature_that_carries_the_model_is_an_alarm_and_one_that_carries_little_a_warning(
    version: Registered, references: Callable[[int], Reference]
) -> None:
    frame = people(20_000, 5)
    found = see(version, references(20_000), frame.assign(usage=frame["usage"] + 1, winter=frame["winter"] * 24))
    severities = {one.where: one.severity for one in found.findings}
    assert severities == {"usage": "alarm", "winter": "warning", "score": "alarm"}
    assert [one.severity for one in found.findings] == ["alarm", "alarm", "warning"]
    assert found.findings[0].propensities == ("churn",)
    assert "the scores moved" in found.sentence


def test_small_features_that_move_together_are_one_alarm(version: Registered, references: Callable[[int], Reference]) -> None:
    reference = references(2_000)
    small = {name: 0.03 for name in ("hours", "visits", "winter", "nps", "constant", "tenure", "lifetime_orders")}
    light = reference.model_copy(update={"importance": {**small, "usage": 0.79}})
    changed = {name: people(2_000, 5)[name] * 24 + 5 for name in small}
    alarms = [one for one in see(version, light, people(2_000, 5).assign(**changed)).findings if one.severity == "alarm"]
    assert [one.where for one in alarms if one.subject != "score"] == ["version 1"]
    assert any("7 features that carry little each and 21 % of the model together moved" in one.sentence for one in alarms)


def test_a_window_that_was_still_filling_is_a_warning_at_most(
    version: Registered, references: Callable[[int], Reference]
) -> None:
    frame = people(2_000, 5)
    young = references(2_000).model_copy(update={"young": ("usage",)})
    found = see(version, young, frame.assign(usage=frame["usage"] + 2)).findings
    assert [(one.severity, one.where) for one in found] == [("alarm", "score"), ("warning", "usage")]
    assert "whose history was shorter than it looks back" in found[1].sentence


def test_the_second_december_is_no_surprise_and_such_a_june_is_one(
    version: Registered, references: Callable[[int], Reference]
) -> None:
    """The reference holds one December; what it has shown it may show again at that time of the year."""
    december = datetime(2017, 12, 5, tzinfo=UTC)
    reference = references(2_000)
    assert any(at.month == 12 for at in DATES)
    assert see(version, reference, people(2_000, 6, december), december).findings == ()
    moved = judge(reference).feature("winter", look(version.model, reference, december, people(2_000, 6, december))[0])
    assert moved.compared_with == "the same weeks a year before"


def test_a_first_december_is_found(version: Registered) -> None:
    """Nobody can know better before a year has passed."""
    reference = known(version, 2_000, dates=tuple(at for at in DATES[:10] if at.month < 11))
    december = datetime(2016, 12, 5, tzinfo=UTC)
    assert [one.where for one in see(version, reference, people(2_000, 6, december), december).findings] == ["winter"]


def test_a_day_of_the_week_is_no_drift(version: Registered) -> None:
    """Every reference date is a Monday; on Sundays `visits` are of another size."""

    def week(rows: int, seed: int, at: datetime) -> pd.DataFrame:
        frame = people(rows, seed, at)
        return frame.assign(visits=frame["visits"] * (5 if at.weekday() == 6 else 1))

    days = [*DATES, *(DATES[-1] + timedelta(days=number) for number in range(1, 7))]
    matrices = {at: version.model.matrix(week(2_000, number, at)) for number, at in enumerate(days)}
    reference = made.of(version, {at: matrices[at] for at in DATES}, {at: matrices[at] for at in days[len(DATES) :]})
    sunday = TODAY + timedelta(days=6)
    assert TODAY.weekday() == 0
    assert see(version, reference, week(2_000, 999, sunday), sunday).findings == ()
    tuesday = TODAY + timedelta(days=1)
    assert [one.where for one in see(version, reference, week(2_000, 999, sunday), tuesday).findings] == ["visits"]


def test_the_same_entities_at_every_date_raise_nothing(version: Registered) -> None:
    """Rows of two dates are not independent: what somebody is now he was then, with little change."""
    base = people(2_000, 8)

    def later(number: int) -> np.ndarray:
        random = np.random.default_rng(number)
        return version.model.matrix(base.assign(usage=0.95 * base["usage"] + 0.31 * random.normal(size=len(base))))

    reference = made.of(version, {at: later(number) for number, at in enumerate(DATES)}, {})
    for seed in range(20):
        random = np.random.default_rng(500 + seed)
        frame = base.assign(usage=0.95 * base["usage"] + 0.31 * random.normal(size=len(base)))
        assert see(version, reference, frame).findings == ()


def test_what_always_varied_from_date_to_date_is_no_drift(version: Registered) -> None:
    """`hours` are multiplied by anything from a third to three, at random, at every date."""

    def vary(number: int, at: datetime) -> pd.DataFrame:
        factor = np.exp(np.random.default_rng(number).uniform(-1.1, 1.1))
        return people(2_000, number, at).assign(hours=lambda frame: frame["hours"] * factor)

    matrices = {at: version.model.matrix(vary(number, at)) for number, at in enumerate(DATES)}
    reference = made.of(version, matrices, {})
    found = [see(version, reference, vary(100 + number, TODAY)).findings for number in range(15)]
    assert sum(map(len, found)) <= 1
    beyond = people(2_000, 9).assign(hours=lambda frame: frame["hours"] * 500)
    assert [one.where for one in see(version, reference, beyond).findings] == ["hours"]


@pytest.mark.parametrize("dates", [1, 2])
def test_of_one_date_or_two_nothing_is_known_of_what_is_ordinary(version: Registered, dates: int) -> None:
    """Then more is asked of a shift before it is called one."""
    reference = known(version, 2_000, dates=DATES[-dates:])
    now = DATES[-1] + timedelta(days=14)
    frame = people(2_000, 3, now)
    assert see(version, reference, frame, now).findings == ()
    assert see(version, reference, frame.assign(usage=frame["usage"] + 0.55), now).findings == ()
    found = see(version, reference, frame.assign(usage=frame["usage"] + 2), now).findings
    assert {one.where for one in found} == {"usage", "score"}


def test_nobody_eligible_is_told_and_nothing_is_found(version: Registered, references: Callable[[int], Reference]) -> None:
    found = see(version, references(2_000), people(0, 1))
    assert (found.rows, found.findings, found.moved, found.scores) == (0, (), (), None)
    assert found.sentence == "Nobody is eligible, so nothing can have drifted."
    json.dumps(found.document(), allow_nan=False)


def test_since_when_is_the_first_night_of_those_that_lead_to_today(
    version: Registered, references: Callable[[int], Reference]
) -> None:
    reference, model = references(2_000), version.model

    def night(number: int, hours: float) -> tuple[datetime, pd.DataFrame]:
        at = TODAY - timedelta(days=number)
        return at, people(2_000, 40 + number, at).assign(hours=lambda frame: frame["hours"] * hours)

    nights = [night(5, 24), night(4, 1), night(3, 24), night(2, 24), night(1, 24)]
    before = tuple(look(model, reference, at, frame)[0] for at, frame in nights)
    found = see(version, reference, night(0, 24)[1], before=before).findings
    assert [one.since for one in found if one.where == "hours"] == [TODAY - timedelta(days=3)]
    assert found[0].sentence.startswith(f"hours since {TODAY - timedelta(days=3):%Y-%m-%d}: ")


def test_a_document_is_json_and_plots_are_svg(version: Registered, references: Callable[[int], Reference]) -> None:
    frame = people(2_000, 12)
    found = see(version, references(2_000), frame.assign(hours=frame["hours"] * 24))
    told = json.loads(json.dumps(found.document(), allow_nan=False))
    assert told["features"][0]["name"] == "hours"
    assert told["findings"][0]["where"] == "hours"
    drawn = multiples(found.moved[:4])
    assert drawn.startswith("<svg") and "hours" in drawn
    assert multiples(found.moved[:4]) == drawn
    assert multiples(()) == ""


def test_a_median_that_stayed_is_not_told(version: Registered, references: Callable[[int], Reference]) -> None:
    frame = people(2_000, 13)
    found = see(version, references(2_000), frame.assign(visits=frame["visits"] * 24))
    assert "of the rows are '4 and more'" in what_moved(next(one for one in found.moved if one.name == "visits"))


def test_a_line_is_not_drawn_on_for_ever(version: Registered) -> None:
    """A champion two years old, trained on twelve weeks: its short line excuses nothing, and what only grew older is no drift."""
    weeks = tuple(DATES[-1] + timedelta(weeks=number) for number in range(12))
    reference, now = known(version, 2_000, dates=weeks), weeks[-1] + timedelta(days=700)
    aged = people(2_000, 3, now).assign(lifetime_orders=people(2_000, 3, weeks[-1])["lifetime_orders"])
    stayed = aged.assign(known_for=people(2_000, 3, weeks[-1])["known_for"])
    assert [one.where for one in see(version, reference, stayed, now).findings] == []
    moved = stayed.assign(usage=stayed["usage"] + 1)
    assert {one.where for one in see(version, reference, moved, now).findings} == {"usage", "score"}
