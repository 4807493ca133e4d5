"""The limits of a model: what its report cannot promise, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from training.calibration import methods, recency
from training.result import Result

TARGET_CALIBRATION_ERROR = 0.03
WIDE = 0.08  # of an AUC's 95 % interval


def limits(result: Result) -> tuple[str, ...]:
    """Every limit that applies to a training, most important first."""
    return tuple(_all(result))


def _all(result: Result) -> Iterator[str]:
    yield from _time(result)
    yield from _calibration(result)
    yield from _width(result)
    yield from (
        f"Let pass: {leak.sentence.rstrip('.')}. The reason given: {leak.waived}." for leak in result.leaks if leak.waived
    )
    yield "It foresees and does not explain: that two things go together does not say that changing one changes the other."
    yield f"It is about {result.fitted.model.propensity.entity}s that fulfil the conditions above, and about nobody else."


def _time(result: Result) -> Iterator[str]:
    kind = result.selection.backtest.kind
    if kind == "entities":
        yield "The data know a single date: nothing says how the model keeps over time."
    if kind == "folds":
        yield "The history holds one test period: the figures are of that period, and the candidate was chosen without another."


def _calibration(result: Result) -> Iterator[str]:
    error = result.test["calibration_error"].value
    if error < TARGET_CALIBRATION_ERROR:
        return
    contract, test = result.fitted.model.contract, result.fitted.split.test
    said, happened = float(result.fitted.probability.mean()), float(result.data.labels[test].mean())
    rows, shift = result.fitted.split.calibration, result.selection.shift
    learned = float(np.average(result.data.labels[rows], weights=result.data.weights[rows]))
    yield (
        f"The probabilities are off by {error:.3f} in the mean, more than the {TARGET_CALIBRATION_ERROR} aimed at (chance alone "
        f"makes {result.test.chance_calibration_error:.3f}): they say {said:.1%} on average, and {happened:.1%} happened; it was "
        f"{learned:.1%} in the rows that were calibrated on. Tried: {_tried(result)} calibration, of "
        f"which {contract.calibration.method} is the simplest that none beats by more than two standard errors of the log loss "
        "held out"
        f"{'; and a correction of the base rate. ' + shift.sentence if shift else '.'}"
    )


def _tried(result: Result) -> str:
    """The methods of calibration that rows of that number can carry."""
    data, split = result.data, result.fitted.split
    labels, as_of = data.labels[split.calibration], data.frame["as_of"][split.calibration]
    *simpler, last = methods(labels, recency(as_of, labels, split.horizon) * data.weights[split.calibration])
    return f"{', '.join(simpler)} and {last}"


def _width(result: Result) -> Iterator[str]:
    auc = result.test["auc"]
    if auc.high - auc.low > WIDE:
        yield (
            f"Little is known: {result.test.positives:,} positives leave the AUC anywhere from {auc.low:.3f} to {auc.high:.3f}. "
            "A longer history or more entities would narrow it."
        )
