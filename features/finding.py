"""A finding: one thing that monitoring says about tables, features, scores or models; and the health of a propensity.

They are what the rooms tell each other: `foresell monitor` writes `data/monitor/health/NAME.json`, `foresell retrain` reads it.
"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from features.catalog import write_atomically
from features.settings import Workspace
from features.strict import Strict

Severity = Literal["note", "warning", "alarm"]
Subject = Literal["data", "feature", "score", "model"]
Kind = Literal[
    "volume",  # a table brought far more or fewer rows than it does
    "stopped",  # a table brings nothing any more
    "late",  # its newest row is older than it ever was
    "schema",  # a column came, went or changed its type
    "category",  # a column has a value that was never there
    "constant",  # a column has one value since
    "empty",  # a column is missing far more often
    "scale",  # the numbers of a column are of another size: another unit
    "drift",  # a feature is distributed otherwise
    "missing",  # a feature is missing more often than it was
    "unseen",  # a feature has categories that the model does not know
    "score",  # the scores are distributed otherwise
    "base_rate",  # the outcome happens more or less often
    "estimate",  # the performance that is expected without labels has fallen
    "performance",  # matured outcomes: it ranks worse than the report promised
    "calibration",  # matured outcomes: its probabilities are off
]


class Finding(Strict):
    """One thing that was found.

    Attributes:
        kind, subject: what it is.
        severity: only an `alarm` is sent to somebody; a `warning` stands in the report; a `note` explains.
        where: `table`, `table.column`, a feature's name, `score` or `version N`.
        propensities: those that it touches.
        sentence: what was found, with its figures, in one sentence that a manager understands.
        repair: what may be done about it; empty where nothing can.
        since: the first instant at which it shows (UTC), where that can be told.
        figures: the numbers behind the sentence, by name; one that JSON cannot hold is left out.
    """

    kind: Kind
    subject: Subject
    severity: Severity
    where: str
    propensities: tuple[str, ...]
    sentence: str
    repair: str = ""
    since: datetime | None = None
    figures: dict[str, float] = Field(default_factory=dict)

    @field_validator("figures")
    @classmethod
    def _are_finite(cls, figures: dict[str, float]) -> dict[str, float]:
        return {name: figure for name, figure in figures.items() if math.isfinite(figure)}

    @property
    def key(self) -> str:
        """What makes it the same finding as yesterday's, whatever its figures and its severity.

        A table is the same whomever it touches: a champion that comes or goes ends no alarm of it.
        """
        return f"{self.kind}:{self.where}:{'' if self.subject == 'data' else ','.join(self.propensities)}"


class Health(Strict):
    """What is known of one propensity on one day.

    Attributes:
        propensity, as_of: which question, on which day (UTC).
        version: the version that serves; None where there is no champion.
        matured_until: outcomes of scores given before this instant are known; None where none is.
        findings: those that touch the propensity, gravest first.
    """

    propensity: str
    as_of: datetime
    version: str | None
    matured_until: datetime | None
    findings: tuple[Finding, ...]

    @property
    def alarms(self) -> tuple[Finding, ...]:
        return tuple(one for one in self.findings if one.severity == "alarm")


def health_path(workspace: Workspace, propensity: str) -> Path:
    """Where the health of a propensity lies."""
    return workspace.watch / "health" / f"{propensity}.json"


def write_health(workspace: Workspace, health: Health) -> None:
    """Keep it, in place of the one before."""
    write_atomically(health_path(workspace, health.propensity), (health.model_dump_json(indent=1) + "\n").encode())


def read_health(workspace: Workspace, propensity: str) -> Health | None:
    """The newest health of a propensity; None where nobody has looked yet, or another release did."""
    try:
        return Health.model_validate_json(health_path(workspace, propensity).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
