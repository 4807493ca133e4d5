"""The leakage guard: a feature that knows the outcome stops the training.

A field that a CRM fills once the outcome is known shows itself by *when it is filled*: filled for one outcome and empty for the
other. Events carry their own time and are protected by it. What an adapter declares about an attribute (`fixed = true`: never
changes once the row is known) is a promise that nothing else can check, so attributes are held to a stricter rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import LeakageError

GAP = 0.6  # filled for so much more of one outcome than of the other: no honest field does that
RATIO = 8.0  # an attribute filled so many times as often ...
LEAST_FILLED = 20  # ... among at least so many rows that have it ...
LEAST_Z = 6.0  # ... and far beyond chance
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class Attribute:
    """Where a feature that is an attribute comes from: `table.column`, and the line of the file that declares it."""

    source: str
    declared: str


@dataclass(frozen=True)
class Finding:
    """One feature that is filled according to the outcome: the shares of positives and negatives in which it is filled."""

    feature: str
    filled_positives: float
    filled_negatives: float
    rows_filled: int
    repair: str

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        return (
            f"{self.feature} is filled for {self.filled_positives:.1%} of the rows with the outcome and for "
            f"{self.filled_negatives:.1%} of the others ({self.rows_filled:,} rows have it): it is filled from the outcome"
        )


def findings(frame: pd.DataFrame, labels: Labels, features: Sequence[str], attributes: Mapping[str, Attribute]) -> list[Finding]:
    """The features whose being filled gives the outcome away.

    Args:
        frame: the features' columns, one row per label.
        labels: 0 or 1.
        features: the columns to look at.
        attributes: those among them that are attributes of an entity, which are held to the stricter rule.
    """
    found = []
    for name in features:
        filled = frame[name].notna().to_numpy()
        shares = float(filled[labels == 1].mean()), float(filled[labels == 0].mean())
        if abs(shares[0] - shares[1]) >= GAP or (name in attributes and _attribute_leaks(filled, labels)):
            found.append(Finding(name, *shares, int(filled.sum()), _repair(name, attributes.get(name))))
    return found


def require_none(found: Sequence[Finding], propensity: str) -> None:
    """Stop where a feature leaks.

    Raises:
        LeakageError: there is a finding; each is named with its evidence and the line that would mend it.
    """
    if found:
        raise LeakageError(
            f"training {propensity}: {len(found)} {'feature knows' if len(found) == 1 else 'features know'} the outcome",
            expected="features that are filled alike whatever the outcome turns out to be",
            received="".join(f"\n    {finding.sentence}" for finding in found),
            repair="".join(f"\n    {repair}" for repair in dict.fromkeys(finding.repair for finding in found)),
        )


def declared_at(files: Sequence[Path], table: str, column: str) -> str:
    """Where an attribute is declared, as `file:line`; just the first file where no line can be found."""
    section = re.compile(rf"^\s*\[attributes\.{re.escape(table)}(\.{re.escape(column)})?\]")
    other = re.compile(r"^\s*\[")
    entry = re.compile(rf"^\s*\"?{re.escape(column)}\"?\s*=")
    for file in (file for file in files if file.is_file()):
        inside = False
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if other.match(line):
                matched = section.match(line)
                inside = bool(matched)
                if matched and matched[1]:
                    return f"{file.name}:{number}"
            elif inside and entry.match(line):
                return f"{file.name}:{number}"
    return files[0].name if files else "adapter.toml"


def _attribute_leaks(filled: NDArray[np.bool_], labels: Labels) -> bool:
    """Whether one outcome has the attribute far more often than the other, in share and beyond chance (two-proportion z)."""
    positives, negatives = filled[labels == 1], filled[labels == 0]
    rates = float(positives.mean()), float(negatives.mean())
    pooled = float(filled.mean())
    error = np.sqrt(pooled * (1 - pooled) * (1 / len(positives) + 1 / len(negatives)))
    if filled.sum() < LEAST_FILLED or not error:
        return False
    return max(rates) >= RATIO * min(rates) and abs(rates[0] - rates[1]) / float(error) >= LEAST_Z


def _repair(feature: str, attribute: Attribute | None) -> str:
    if attribute is None:
        return f"give the rows behind {feature} a `known_at` in the adapter's SQL that says when they really became known"
    return (
        f"{attribute.declared}: `{attribute.source}` is not fixed at creation; remove it, or deliver its changes "
        "through attribute_history with their own times"
    )
