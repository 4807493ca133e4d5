from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from features.propensity import Propensity
from tests.training.panels import panel
from training import backtest
from training.candidates import LOGISTIC, RULE
from training.fitting import fit
from training.split import split

QUESTION = Propensity.model_validate(
    {"name": "churn", "question": "?", "entity": "customer", "horizon": "30d", "outcome": {"absent": "orders"}}
)
HORIZON = timedelta(days=30)


@pytest.mark.parametrize("name", ["rule", "naive-bayes", "logistic", "lightgbm", "average"])
def test_the_model_says_what_the_backtest_tested_whatever_its_family(name):
    data = panel(dates=4)
    divided = split(data.frame, data.labels, HORIZON)
    tested = backtest.run(data, divided, [])
    fitted = fit(data, QUESTION, divided, tested, name)
    assert (fitted.probability == tested.newest.probability[name]).all()
    assert (fitted.model.probability(fitted.model.matrix(data.frame[divided.test])) == fitted.probability).all()
    assert fitted.model.contract.candidate == name
    assert fitted.model.percentile(np.array([0.0, 1.0])).tolist() == [0.0, 1.0]


def test_a_backtest_on_a_sample_leaves_the_model_to_be_fitted_on_every_row(monkeypatch):
    monkeypatch.setattr(backtest, "LEAST_FIT_ROWS", 400)
    monkeypatch.setattr(backtest, "RARER_ROWS", 50)
    data = panel(dates=4)
    divided = split(data.frame, data.labels, HORIZON)
    tested = backtest.run(data, divided, [])
    assert not tested.whole
    fitted = fit(data, QUESTION, divided, tested, "average")
    assert fitted.model.contract.windows["train"].rows == divided.fit.sum() > 400
    assert fitted.model.contract.members == ("model-1.txt", "model-2.json")
    assert len(fitted.probability) == divided.test.sum()


def test_of_a_single_date_the_figures_are_of_models_that_did_not_see_the_entity():
    data = panel(dates=1, entities=600)
    divided = split(data.frame, data.labels, HORIZON)
    tested = backtest.run(data, divided, [], (RULE, LOGISTIC))
    fitted = fit(data, QUESTION, divided, tested, "logistic")
    assert (fitted.probability == tested.newest.probability["logistic"]).all()
    seen = fitted.model.probability(fitted.model.matrix(data.frame))
    assert (seen != fitted.probability).any()
