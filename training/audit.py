"""The audit of a model on its test rows: what its list is worth, where it is good, whom it treats how, and what it looks at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.propensity import Propensity
from training import decision, fairness, insight, slices
from training.dataset import Dataset, age_column
from training.decision import Decision, Listed
from training.fairness import Group, Proxy
from training.fitting import Fitted
from training.insight import Floats, Insight, Labels
from training.slices import Slice
from training.split import sample

MOST_ROWS = 200_000  # of the test; of rare outcomes, a sample of fewer would hold too few positives to judge a slice by
ATTRIBUTES = 8  # by which slices are made: those that move the scores most
INSIGHTS = 8
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class Audit:
    """What was found out about a model.

    Attributes:
        decision: what its list is worth; None without a `[value]`.
        slices: its quality by the values of declared attributes.
        groups, proxies: how it treats the groups of protected attributes, and which features stand in for those.
        importance: the mean absolute contribution of every feature that has one, in log-odds, largest first.
        insights: the values of the most important features.
        rows: of the test that were looked at.
        test_rows: of the test; more than `rows` where those are a sample.
    """

    decision: Decision | None
    slices: tuple[Slice, ...]
    groups: tuple[Group, ...]
    proxies: tuple[Proxy, ...]
    importance: Mapping[str, float]
    insights: tuple[Insight, ...]
    rows: int
    test_rows: int


@dataclass(frozen=True)
class _Test:
    """The test rows, or a sample of them by entity, and how many rows a date has on average before sampling."""

    frame: pd.DataFrame
    aside: pd.DataFrame
    labels: Labels
    probability: Floats
    list_length: float


def audit(data: Dataset, propensity: Propensity, protected: tuple[str, ...], fitted: Fitted, seed: int) -> Audit:
    """Look at a model from every side.

    Args:
        data: the dataset, with what is kept aside.
        propensity: the question, with its `[value]`.
        protected: columns by which fairness is judged; those of another entity are passed over.
        fitted: the model and its probabilities on the test rows.
        seed: of every draw.
    """
    test = _test(data, fitted)
    entities = test.frame["entity_id"]
    kept = test.aside[[name for name in protected if name in test.aside]]
    importance = insight.importance(fitted.model, fitted.model.matrix(test.frame), seed)
    ranked = dict(sorted(importance.items(), key=lambda pair: (-pair[1], pair[0])))
    by = [name for name in ranked if name in data.attributes and name not in kept][:ATTRIBUTES]
    return Audit(
        decision=_decision(test, propensity, seed),
        slices=slices.slices(test.probability, test.labels, entities, test.frame[by], seed),
        groups=fairness.fairness(test.probability, test.labels, entities, kept, seed),
        proxies=fairness.proxies(test.frame, list(ranked), kept, test.labels),
        importance={name: moved for name, moved in ranked.items() if moved > 0},
        insights=insight.insights(fitted.model, test.frame, test.labels, test.probability, INSIGHTS, seed),
        rows=len(test.frame),
        test_rows=int(fitted.split.test.sum()),
    )


def document(found: Audit, propensity: Propensity) -> dict[str, Any]:
    """The audit as plain values, with the decision in sentences, and `sampled`: a sentence where it is of a sample."""
    made = asdict(found) | {"sampled": _sampled(found, propensity.entity)}
    if found.decision is not None and propensity.value is not None:
        made["decision"]["sentences"] = decision.sentences(found.decision, propensity.value, _days(propensity))
    return made


def _sampled(found: Audit, entity: str) -> str:
    if found.rows == found.test_rows:
        return ""
    return (
        f"Counted on a sample of {found.rows:,} of the {found.test_rows:,} test rows, drawn by {entity}: decision, slices, "
        "groups and what each value goes with."
    )


def _test(data: Dataset, fitted: Fitted) -> _Test:
    rows = fitted.split.test
    chosen = sample(data.frame["entity_id"], rows, MOST_ROWS)
    aside = data.aside if len(data.aside) else pd.DataFrame(index=data.frame.index)
    frame, beside = (each[chosen].reset_index(drop=True) for each in (data.frame, aside))
    length = float(rows.sum() / data.frame.loc[rows, "as_of"].nunique())
    return _Test(frame, beside, data.labels[chosen], fitted.probability[chosen[rows]], length)


def _decision(test: _Test, propensity: Propensity, seed: int) -> Decision | None:
    value = propensity.value
    if value is None:
        return None
    worth = np.full(len(test.frame), value.amount) if value.column is None else value.times * test.aside[value.column].to_numpy()
    age = age_column(propensity)
    listed = Listed(
        probability=test.probability,
        labels=test.labels,
        worth=worth,
        entities=test.frame["entity_id"],
        as_of=test.frame["as_of"],
        length=test.list_length,
        age=test.aside[age].to_numpy() if age in test.aside else None,
    )
    return decision.decide(listed, value, _days(propensity), seed)


def _days(propensity: Propensity) -> float:
    """From one list to the next."""
    return propensity.every.total_seconds() / SECONDS_PER_DAY
