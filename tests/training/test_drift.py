"""Drift: what tells new rows from old ones is named, and leaving it out is judged on the same rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.propensity import Propensity
from tests.training.conftest import QUIET
from tests.training.panels import panel
from training import backtest
from training.candidates import LOGISTIC, RULE
from training.dataset import Dataset
from training.drift import ablation, adversarial, drift
from training.selection import select
from training.split import origins, split

HORIZON = timedelta(days=30)
QUESTION = {"name": "churn", "question": "?", "entity": "customer", "horizon": "30d", "outcome": {"absent": "orders"}}


def drifting(turning: bool) -> Dataset:
    """`noise` spreads with time; if it is turning, it goes with the outcome until the fourth month and against it after."""
    data = panel(dates=12, entities=250, strength=0.6)
    frame = data.frame.copy()
    month = ((frame["as_of"] - frame["as_of"].min()).dt.days / 30).round().to_numpy()
    frame["noise"] *= 0.5 + month / 2
    if turning:
        frame["noise"] += np.where(month < 4, 1.0, -1.0) * (frame["label"] - 0.5) * (0.5 + month / 2) * 2
    return replace(data, frame=frame, views={"orders": ("visits", "noise"), "profile": ("age", "plan"), "empty": ()})


def test_a_feature_that_moved_is_named_and_others_are_not():
    data = drifting(turning=False)
    auc, features = adversarial(data, split(data.frame, data.labels, HORIZON))
    assert auc > 0.65
    assert list(features) == ["noise"]


def test_rows_that_did_not_change_are_not_told_apart():
    data = panel(dates=12, entities=250)
    auc, _ = adversarial(data, split(data.frame, data.labels, HORIZON))
    assert auc == pytest.approx(0.5, abs=0.06)


def test_no_label_is_looked_at():
    data = drifting(turning=False)
    divided = split(data.frame, data.labels, HORIZON)
    turned = replace(data, frame=data.frame.assign(label=1 - data.frame["label"]))
    assert adversarial(turned, divided) == adversarial(data, divided)


def test_a_single_date_cannot_drift():
    data = panel(dates=1, entities=600)
    divided = split(data.frame, data.labels, HORIZON)
    tested = backtest.run(data, divided, [], (RULE,))
    assert drift(data, divided, tested, "rule", 0) is None


def test_the_newest_period_without_each_view():
    data = drifting(turning=False)
    divided = split(data.frame, data.labels, HORIZON)
    tested = backtest.run(data, divided, [], (RULE, LOGISTIC))
    without = ablation(data, divided, tested, "logistic", data.views, 0)
    assert set(without) == {"orders", "profile"}, "a view without a feature is not left out again"
    assert without["orders"].value < without["profile"].value < 0.05
    assert without["orders"].high < 0


def test_leaving_out_is_told_and_decided_by_the_backtest(tmp_path: Path):
    data = drifting(turning=True)
    kept = Propensity.model_validate({**QUESTION, "choice": {"not_separable": "best"}})
    free = Propensity.model_validate({**QUESTION, "choice": {"not_separable": "best", "drifting": "backtest"}})
    first, second = (select(data, question, tmp_path, QUIET) for question in (kept, free))
    assert "noise" in first.fitted.model.columns and first.without_drifting is None
    assert first.drift is not None and first.drift.newest is not None
    word = "better" if first.drift.newest.value > 0 else "worse"
    assert f"{abs(first.drift.newest.value):.3f} {word}" in first.drift_sentences[0]
    assert second.without_drifting is not None and second.without_drifting.low > 0
    assert second.drift_sentences[1].endswith("they are left out.")
    assert second.fitted.model.columns == tuple(name for name in data.dtypes if name != "noise")
    assert (second.fitted.probability == second.backtest.newest.probability[second.choice.name]).all()


def test_where_it_does_not_pay_nothing_is_left_out(tmp_path: Path):
    data = drifting(turning=False)
    question = Propensity.model_validate({**QUESTION, "choice": {"drifting": "backtest"}})
    selection = select(data, question, tmp_path, QUIET)
    assert selection.drift is not None and "noise" in selection.drift.features
    assert selection.without_drifting is not None and selection.without_drifting.low <= 0
    assert selection.drift_sentences[1].endswith("they are kept.")
    assert selection.fitted.model.columns == tuple(data.dtypes)
    assert origins(data.frame, data.labels, HORIZON)
    assert isinstance(selection.fitted.probability, np.ndarray) and not pd.isna(selection.fitted.probability).any()
