"""Tuning: seeded, resumable, and never worse than the defaults on the folds it is judged by."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from features.propensity import Tuning
from tests.training.panels import DTYPES, panel
from training.boosting import defaults
from training.examples import Examples
from training.tune import tune


def examples(seed: int = 0) -> Examples:
    data = panel(dates=1, entities=200, seed=seed)
    return Examples.of(data.frame, data.labels, DTYPES)


def test_the_first_trial_is_the_defaults_and_the_best_is_no_worse(tmp_path):
    rows = examples()
    tuned = tune(tmp_path, "churn", rows, Tuning(trials=4))
    first = tuned.attempts[0]
    known = defaults(rows.rows, len(rows.features), rows.rarer)
    assert {name: first.parameters[name] for name in ("num_leaves", "max_depth", "feature_fraction")} == {
        name: known[name] for name in ("num_leaves", "max_depth", "feature_fraction")
    }
    finished = [attempt for attempt in tuned.attempts if attempt.loss is not None]
    best = min(finished, key=lambda attempt: attempt.loss)
    assert tuned.parameters == best.parameters and best.loss <= first.loss
    assert all(attempt.started <= attempt.ended for attempt in tuned.attempts)


def test_an_interrupted_study_goes_on_and_ends_as_one_that_was_not(tmp_path):
    ticks: list[int] = []
    whole = tune(tmp_path / "whole", "churn", examples(), Tuning(trials=4))
    tune(tmp_path / "part", "churn", examples(), Tuning(trials=2))
    part = tune(tmp_path / "part", "churn", examples(), Tuning(trials=4), ticks.append)
    assert [(a.parameters, a.loss) for a in part.attempts] == [(a.parameters, a.loss) for a in whole.attempts]
    assert ticks[0] == 2 and sum(ticks) == 4, "the progress bar begins where the search goes on"


def test_a_search_that_was_interrupted_in_its_first_trial_begins_with_the_defaults_again(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("training.tune.cross_validate", interrupted)
        tune(tmp_path, "churn", examples(), Tuning(trials=1))
    again = tune(tmp_path, "churn", examples(), Tuning(trials=2))
    untouched = tune(tmp_path / "other", "churn", examples(), Tuning(trials=2))
    assert [(a.number, a.parameters, a.loss) for a in again.attempts] == [
        (a.number, a.parameters, a.loss) for a in untouched.attempts
    ]


def test_a_study_that_is_done_is_not_made_again_and_other_rows_begin_their_own(tmp_path):
    first = tune(tmp_path, "churn", examples(), Tuning(trials=2))
    again = tune(tmp_path, "churn", examples(), Tuning(trials=2))
    assert [a.ended for a in again.attempts] == [a.ended for a in first.attempts]
    other = tune(tmp_path, "churn", examples(seed=1), Tuning(trials=1))
    assert len(other.attempts) == 1


def test_minutes_end_a_search_without_a_number_of_trials(tmp_path):
    assert len(tune(tmp_path, "churn", examples(), Tuning(minutes=1e-9)).attempts) == 1


@pytest.mark.slow
def test_a_killed_search_loses_no_trial_that_was_finished(tmp_path):
    code = (
        "from pathlib import Path; from features.propensity import Tuning; from training.tune import tune; "
        "from tests.training.test_tune import examples; "
        f"tune(Path({str(tmp_path)!r}), 'churn', examples(), Tuning(trials=500))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    journal = tmp_path / "churn.journal"
    for _ in range(600):
        if journal.exists() and journal.read_text().count('"state": 1') + journal.read_text().count('"state":1') >= 2:
            break
        time.sleep(0.2)
    else:
        pytest.fail("no trial was finished")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    tuned = tune(tmp_path, "churn", examples(), Tuning(trials=3))
    assert len(tuned.attempts) >= 3
    uninterrupted = tune(tmp_path / "other", "churn", examples(), Tuning(trials=2))
    assert [a.loss for a in tuned.attempts[:2]] == [a.loss for a in uninterrupted.attempts]
