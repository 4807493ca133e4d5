"""The promise held against matured outcomes: right scores raise no alarm, broken ones are found, and few rows say so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from serving.monitor.figures import SHOWN, figures
from serving.monitor.matured import Coverage
from serving.monitor.performance import Performance, performance
from serving.monitor.promise import FALSE_A_YEAR, LOOKS, WINDOWS, Promise, Window, judge, strict
from tests.serving.monitor.worlds import DAY, HORIZON, MONDAY

ROWS = 800  # a week
WEEKS = 24


def people(rows: int, seed: int) -> pd.DataFrame:
    """What the model says of them, and what is true: the same."""
    random = np.random.default_rng(seed)
    probability = random.beta(1, 7, rows).clip(0.001, 0.999)
    return pd.DataFrame({"probability": probability, "truth": probability, "entity_id": np.arange(rows).astype(str)})


def promised(seed: int = 0, rows: int = 6_000) -> Promise:
    """The promise of a report, drawn as every week is."""
    test = people(rows, seed)
    labels = (np.random.default_rng(seed + 1).random(rows) < test["truth"]).to_numpy().astype(np.int8)
    found = figures(test["probability"].to_numpy(), labels, np.arange(rows))
    bounds = {f"{name}_{side}": getattr(found[name], side) for name in SHOWN for side in ("low", "high")}
    counted = {"rows": found.rows, "positives": found.positives, "entities": found.entities}
    made = Promise.of({"test": {**{name: found[name].value for name in SHOWN}, **bounds, **counted}})
    assert made is not None
    return made


def served(week: int, seed: int, **broken: float) -> pd.DataFrame:
    """One week of matured rows; `noise` hides the truth from the model, `more` is how much more often the outcome happens."""
    rows, random = people(ROWS, seed), np.random.default_rng(seed + 1_000_000)
    truth = np.minimum(rows["truth"] * broken.get("more", 1.0), 1.0)
    said = rows["probability"].to_numpy()
    shuffled = random.random(ROWS) < broken.get("noise", 0.0)
    said[shuffled] = random.permutation(said[shuffled])
    monday = MONDAY + 7 * week * DAY
    return pd.DataFrame(
        {"entity_id": rows["entity_id"], "scored_at": pd.Series([monday] * ROWS).astype("datetime64[us, UTC]"), "road": "batch",
         "model_version": "3", "probability": said, "score": 50,
         "label": (random.random(ROWS) < truth).astype(np.int8)}
    )  # fmt: skip


def known(week: int, waiting: int = 0, given: int = ROWS) -> Coverage:
    monday = MONDAY + 7 * week * DAY
    return Coverage(
        monday=monday, given=given, matured=given - waiting, waiting=waiting, unlabelled=0,
        next_at=monday + HORIZON if waiting else None, settled=False, question="", made_from="",
    )  # fmt: skip


def judged(promise: Promise | None, weeks: Sequence[pd.DataFrame], coverage: Sequence[Coverage] = ()) -> Performance:
    rows = pd.concat(weeks, ignore_index=True) if weeks else served(0, 0)[:0]
    told = coverage or [known(week) for week in range(len(weeks))]
    until = MONDAY + 7 * len(told) * DAY + HORIZON
    return performance("churn", "3", promise, rows, told, HORIZON, until)


def test_right_scores_of_50_half_years_raise_no_more_false_findings_than_stated() -> None:
    """Stated: each kind with a probability of 5 % a year at most, that is 2.5 % in half a year: of 150 fewer than 4 expected.

    A look at the newest thirteen weeks is made at every fourth week: it holds the windows of one and four weeks, too.
    """
    found: list[str] = []
    for seed in range(50):
        promise, weeks = promised(9_000_000 + 7 * seed), [served(week, 1_000 * seed + week) for week in range(WEEKS)]
        ends = range(4, WEEKS + 1, 4)
        found += {
            one.kind for end in ends for one in judge("churn", "3", promise, [window(weeks[:end], size) for size in WINDOWS])
        }
    assert len(found) <= 3, found


def window(weeks: Sequence[pd.DataFrame], size: int) -> Window:
    rows = pd.concat(weeks[-size:])
    shown = figures(rows["probability"].to_numpy(), rows["label"].to_numpy(), rows["entity_id"].astype(int).to_numpy())
    return Window(MONDAY, size, shown, MONDAY + 7 * size * DAY)


@pytest.mark.parametrize(
    ("broken", "kinds"),
    [
        ({"noise": 0.5}, {"performance"}),
        ({"more": 2.0}, {"calibration", "base_rate"}),
        ({"more": 0.4}, {"calibration", "base_rate"}),
    ],
)
def test_a_broken_model_is_found_in_its_first_weeks(broken: dict[str, float], kinds: set[str]) -> None:
    weeks = [served(week, week) for week in range(6)] + [served(week, week, **broken) for week in range(6, 9)]
    assert judged(promised(), weeks[:6]).findings == ()
    found = {one.kind: one for one in judged(promised(), weeks).findings}
    assert kinds <= set(found) and all(found[kind].severity == "alarm" for kind in kinds)
    assert all(one.where == "version 3" and one.repair and one.since for one in found.values())


def test_weeks_that_lie_a_month_apart_are_not_told_as_if_they_followed_each_other() -> None:
    figures_of_one = window([served(0, 0)], 1).figures
    assert Window(MONDAY, 4, figures_of_one, MONDAY + 28 * DAY).told == f"the 4 weeks from {MONDAY:%Y-%m-%d} on"
    monthly = [served(week, week, more=2.0) for week in (0, 4, 8, 12)]
    found = judged(promised(), monthly, [known(week) for week in (0, 4, 8, 12)])
    assert found.window is not None
    assert found.window.told == f"the 4 weeks with scores between {MONDAY:%Y-%m-%d} and {MONDAY + 91 * DAY:%Y-%m-%d}"


def test_slow_decay_shows_in_many_weeks_though_in_no_single_one() -> None:
    weeks = [served(week, 50 + week, noise=0.18) for week in range(13)]
    found = {one.kind: one for one in judged(promised(rows=60_000), weeks).findings}
    assert found["performance"].figures["weeks"] == 13 and found["performance"].since == MONDAY


def test_a_difference_that_is_certain_but_small_raises_nothing() -> None:
    weeks = [served(week, week, more=1.15) for week in range(13)]
    assert judged(promised(rows=60_000), weeks).findings == ()


def test_the_level_of_a_look_is_that_of_a_year_divided_by_all_of_them() -> None:
    from scipy.stats import norm

    assert norm.sf(strict()) * LOOKS * len(WINDOWS) == pytest.approx(FALSE_A_YEAR)
    assert 2 * norm.sf(strict(sides=2)) * LOOKS * len(WINDOWS) == pytest.approx(FALSE_A_YEAR)


def test_too_few_outcomes_say_so_and_when_there_will_be_enough() -> None:
    (note,) = judged(promised(), [served(0, 0)[:60]], [known(0), known(1, waiting=60), known(2, waiting=200)]).findings
    assert note.severity == "note" and "cannot be told yet" in note.sentence
    assert f"{MONDAY + 21 * DAY + HORIZON:%Y-%m-%d}" in note.sentence


def test_a_week_of_negatives_alone_has_figures_and_no_verdict() -> None:
    found = judged(promised(), [served(0, 0).assign(label=np.int8(0))])
    assert found.weeks[0].figures["happened"].value == 0 and "auc" not in found.weeks[0].figures.figures
    assert [one.severity for one in found.findings] == ["note"]


def test_without_any_score_it_says_so() -> None:
    found = performance("churn", "3", promised(), served(0, 0)[:0], (), HORIZON, MONDAY)
    assert found.whole is None and found.matured_until is None and "no score has been given" in found.findings[0].sentence


def test_without_a_promise_there_is_nothing_to_hold_it_against() -> None:
    found = judged(None, [served(0, 0)])
    assert found.whole is not None and "promises nothing" in found.findings[0].sentence


def test_another_version_is_shown_and_not_judged() -> None:
    old = [served(week, week, noise=1.0).assign(model_version="2") for week in range(2)]
    found = judged(promised(), [*old, served(1, 9), served(2, 10)], [known(week) for week in range(3)])
    assert list(found.versions) == ["2", "3"] and found.findings == ()
    assert [(one.monday, one.version) for one in found.weeks][1:3] == [(MONDAY + 7 * DAY, "2"), (MONDAY + 7 * DAY, "3")]


def test_a_week_in_which_a_score_still_waits_is_not_judged() -> None:
    weeks = [served(0, 0), served(1, 1, noise=1.0)]
    found = judged(promised(), weeks, [known(0), known(1, waiting=1)])
    assert found.findings == () and found.window is not None and found.window.weeks == 1
    assert found.matured_until == MONDAY + 14 * DAY  # up to when outcomes are recorded, less the horizon
    assert judged(promised(), weeks).findings != ()


def test_a_week_that_is_not_over_is_not_judged_though_its_horizon_is_short() -> None:
    rows, week = served(0, 0, noise=1.0), known(0)
    early = performance("churn", "3", promised(), rows, [week], timedelta(days=1), MONDAY + 7 * DAY - timedelta(microseconds=1))
    assert early.window is None
    assert performance("churn", "3", promised(), rows, [week], timedelta(days=1), MONDAY + 7 * DAY).window is not None
