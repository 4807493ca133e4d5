"""The benchmarks compare what they say they compare: no contender sees an outcome, and all see the same rows."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.comparison import CHOICE, compare
from benchmarks.contenders import plain_lightgbm, plain_logistic, run, tasks
from benchmarks.quality import section, summary
from benchmarks.questions import BANK_LEAK, Question, bank, bank_by_rows, complete_journey, maven
from benchmarks.training_cost import QUESTION, cost, made_up
from features.propensity import Outcome, Propensity
from tests.training.conftest import QUIET
from training.dataset import Dataset
from training.split import split

DAY = pd.Timedelta(days=1)


def question(dates: int, people: int = 300) -> Question:
    """A table of a few dates in which `x` tells the outcome in part, and `kind` has a value that only the newest date knows."""
    random = np.random.default_rng(1)
    rows = dates * people
    x = random.normal(size=rows)
    month = np.repeat(np.arange(dates), people)
    frame = pd.DataFrame(
        {
            "entity_id": [f"P{number}" for number in np.tile(np.arange(people), dates)],
            "as_of": pd.Timestamp("2024-01-01", tz="UTC") + month * 30 * DAY,
            "label": (random.random(rows) < 1 / (1 + np.exp(1 - 2 * x))).astype(np.int8),
            "x": np.where(random.random(rows) < 0.1, np.nan, x),
            "kind": np.where(month == dates - 1, "new", random.choice(["a", "b"], rows)),
        }
    )
    asked = Propensity(
        name="x", question="?", entity="lead", horizon=timedelta(days=30), outcome=Outcome(table="leads")
    )  # fmt: skip
    return Question("x", asked, Dataset(frame, {"x": "number", "kind": "category"}, (), {}, ""), "?")


@pytest.mark.parametrize("dates", [1, 6])
def test_rivals_are_given_foresells_rows_and_no_labels_of_the_test(dates: int) -> None:
    asked = question(dates)
    divided = split(asked.data.frame, asked.data.labels, asked.propensity.horizon)
    given = tasks(asked, divided)
    assert np.array_equal(np.sum([task.tested for task in given], axis=0), divided.test)
    for task in given:
        assert list(task.test) == ["x", "kind"]
        if dates > 1:
            assert len(task.train) == divided.fit.sum()
        entities = asked.data.frame["entity_id"]
        known = set(entities[task.train.index])
        assert dates > 1 or known.isdisjoint(entities[task.tested])


@pytest.mark.parametrize("predict", [plain_lightgbm, plain_logistic])
def test_plain_models_stand_categories_they_have_not_seen(predict) -> None:
    asked = question(6)
    divided = split(asked.data.frame, asked.data.labels, asked.propensity.horizon)
    said = run(tasks(asked, divided), predict)
    assert len(said.probability) == divided.test.sum() and np.all((said.probability > 0) & (said.probability < 1))


@pytest.mark.slow
def test_a_comparison_tells_the_choice_from_its_rivals(tmp_path: Path) -> None:
    found = compare(question(6), tmp_path, None, False, QUIET)
    assert found.ours.contender == CHOICE and found.ours.differences["auc"].value == 0
    assert [row.contender for row in found.rivals] == ["plain LightGBM", "plain logistic regression"]
    chosen = next(row for row in found.table if row.contender == f"· {found.choice}")
    assert chosen.auc == found.ours.auc
    assert f"| {CHOICE} | {found.ours.auc:.3f} |" in section(found)
    assert f"| x | {found.fitted.rate:.3f} to {found.tested.rate:.3f}" in summary([found])


@pytest.mark.real_data
def test_bank_marketing_is_in_time_order_and_without_its_leak(shared_data: Path) -> None:
    asked = bank_by_rows(shared_data, Path())
    frame = asked.data.frame
    assert BANK_LEAK not in frame and "y" not in frame
    assert len(frame) == 45_211 and frame["as_of"].is_monotonic_increasing
    assert (frame["as_of"].min().year, frame["as_of"].max().year) == (2008, 2010)
    divided = split(frame, asked.data.labels, asked.propensity.horizon)
    assert 0.18 < divided.test.mean() < 0.22
    called = bank(shared_data)["day_called"]
    assert called.is_monotonic_increasing
    assert frame.groupby(called)["as_of"].nunique().max() == 1, "a day is in two batches"
    assert (frame["as_of"].dt.tz_localize(None) <= called).all()


@pytest.mark.real_data
def test_a_campaign_is_foreseen_from_what_happened_before_it(shared_data: Path, tmp_path: Path) -> None:
    """Purchases and redemptions at the very instant a campaign begins change no feature of it."""
    before = complete_journey(shared_data, Path()).data.frame
    shutil.copytree(shared_data / "complete_journey", tmp_path / "complete_journey")
    start = before["as_of"].max()
    one = before[before["as_of"] == start].iloc[0]
    for file, column in (("transactions_sample", "transaction_timestamp"), ("coupon_redemptions", "redemption_date")):
        path = tmp_path / "complete_journey" / f"{file}.parquet"
        path.chmod(0o644)
        rows = pd.read_parquet(path)
        at = start.tz_localize(None) if column == "transaction_timestamp" else start.date()
        more = rows.head(5).assign(household_id=one["entity_id"], **{column: at})
        pd.concat([rows, more], ignore_index=True).to_parquet(path)
    after = complete_journey(tmp_path, Path()).data.frame
    pd.testing.assert_frame_equal(before.drop(columns="label"), after.drop(columns="label"))


@pytest.mark.real_data
def test_made_up_data_are_marked(shared_data: Path) -> None:
    asked = maven(shared_data, Path())
    assert not asked.quotable
    assert {"deal_stage", "close_date", "close_value"}.isdisjoint(asked.data.frame.columns)


@pytest.mark.slow
def test_the_cost_of_a_training_is_measured_on_the_rows_it_fitted(tmp_path: Path) -> None:
    data = made_up(rows=6_000, features=12)
    found = cost(data, tmp_path)
    assert found.rows == split(data.frame, data.labels, QUESTION.horizon).fit.sum()
    assert 0 < sum(spent.clock for spent in found.stages.values()) < found.total.clock
    assert 0 < found.bare.clock < found.total.clock
