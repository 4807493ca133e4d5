"""Performance to be expected without labels, held against labels drawn as the probabilities say, and otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.settings import Settings, Workspace
from serving.monitor import estimate
from serving.monitor.estimate import FIGURES, LEAST_WEEKS, Check, Checked, Estimate
from serving.monitor.served import monday_of
from training.evaluation import Figure, Ranking

MONDAY = datetime(2018, 5, 14, tzinfo=UTC)


def said(rows: int, seed: int, spread: float = 1.2) -> np.ndarray:
    """Probabilities of about 15 % on average; the wider they are spread, the better they rank."""
    return 1 / (1 + np.exp(2 - spread * np.random.default_rng(seed).normal(size=rows)))


def made(probability: np.ndarray, at: datetime = MONDAY, checked: Check | None = None) -> Estimate:
    found = estimate.estimate(probability, at, checked)
    assert found is not None
    return found


def happened(probability: np.ndarray, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random(len(probability)) < probability).astype(np.int8)


def matured(
    probability: np.ndarray, labels: np.ndarray, at: datetime = MONDAY, version: str = "1", road: str = "batch"
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "entity_id": [f"C{number}" for number in range(len(labels))], "scored_at": pd.Timestamp(at), "road": road,
            "model_version": version, "probability": probability, "score": 50, "label": labels,
        }
    )  # fmt: skip


@pytest.mark.parametrize("rows", [300, 1_500, 6_000])
def test_the_expected_figures_are_the_expectation_of_what_happens(rows: int) -> None:
    probability = said(rows, 1)
    found = made(probability)
    drawn = [estimate.realised(probability, happened(probability, seed)) for seed in range(60)]
    for name in FIGURES:
        values = np.array([one[name] for one in drawn])
        assert found[name].value == pytest.approx(values.mean(), abs=5 * values.std() / np.sqrt(60) + 2 / rows)


def test_the_expected_auc_is_that_of_a_report() -> None:
    probability = said(1_000, 2)
    ranking = Ranking(probability, np.zeros(1_000, dtype=np.int8))
    assert made(probability)["auc"].value == pytest.approx(ranking.order_figures(np.ones(1_000))[2])


@pytest.mark.parametrize("rows", [500, 5_000])
def test_what_happens_lies_in_the_interval_as_often_as_it_says(rows: int) -> None:
    """95 % of 120 worlds, give or take chance."""
    inside = dict.fromkeys(FIGURES, 0)
    for seed in range(120):
        probability = said(rows, seed)
        found, came = made(probability), estimate.realised(probability, happened(probability, 1000 + seed))
        for name in FIGURES:
            inside[name] += found[name].low <= came[name] <= found[name].high
    assert all(107 <= number <= 119 for number in inside.values()), inside


def test_ties_count_half_a_pair() -> None:
    assert made(np.full(400, 0.2))["auc"].value == pytest.approx(0.5)
    assert made(np.full(400, 0.2))["lift_at_10pct"].value == pytest.approx(1.0)


@pytest.mark.parametrize("probability", [np.zeros(50), np.ones(50), np.r_[np.zeros(50), np.ones(50)], np.full(2, 0.5)])
def test_certain_probabilities_have_finite_figures(probability: np.ndarray) -> None:
    found = made(probability)
    assert all(np.isfinite([one.value, one.low, one.high]).all() for one in found.figures.values())
    assert all(one.low <= one.value <= one.high for one in found.figures.values())
    assert Estimate.model_validate_json(found.model_dump_json()) == found


def test_of_nobody_nothing_is_estimated() -> None:
    assert estimate.estimate(np.empty(0), MONDAY) is None
    assert estimate.estimate(np.array([0.3]), MONDAY) is None


def test_covariate_shift_is_seen_and_found() -> None:
    """Entities that the model can tell apart less well."""
    promised = Figure(made(said(5_000, 1))["auc"].value, 0.74, 0.80)
    assert estimate.finding(made(said(5_000, 9)), "churn", "3", promised) is None
    narrow = made(said(5_000, 9, spread=0.6))
    found = estimate.finding(narrow, "churn", "3", promised, (0.75, 0.78))
    assert found is not None
    assert (found.kind, found.severity, found.where, found.propensities) == ("estimate", "alarm", "version 3", ("churn",))
    assert "was promised" in found.sentence
    assert estimate.finding(narrow, "churn", "3", promised, (0.55, 0.78)) is None, "a reference date was like that"


def test_few_rows_are_no_finding_whatever_they_say() -> None:
    promised = Figure(0.72, 0.62, 0.82)
    assert estimate.finding(made(said(40, 3, spread=0.6)), "churn", "3", promised) is None


def test_concept_drift_is_not_seen_but_its_error_is_shown() -> None:
    """The same entities, of whom now others are the ones: the estimate stays, the check tells by how much it was wrong."""
    estimates, rows = [], []
    for number in range(10):
        at, probability = MONDAY + timedelta(weeks=number), said(3_000, number)
        estimates.append(made(probability, at))
        rows.append(matured(probability, happened(np.random.default_rng(number).permutation(probability), number), at))
    found = estimate.check(estimates, pd.concat(rows), "1")
    assert len(found.weeks) == 10
    assert min(one["auc"].value for one in estimates) > 0.7
    assert found.errors["auc"] == pytest.approx(0.5 - np.mean([one["auc"].value for one in estimates]), abs=0.02)
    assert found.coverage["auc"] == 0
    assert found.coverage["base_rate"] >= 0.8, "as many as were said, but others"
    assert "in 0 % of them inside its interval" in found.sentence
    wider = made(said(3_000, 50), checked=found)
    assert wider["auc"].low < 0.55
    assert wider["auc"].high == 1
    assert wider.widened["auc"] > 5
    assert wider["auc"].value == made(said(3_000, 50))["auc"].value


def test_where_estimates_held_the_interval_stays_nearly_as_it_is() -> None:
    estimates, rows = [], []
    for number in range(30):
        at, probability = MONDAY + timedelta(weeks=number), said(1_000, number)
        estimates.append(made(probability, at))
        rows.append(matured(probability, happened(probability, 300 + number), at))
    found = estimate.check(estimates, pd.concat(rows), "1")
    assert all(share >= 0.85 for share in found.coverage.values())
    assert all(abs(found.errors[name]) < 0.1 for name in FIGURES)
    assert max(estimate.widening(found).values()) < 2, "the largest of 30 errors is as large as that by chance"


def test_errors_of_few_weeks_widen_nothing() -> None:
    one = Checked(estimate=made(said(500, 1)), rows=500, realised=dict.fromkeys(FIGURES, 0.0))
    assert estimate.widening(Check(weeks=(one,) * (LEAST_WEEKS - 1))) == {}
    assert estimate.widening(Check(weeks=(one,) * LEAST_WEEKS))["auc"] > 1


def test_what_widened_an_interval_is_not_counted_twice() -> None:
    probability = said(500, 1)
    narrow = made(probability)
    checked = Check(weeks=(Checked(estimate=narrow, rows=500, realised={name: narrow[name].value + 1 for name in FIGURES}),) * 9)
    wide = made(probability, checked=checked)
    again = Check(weeks=(Checked(estimate=wide, rows=500, realised={name: wide[name].value + 1 for name in FIGURES}),) * 9)
    assert estimate.widening(again) == pytest.approx(estimate.widening(checked))


def test_only_the_rows_of_that_version_day_and_road_check_an_estimate_and_only_if_most_have_matured() -> None:
    probability = said(400, 1)
    labels, one = happened(probability, 1), made(probability)
    others = [
        matured(probability, labels, version="2"), matured(probability, labels, road="http"),
        matured(probability, labels, at=MONDAY + timedelta(days=1)), matured(probability, labels).head(310),
    ]  # fmt: skip
    for rows in (*others, pd.concat(others[:3]), matured(probability, labels).head(0), matured(probability, 0 * labels)):
        assert estimate.check([one], rows, "1") == Check()
    assert Check().sentence == "No estimate could be held against outcomes yet."
    assert estimate.check([one], matured(probability, labels).head(330), "1").weeks[0].rows == 330


def test_the_first_estimate_of_a_week_is_kept_and_the_others_are_not(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Settings())
    nothing = matured(np.empty(0), np.empty(0, dtype=np.int8))
    for days in (0, 3, 6, 7):
        at = MONDAY + timedelta(days=days)
        first, checked = estimate.weekly(workspace, "churn", "1", at, said(200, days), nothing)
        assert first is not None and first.as_of == at
        assert checked == Check()
    kept = estimate.kept(workspace, "churn", "1")
    assert [one.as_of for one in kept] == [MONDAY, MONDAY + timedelta(days=7)]
    assert estimate.kept(workspace, "churn", "2") == ()
    outcomes = matured(said(200, 7), happened(said(200, 7), 1), kept[1].as_of)
    for at, weeks in [(kept[1].as_of, 0), (kept[1].as_of + timedelta(microseconds=1), 1)]:
        assert len(estimate.weekly(workspace, "churn", "1", at, said(200, 8), outcomes)[1].weeks) == weeks, "earlier ones only"
    assert f"{monday_of(MONDAY + timedelta(days=7) - timedelta(microseconds=1)):%Y-%m-%d}" == "2018-05-14"
    estimate.place(workspace, "churn", "1").write_text("{", encoding="utf-8")
    assert estimate.kept(workspace, "churn", "1") == ()
