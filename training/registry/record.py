"""What a training leaves in MLflow beside its model, and the words that describe a version there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

REPORT_FOLDER = "report"
REPORT_JSON, REPORT_HTML, REPORT_CARD = "report.json", "report.html", "card.md"
VERSION_MARK = "<!-- version -->"  # in a stored page, which is complete before its version gets a number


@dataclass(frozen=True)
class Child:
    """A part of a training that becomes a run nested in its run: a trial of the tuning, a candidate of the backtest.

    Attributes:
        name: of the run.
        parameters: name to value.
        metrics: name to number; one that is not a number is left out.
        tags: such as `state`.
        started, ended: when it was worked on.
    """

    name: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    started: datetime
    ended: datetime


@dataclass(frozen=True)
class Record:
    """What a run leaves behind beside the model.

    Attributes:
        parameters: name to value.
        metrics: `<split>_<figure>` to number.
        tags: of the run and of the version; `verdict` is `pass` or `fail`.
        report: the machine-readable report, with the verdict's gates.
        pages: further artifacts, path to content; the HTML report is `report/report.html`, with `VERSION_MARK` for the number.
        children: what becomes a nested run each.
    """

    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    report: Mapping[str, Any]
    pages: Mapping[str, str]
    children: Sequence[Child] = ()


def described(report: Mapping[str, Any]) -> str:
    """One line about a version, such as "pass: AUC 0.830 (0.810 to 0.846), tested 2018-01-01 to 2018-02-05"."""
    verdict, test = report.get("verdict", "no verdict"), report.get("test")
    if not test:
        return str(verdict)
    auc = f"AUC {test['auc']:.3f} ({test['auc_low']:.3f} to {test['auc_high']:.3f})"
    return f"{verdict}: {auc}, tested {test['from']} to {test['to']}"


def note(report: Mapping[str, Any]) -> str:
    """The Markdown that MLflow shows at the top of a run: the question, the line of `described`, a bullet a gate."""
    gates = [f"* {'passed' if gate['passed'] else '**failed**'}: {gate['sentence']}" for gate in report.get("gates", ())]
    return "\n\n".join(filter(None, (report.get("question"), described(report), "\n".join(gates))))
