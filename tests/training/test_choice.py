"""The choice: the simplest candidate that is not separable from the best."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from training.backtest import Backtest, Forecast
from training.calibration import sigmoid
from training.candidates import LIGHTGBM, LOGISTIC, RULE
from training.choice import against_rule, choose, standings

SEED = 1


def forecast_by(rows: int, noise: dict[str, float], periods: int = 2, kind: str = "origins") -> Backtest:
    """Forecasts that are the truth and so much noise in log-odds for each candidate."""
    random = np.random.default_rng(7)
    forecasts = []
    for period in range(periods):
        truth = random.normal(-1, 1.5, rows)
        labels = (random.random(rows) < sigmoid(truth)).astype(np.int8)
        said = {name: sigmoid(truth + random.normal(0, amount, rows)) for name, amount in noise.items()}
        forecasts.append(Forecast(f"period {period}", pd.Series([f"C{n}" for n in range(rows)]), labels, said, 0.3))
    candidates = tuple(one for one in (RULE, LOGISTIC, LIGHTGBM) if one.name in noise)
    return Backtest(kind, tuple(forecasts), forecasts[-1], candidates, (), rows, {}, True, ())


def test_a_candidate_that_is_plainly_better_is_taken():
    choice = choose(forecast_by(2_000, {"rule": 3.0, "logistic": 2.0, "lightgbm": 0.0}), "simplest", SEED)
    assert (choice.name, choice.best) == ("lightgbm", "lightgbm")
    assert "separable from every other" in choice.sentences[1]
    assert [standing.separable for standing in choice.standings] == [True, True, False]


def test_of_candidates_that_cannot_be_told_apart_the_simplest_is_taken_and_the_report_says_so():
    backtest = forecast_by(600, {"rule": 2.0, "logistic": 0.10, "lightgbm": 0.09})
    choice = choose(backtest, "simplest", SEED)
    assert choice.name == "logistic"
    assert "not separable" in choice.sentences[1]
    assert choose(backtest, "best", SEED).name == choice.best


def test_worse_in_log_loss_alone_is_separable_too():
    backtest = forecast_by(3_000, {"logistic": 0.0, "lightgbm": 0.0})
    for forecast in backtest.earlier:
        forecast.probability["logistic"] = forecast.probability["lightgbm"] ** 2  # the same order, much too low
    first = choose(backtest, "simplest", SEED).standings[0]
    assert first.auc_behind.value == 0
    assert first.separable


def test_pooled_figures_are_means_over_periods_and_differences_are_paired():
    backtest = forecast_by(800, {"rule": 2.0, "logistic": 0.5})
    rule, logistic = standings(backtest, backtest.earlier, SEED)
    positives = [forecast.labels.sum() for forecast in backtest.earlier]
    assert rule.auc.value == pytest.approx(np.average(rule.auc_by_period, weights=positives))
    assert logistic.auc_behind.value == logistic.auc_behind.low == logistic.auc_behind.high == 0
    assert rule.auc_behind.value == pytest.approx(rule.auc.value - logistic.auc.value)
    unpaired = (rule.auc.high - rule.auc.low) + (logistic.auc.high - logistic.auc.low)
    assert rule.auc_behind.high - rule.auc_behind.low < unpaired


def test_how_the_choice_was_made_is_said():
    for kind, words in (("origins", "earlier test periods"), ("folds", "too short"), ("entities", "drawn 2 times")):
        assert words in choose(forecast_by(400, {"rule": 1.0, "logistic": 0.5}, kind=kind), "simplest", SEED).sentences[0]


def test_against_the_rule_the_rule_itself_is_not_compared():
    newest = forecast_by(800, {"rule": 2.0, "logistic": 0.2}).newest
    difference = against_rule(newest, "logistic", SEED)
    assert difference is not None and difference.low > 0
    assert against_rule(newest, "rule", SEED) is None
