"""The result of a training: everything that was found out, before it is written down and registered."""

from __future__ import annotations

from dataclasses import dataclass

from training.audit import Audit
from training.dataset import Dataset
from training.evaluation import Evaluation
from training.fitting import Fitted
from training.gates import Verdict
from training.leakage.finding import Finding
from training.selection import Selection


@dataclass(frozen=True)
class Result:
    """What a training found out.

    Attributes:
        data: the rows.
        selection: what was tried, and what was taken.
        test: the figures of the model on the test rows.
        verdict: the gates.
        leaks: what the leakage guard found; an error among them is waived.
        audit: of the model on the test rows.
    """

    data: Dataset
    selection: Selection
    test: Evaluation
    verdict: Verdict
    leaks: tuple[Finding, ...]
    audit: Audit

    @property
    def fitted(self) -> Fitted:
        """The model, and what it said about the test rows."""
        return self.selection.fitted
