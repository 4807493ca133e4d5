"""A finding of the leakage guard: what shows that something knows the outcome, and what would mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Check = Literal["fill", "single", "future", "name", "history", "versions", "population", "known_at", "base_rate", "waiver"]
CHECKS: dict[Check, str] = {
    "fill": "filled far more often for one outcome than for the other",
    "single": "one feature that alone ranks as no honest one does",
    "future": "a time that lies after the as_of",
    "name": "a name that speaks of the outcome",
    "history": "a value from after the as_of, by the attribute's own history",
    "versions": "declared fixed, and changed from version to version",
    "population": "rows that are there because of their outcome",
    "known_at": "no time at which rows became known, or that of a load",
    "base_rate": "a jump of the base rate",
    "waiver": "a waiver that waives nothing",
}
Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing that the guard found.

    Attributes:
        check: the kind of evidence, a key of `CHECKS`.
        severity: an `error` stops the training unless it is waived; a `warning` needs a look; a `note` may well be right.
        place: the feature, or the `table.column`.
        sentence: the evidence, in words with its figures.
        repair: what would mend it, with the file and the line.
        waived: the reason for which the propensity file lets it pass; empty when it does not.
    """

    check: Check
    severity: Severity
    place: str
    sentence: str
    repair: str
    waived: str = ""

    @property
    def key(self) -> str:
        """What a waiver calls it."""
        return f"{self.check}:{self.place}"

    @property
    def stops(self) -> bool:
        return self.severity == "error" and not self.waived
