"""An incident: what is wrong with a table or a column, before it is told which propensities it touches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from features.finding import Finding, Kind, Severity

_OF_SOMEBODY = re.compile(r"@|\d(?:[ ()/.+-]*\d){5}")  # an e-mail, a number of a telephone, an account or a person


@dataclass(frozen=True)
class Incident:
    """One incident.

    Attributes:
        kind, where, severity, sentence, repair, since, figures: as in the finding that it becomes.
        table: the canonical table.
        column: the column that alone is concerned; empty where rows are.
    """

    kind: Kind
    where: str
    table: str
    sentence: str
    repair: str
    since: datetime | None
    figures: Mapping[str, float]
    severity: Severity = "alarm"
    column: str = ""

    def finding(self, propensities: tuple[str, ...]) -> Finding:
        """The finding; what touches no propensity is no alarm."""
        severity = "warning" if self.severity == "alarm" and not propensities else self.severity
        return Finding(
            kind=self.kind,
            subject="data",
            severity=severity,
            where=self.where,
            propensities=propensities,
            sentence=self.sentence,
            repair=self.repair,
            since=self.since,
            figures={name: float(figure) for name, figure in self.figures.items()},
        )


def counted(rows: float) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{rows:,.0f} row{'' if rows == 1 else 's'}"


def named(place: str, value: str) -> str:
    """A value of a category column, such as `interactions.channel=web`: each is an incident of its own."""
    return f"{place}={shown(value)}"


def shown(value: str) -> str:
    """A value as it may be told.

    One that reads as if it named somebody is not, for alarms go out by mail; four signs keep it apart from others.
    """
    if _OF_SOMEBODY.search(value):
        return f"(withheld {sha256(value.encode()).hexdigest()[:4]})"
    short = " ".join(value.split())
    return short if len(short) <= 40 else short[:39] + "…"
