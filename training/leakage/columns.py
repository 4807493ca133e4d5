"""The features of a dataset, one by one beside the outcome: how they are filled, how they rank, what they are called."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training.leakage.finding import Check, Finding, Severity
from training.leakage.measure import Alone, Integers, Shares, alone, shares
from training.leakage.origin import Attribute
from training.leakage.rows import MOST_ROWS, Labels, conclusive, constant, some_entities
from training.split import folds

LEAST_Z = 6.0  # far beyond chance, among hundreds of features too
LEAST_FILLED = 20
FILL_GAP, FILL_RATIO = 0.3, 8.0  # an attribute filled for so much more, or so many times as often: worth a look
WRITTEN_GAP, WRITTEN_PRECISION = 0.8, 0.9  # nearly all of one outcome and hardly any of the other, or hardly any other with it
EVENT_FILL_DIFFERS = 0.6  # worth a look
EVENT_FILL_GAP = 0.98  # events may well come before one outcome only; but not before all of the ones and none of the others
TELLING_AUC = 0.9  # no honest attribute ranks so well; a feature of events may
EVENT_TELLING_AUC = 0.99
SUSPECT_AUC, SUSPECT_GAP = 0.75, 0.1  # enough against an attribute whose name speaks of the outcome
_SMELL = re.compile(
    r"(?:^|_)(?:converted|conversion|won|lost|closed?|churn(?:ed)?|cancel(?:l?ed|lation)?|terminat(?:ed|ion)|ended|exit|outcome|"
    r"result|target|label|stage|reason|duration|final|renewed|winback|cltv|clv|ltv)(?:_|$)"
    r"|^(?:(?:lead|deal|opportunity|account|customer|subscription|contract|current)_)?status$"
)


@dataclass(frozen=True)
class Measured:
    """One feature beside the outcome.

    Attributes:
        name: the feature.
        attribute: where it comes from if it is an attribute; None for a feature of events.
        repair: what would mend it if it knows the outcome.
        filled: how often it has a value.
        alone: how well it ranks by itself.
        future: how often it is a time after the as_of; None if it is no time.
    """

    name: str
    attribute: Attribute | None
    repair: str
    filled: Shares
    alone: Alone | None
    future: Shares | None

    def finding(self, check: Check, severity: Severity, sentence: str) -> Finding:
        return Finding(check, severity, self.name, f"{self.name} {sentence}", self.repair)

    @property
    def auc(self) -> float:
        """How well it ranks by itself; 0.5 where that may be chance."""
        return self.alone.auc if self.alone is not None and self.alone.z >= LEAST_Z else 0.5


def feature_findings(
    frame: pd.DataFrame,
    labels: Labels,
    features: Sequence[str],
    attributes: Mapping[str, Attribute],
    repairs: Mapping[str, str] | None = None,
    most: int = MOST_ROWS,
) -> list[Finding]:
    """What the features' own values show.

    Of an attribute that never changes, and of a column computed elsewhere that has one value for each entity, the rows are left
    out that come before an outcome of the same entity.

    Args:
        frame: `entity_id`, `as_of` and the features' columns, one row per label.
        labels: 0 or 1; where all are alike there is nothing to compare.
        features: the columns to look at.
        attributes: those among them that are attributes of an entity, which are held to the stricter rule.
        repairs: for the others, what would mend them.
        most: about how many rows to look at.
    """
    found: list[Finding] = []
    chosen = some_entities(frame["entity_id"], most)
    rows, labels = frame[chosen], labels[chosen]
    decided, every = conclusive(rows["entity_id"], labels), np.ones(len(rows), dtype=bool)
    fold, person = folds(rows["entity_id"]), pd.factorize(rows["entity_id"])[0]
    for name in features:
        attribute = attributes.get(name)
        lasting = attribute is not None and (attribute.lasting or (attribute.external and constant(rows, name)))
        mask = decided if lasting else every
        if 0 < labels[mask].sum() < mask.sum():
            repair = attribute.repair if attribute else (repairs or {}).get(name, f"let the rows behind {name} be known later")
            found += judge(_measure(name, attribute, repair, rows[name][mask], labels[mask], fold[mask], person[mask]))
    return found


def judge(measured: Measured) -> list[Finding]:
    """What the measurements of one feature show: every kind of evidence; the name only where nothing else condemns it."""
    found = [one for one in (by_fill(measured), by_rank(measured), by_time(measured)) if one is not None]
    if any(one.severity == "error" for one in found):
        return found
    smell = by_name(measured)
    return found if smell is None else [*found, smell]


def by_fill(measured: Measured) -> Finding | None:
    """A field that is filled only after the outcome, or whose fill rate differs by label.

    Often for one outcome and seldom for the other is honest where few have it at all, as of a code that few bring along and most
    of those buy: it takes nearly everybody on one side to say that the outcome came first.
    """
    filled = measured.filled
    told = (
        f"is filled for {filled.positives:.1%} of the rows with the outcome and for {filled.negatives:.1%} of the "
        f"others ({filled.count:,} rows have it)"
    )
    if filled.z < LEAST_Z or filled.count < LEAST_FILLED:
        return None
    if measured.attribute is None:
        if filled.gap < EVENT_FILL_DIFFERS:
            return None
        return measured.finding("fill", "error" if filled.gap >= EVENT_FILL_GAP else "warning", told)
    if written_from_outcome(filled):
        return measured.finding("fill", "error", f"{told}: it is filled from the outcome")
    return measured.finding("fill", "warning", told) if filled.gap >= FILL_GAP or filled.ratio >= FILL_RATIO else None


def written_from_outcome(held: Shares) -> bool:
    """Whether something holds for nearly all of one outcome and hardly any of the other, or for hardly any but positives."""
    return held.gap >= WRITTEN_GAP or (held.ratio >= FILL_RATIO and held.precision >= WRITTEN_PRECISION)


def by_rank(measured: Measured) -> Finding | None:
    """A feature that alone ranks better than any honest one would."""
    one, auc = measured.alone, measured.auc
    if one is None or auc < TELLING_AUC:
        return None
    severe = measured.attribute is not None or auc >= EVENT_TELLING_AUC
    told = f"alone tells the outcome: AUC {auc:.3f} on the {one.rows:,} rows that have it, {one.positives:,} of them positive"
    look = "" if severe else "; honest if its rows were known when they say, so look at their `known_at`"
    return measured.finding("single", "error" if severe else "warning", told + look)


def by_time(measured: Measured) -> Finding | None:
    """A time that lies after the as_of; an error where that goes with the outcome, for else it may be a date planned ahead."""
    ahead = measured.future
    if ahead is None or ahead.count < LEAST_FILLED:
        return None
    linked = ahead.z >= LEAST_Z and (ahead.gap >= SUSPECT_GAP or ahead.ratio >= FILL_RATIO)
    told = (
        f"is a time after the as_of in {ahead.count:,} rows: {ahead.positives:.1%} of those with the outcome and "
        f"{ahead.negatives:.1%} of the others"
    )
    return measured.finding("future", "error" if linked else "warning", told)


def by_name(measured: Measured) -> Finding | None:
    """An attribute whose name speaks of the outcome; an error where its values go with the outcome, too."""
    attribute = measured.attribute
    if attribute is None or not _SMELL.search(attribute.column.lower()):
        return None
    told = f"has a name that is often given to what is known only afterwards (`{attribute.column}`)"
    if measured.auc >= SUSPECT_AUC:
        return measured.finding("name", "error", f"{told}, and alone it ranks with an AUC of {measured.auc:.3f}")
    filled = measured.filled
    if (filled.gap >= SUSPECT_GAP or filled.ratio >= FILL_RATIO) and filled.z >= LEAST_Z and filled.count >= LEAST_FILLED:
        shown = f"{filled.positives:.1%} of the rows with the outcome have it and {filled.negatives:.1%} of the others"
        return measured.finding("name", "error", f"{told}, and {shown}")
    return measured.finding("name", "warning", f"{told}; its values show nothing (AUC alone {measured.auc:.3f})")


def _measure(
    name: str,
    attribute: Attribute | None,
    repair: str,
    column: pd.Series,
    labels: Labels,
    fold: Integers,
    entities: Integers,
) -> Measured:
    ahead = shares((column < 0).to_numpy(), labels, entities) if attribute is not None and attribute.time else None
    filled = shares(column.notna().to_numpy(), labels, entities)
    return Measured(name, attribute, repair, filled, alone(column, labels, fold, entities), ahead)
