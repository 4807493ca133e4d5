"""The leakage guard: a feature that knows the outcome stops the training.

A field that a CRM fills once the outcome is known shows itself by *when it is filled*: filled for one outcome and empty for the
other. Events carry their own time and are protected by it. What an adapter declares about an attribute (`fixed = true`: never
changes once the row is known), or what was computed elsewhere, is a promise that nothing else can check. Attributes are
therefore held to a stricter rule, and their values are looked at too: one that alone all but tells the outcome is it.
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
from training.split import FOLDS, folds

GAP = 0.6  # filled for so much more of one outcome than of the other: no honest field does that
RATIO = 8.0  # an attribute filled so many times as often ...
LEAST_FILLED = 20  # ... among at least so many rows that have it ...
LEAST_Z = 6.0  # ... and far beyond chance
TELLING_AUC = 0.95  # an attribute whose value alone ranks so well, far beyond chance, was written after the outcome
FEW_VALUES = 20  # a number with no more different values than this may be a code, whose order says nothing
Labels = NDArray[np.int8]


@dataclass(frozen=True)
class Attribute:
    """Where a feature that is an attribute comes from.

    Attributes:
        source: `table.column`.
        declared: the file that declares it, and the line.
        external: whether the table was computed elsewhere.
    """

    source: str
    declared: str
    external: bool = False


@dataclass(frozen=True)
class Finding:
    """One feature that knows the outcome: what shows it, in words with figures, and what would mend it."""

    feature: str
    sentence: str
    repair: str


def findings(frame: pd.DataFrame, labels: Labels, features: Sequence[str], attributes: Mapping[str, Attribute]) -> list[Finding]:
    """The features that give the outcome away: all by being filled, attributes also by what they are filled with.

    Args:
        frame: `entity_id` and the features' columns, one row per label.
        labels: 0 or 1.
        features: the columns to look at.
        attributes: those among them that are attributes of an entity, which are held to the stricter rule.
    """
    found = []
    for name in features:
        sentence = _filled_by_outcome(frame[name], labels, name in attributes)
        if sentence is None and name in attributes:
            sentence = _tells_outcome(frame[name], labels, frame["entity_id"])
        if sentence is not None:
            found.append(Finding(name, f"{name} {sentence}", _repair(name, attributes.get(name))))
    return found


def require_none(found: Sequence[Finding], propensity: str) -> None:
    """Stop where a feature leaks.

    Raises:
        LeakageError: there is a finding; each is named with its evidence and the line that would mend it.
    """
    if found:
        raise LeakageError(
            f"training {propensity}: {len(found)} {'feature knows' if len(found) == 1 else 'features know'} the outcome",
            expected="features that hold only what was known before the as_of",
            received="".join(f"\n    {finding.sentence}" for finding in found),
            repair="".join(f"\n    {repair}" for repair in dict.fromkeys(finding.repair for finding in found)),
        )


def declared_at(files: Sequence[Path], section: str, column: str) -> str:
    """Where a column is declared, as `file:line`; just the first file where no line can be found.

    Args:
        files: TOML files, the first that declares it counts.
        section: what the column is declared under, such as `attributes.leads`.
        column: its key there, or the section's own part of that name.
    """
    own = re.compile(rf"^\s*\[{re.escape(section)}(\.{re.escape(column)})?\]")
    other = re.compile(r"^\s*\[")
    entry = re.compile(rf"^\s*\"?{re.escape(column)}\"?\s*=")
    for file in (file for file in files if file.is_file()):
        inside = False
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if other.match(line):
                matched = own.match(line)
                inside = bool(matched)
                if matched and matched[1]:
                    return f"{file.name}:{number}"
            elif inside and entry.match(line):
                return f"{file.name}:{number}"
    return files[0].name if files else "adapter.toml"


def _filled_by_outcome(column: pd.Series, labels: Labels, attribute: bool) -> str | None:
    filled = column.notna().to_numpy()
    positives, negatives = float(filled[labels == 1].mean()), float(filled[labels == 0].mean())
    if abs(positives - negatives) < GAP and not (attribute and _attribute_leaks(filled, labels)):
        return None
    return (
        f"is filled for {positives:.1%} of the rows with the outcome and for {negatives:.1%} of the others "
        f"({int(filled.sum()):,} rows have it): it is filled from the outcome"
    )


def _tells_outcome(column: pd.Series, labels: Labels, entities: pd.Series) -> str | None:
    filled = column.notna().to_numpy()
    values, known = column[filled], labels[filled]
    positives = int(known.sum())
    pairs = positives * (len(known) - positives)
    if not pairs:
        return None
    auc = _alone(values, known, entities[filled])
    z = (auc - 0.5) / float(np.sqrt((len(known) + 1) / (12 * pairs)))  # Mann and Whitney's variance under chance
    if auc < TELLING_AUC or z < LEAST_Z:
        return None
    return f"alone tells the outcome: AUC {auc:.3f} on the {len(known):,} rows that have it, {positives:,} of them positive"


def _alone(values: pd.Series, labels: Labels, entities: pd.Series) -> float:
    """The AUC of one feature: of a number in its better direction; of categories ordered by their rates among other entities.

    Rates of other entities tell nothing of a category that only one entity has, so that many categories condemn nobody.
    """
    if pd.api.types.is_numeric_dtype(values.dtype) and values.nunique() > FEW_VALUES:
        auc = _auc(values, labels)
        return max(auc, 1 - auc)
    rates = pd.Series(np.nan, index=values.index)
    fold, outcome = folds(entities), pd.Series(labels, index=values.index)
    for number in range(FOLDS):
        others = outcome[fold != number]
        rates[fold == number] = values[fold == number].map(others.groupby(values[fold != number]).mean())
    return _auc(rates.fillna(float(labels.mean())), labels)


def _auc(values: pd.Series, labels: Labels) -> float:
    positives = int(labels.sum())
    ranks = values.rank().to_numpy()[labels == 1].sum()
    return float(ranks - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))


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
    if attribute.external:
        return (
            f"{attribute.declared}: `{attribute.source}` is computed from what came later; only where it is computed can it get "
            "the time from which it was known; otherwise remove it here"
        )
    return (
        f"{attribute.declared}: `{attribute.source}` is not fixed at creation; remove it, or deliver its changes "
        "through attribute_history with their own times"
    )
