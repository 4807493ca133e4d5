"""The parts of a training that become runs nested in its MLflow run: each candidate of the backtest, each trial of the tuning."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from training.choice import Standing
from training.registry import Child
from training.selection import Selection
from training.tune import Attempt


def children(selection: Selection, at: datetime) -> list[Child]:
    """One for each candidate, then one for each trial in order.

    Args:
        selection: what was tried.
        at: when the training was made; candidates are dated by it, trials by their own times.
    """
    return [*_candidates(selection, at), *(_trial(attempt) for attempt in (selection.tuned.attempts if selection.tuned else ()))]


def _candidates(selection: Selection, at: datetime) -> Iterator[Child]:
    for standing, newest in zip(selection.choice.standings, selection.newest, strict=True):
        fit = selection.backtest.fits.get(standing.name)
        parameters = fit.learned.parameters if fit else {}
        tags = {"kind": "candidate", "chosen": str(standing.name == selection.choice.name).lower(), "words": standing.words}
        yield Child(f"candidate {standing.name}", parameters, _metrics(standing, newest), tags, at, at)


def _metrics(earlier: Standing, newest: Standing) -> dict[str, float]:
    return {
        "backtest_auc": earlier.auc.value,
        "backtest_log_loss": earlier.log_loss.value,
        "backtest_calibration_error": earlier.calibration_error,
        "backtest_auc_behind_best": earlier.auc_behind.value,
        "test_auc": newest.auc.value,
        "test_log_loss": newest.log_loss.value,
        "test_calibration_error": newest.calibration_error,
    }


def _trial(attempt: Attempt) -> Child:
    metrics = {} if attempt.loss is None else {"log_loss": attempt.loss}
    tags = {"kind": "trial", "state": "pruned" if attempt.loss is None else "complete"}
    return Child(f"trial {attempt.number}", attempt.parameters, metrics, tags, attempt.started, attempt.ended)
