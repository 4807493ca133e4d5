"""The result of a training: everything that was found out, before it is written down and registered."""

from __future__ import annotations

from dataclasses import dataclass

from training.backtest import Backtest
from training.choice import Choice, Standing
from training.dataset import Dataset
from training.evaluation import Evaluation
from training.fitting import Fitted
from training.gates import Verdict
from training.leakage.finding import Finding


@dataclass(frozen=True)
class Result:
    """What a training found out.

    Attributes:
        data: the rows.
        backtest: every candidate at every origin.
        choice: which candidate was taken, and why.
        newest: every candidate on the newest test rows, which had no say in the choice.
        fitted: the model, and what it said about the test rows.
        test: the figures of those.
        verdict: the gates.
        leaks: what the leakage guard found; an error among them is waived.
    """

    data: Dataset
    backtest: Backtest
    choice: Choice
    newest: tuple[Standing, ...]
    fitted: Fitted
    test: Evaluation
    verdict: Verdict
    leaks: tuple[Finding, ...]
