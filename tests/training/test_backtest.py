"""The backtest: nobody is forecast by what has seen it, and origins come before the newest test."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from features.errors import DataFloorError
from tests.training.panels import panel
from training import backtest
from training.candidates import CANDIDATES, LIGHTGBM, LOGISTIC, RULE, able, needed
from training.choice import standings
from training.split import folds, origins, split

HORIZON = timedelta(days=60)
SIMPLE = (RULE, LOGISTIC)


def test_every_origin_had_matured_before_its_test_and_its_test_before_the_newest():
    data = panel(dates=16)
    rows = data.frame
    newest, earlier = split(rows, data.labels, HORIZON), origins(rows, data.labels, HORIZON)
    begin = rows["as_of"][newest.test].min()
    assert len(earlier) == 3
    tested = [rows["as_of"][origin.test] for origin in earlier]
    assert all((dates + HORIZON <= begin).all() for dates in tested)
    assert all(first.max() < second.min() for first, second in pairwise(tested)), "side by side, oldest first"
    for origin, dates in zip(earlier, tested, strict=True):
        assert (rows["as_of"][origin.fit] + HORIZON <= dates.min()).all()
        assert (rows["as_of"][origin.calibration] + HORIZON <= dates.min()).all()


def test_a_history_too_short_for_an_origin_is_judged_inside_the_fitted_rows():
    data = panel(dates=4, days=30)
    divided = split(data.frame, data.labels, HORIZON)
    assert origins(data.frame, data.labels, HORIZON) == []
    tested = backtest.run(data, divided, [], SIMPLE)
    assert tested.kind == "folds"
    assert len(tested.earlier) == 5 and sum(len(forecast.labels) for forecast in tested.earlier) == divided.fit.sum()
    assert all(np.isfinite(one).all() for forecast in tested.earlier for one in forecast.probability.values())


def test_the_labels_of_the_newest_test_have_no_say_in_what_the_choice_is_made_by():
    data = panel(dates=12)
    divided, earlier = split(data.frame, data.labels, HORIZON), origins(data.frame, data.labels, HORIZON)
    turned = data.frame.copy()
    turned.loc[divided.test, "label"] = 1 - turned.loc[divided.test, "label"]
    first, second = (backtest.run(one, divided, earlier, SIMPLE) for one in (data, replace(data, frame=turned)))
    for before, after in zip(first.earlier, second.earlier, strict=True):
        assert all((before.probability[name] == after.probability[name]).all() for name in before.probability)
        assert (before.labels == after.labels).all()
    assert (first.newest.labels != second.newest.labels).all()


def test_no_forecast_depends_on_the_label_of_its_own_entity():
    """By entity: other labels for one fold's entities leave what is said about them as it was."""
    data = panel(dates=1, entities=500)
    divided = split(data.frame, data.labels, HORIZON)
    mine = folds(data.frame["entity_id"]) == 2
    turned = data.frame.copy()
    turned.loc[mine, "label"] = 1 - turned.loc[mine, "label"]
    first, second = (backtest.run(one, divided, [], SIMPLE) for one in (data, replace(data, frame=turned)))
    assert first.kind == "entities" and len(first.earlier) == 10
    for name in ("rule", "logistic"):
        assert (first.newest.probability[name][mine] == second.newest.probability[name][mine]).all()
        assert (first.newest.probability[name][~mine] != second.newest.probability[name][~mine]).any()


def test_the_second_draw_of_folds_is_another():
    entities = panel(dates=1, entities=500).frame["entity_id"]
    first, again = (folds(entities, salt=salt) for salt in backtest.SALTS)
    assert 0.1 < (first == again).mean() < 0.3


def test_the_progress_bar_is_told_of_every_candidate_that_is_fitted():
    for dates in (1, 12):
        data = panel(dates=dates)
        divided, earlier = split(data.frame, data.labels, HORIZON), origins(data.frame, data.labels, HORIZON)
        ticks: list[int] = []
        backtest.run(data, divided, earlier, SIMPLE, ticks.append)
        assert sum(ticks) == backtest.size(divided, earlier, SIMPLE) > 0


def test_too_few_of_the_rarer_class_for_trees_leave_the_simple_ones():
    assert [candidate.name for candidate in able(CANDIDATES, 49)] == ["rule", "naive-bayes", "logistic"]
    assert able(CANDIDATES, 50) == CANDIDATES


def test_a_mean_comes_with_what_it_is_made_of():
    assert [candidate.name for candidate in needed(CANDIDATES, "average")] == ["lightgbm", "logistic", "average"]
    assert needed(CANDIDATES, "lightgbm") == (LIGHTGBM,)
    with pytest.raises(KeyError):
        needed(CANDIDATES, "forest")


def test_very_many_rows_are_backtested_on_whole_entities_of_a_sample(monkeypatch):
    monkeypatch.setattr(backtest, "LEAST_FIT_ROWS", 600)
    monkeypatch.setattr(backtest, "TEST_ROWS", 200)
    monkeypatch.setattr(backtest, "RARER_ROWS", 50)
    data = panel(dates=8, entities=400)
    divided = split(data.frame, data.labels, HORIZON)
    tested = backtest.run(data, divided, [], SIMPLE)
    assert 100 < len(tested.newest.labels) < 300
    counts = tested.newest.entities.value_counts()
    assert counts.nunique() == 1, "an entity is in the sample at every date or at none"


def test_noise_is_ranked_as_noise_by_folds_of_entities():
    """Over all folds together noise would rank below chance, for a fold with few positives was learned from with many."""
    aucs = []
    for seed in range(8):
        data = panel(dates=1, entities=120, strength=0.0, seed=seed)
        frame = data.frame.assign(
            label=(np.arange(120) % 4 == 0).astype(np.int8), plan=None, age=np.nan, visits=data.frame["noise"]
        )
        noise = replace(data, frame=frame, dtypes={"visits": "number"})
        tested = backtest.run(noise, split(frame, noise.labels, HORIZON), [], (LOGISTIC,))
        aucs.append(standings(tested, tested.earlier, 0)[0].auc.value)
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.05)


def test_a_sample_holds_enough_of_a_rare_outcome(monkeypatch):
    monkeypatch.setattr(backtest, "LEAST_FIT_ROWS", 300)
    monkeypatch.setattr(backtest, "RARER_ROWS", 40)
    data = panel(dates=8, entities=1_000)
    rare = np.zeros(len(data.frame), dtype=np.int8)
    rare[::100] = 1
    data = replace(data, frame=data.frame.assign(label=rare))
    divided = split(data.frame, data.labels, HORIZON)
    rows = backtest.fitted_rows(data, divided, divided)
    assert data.labels[rows].sum() > 20 and rows.sum() > 1_000


def test_too_few_entities_of_an_outcome_are_refused_whatever_the_rows():
    data = panel(dates=30, entities=60)
    few = data.frame["entity_id"].isin([f"C{number}" for number in range(5)]).astype(np.int8)
    with pytest.raises(DataFloorError, match="10 entities with the outcome"):
        split(data.frame, few.to_numpy(), HORIZON)
