"""The candidates: families of models that always stand side by side in one backtest, from the simplest to the cleverest.

All are kept as LightGBM text and plain numbers, and served through the same contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from features.console import Tick
from training import boosting, logistic, scorecard
from training.examples import Examples, Learned
from training.predictor import Mean

TREES_FROM = 50  # entities of the rarer class; with fewer, trees find noise
Learn = Callable[[Examples, bool, Mapping[str, Any]], Learned]


@dataclass(frozen=True)
class Candidate:
    """One family.

    Attributes:
        name: as it stands in reports, contracts and propensity files.
        words: what it is, for a reader who does not know the name.
        learn: from examples, whether out-of-fold scores are wanted, and what is settled; None where it is the mean of others.
        of: the candidates it is the mean of.
        from_rarer: how many entities the rarer class must have.
    """

    name: str
    words: str
    learn: Learn | None = None
    of: tuple[str, ...] = ()
    from_rarer: int = 0


RULE = Candidate("rule", "a rule of thumb: the one feature that alone foresees best, in ten bins", scorecard.rule)
NAIVE_BAYES = Candidate("naive-bayes", "naive Bayes: the evidence of every feature in ten bins, added up", scorecard.naive_bayes)
LOGISTIC = Candidate("logistic", "logistic regression, regularised", logistic.learn)
LIGHTGBM = Candidate("lightgbm", "LightGBM with defaults by size", boosting.learn, from_rarer=TREES_FROM)
AVERAGE = Candidate("average", "the mean of LightGBM and logistic regression", of=("lightgbm", "logistic"), from_rarer=TREES_FROM)
CANDIDATES = (RULE, NAIVE_BAYES, LOGISTIC, LIGHTGBM, AVERAGE)


def with_tuned(parameters: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """The candidates and LightGBM with tuned parameters, which then takes its place in the average."""

    def learn(examples: Examples, cross_fit: bool, settled: Mapping[str, Any]) -> Learned:
        return boosting.learn(examples, cross_fit, {**parameters, **settled})

    tuned = Candidate("lightgbm-tuned", "LightGBM, tuned", learn, from_rarer=TREES_FROM)
    average = Candidate("average", "the mean of tuned LightGBM and logistic regression", of=("lightgbm-tuned", "logistic"),
                        from_rarer=TREES_FROM)  # fmt: skip
    return (RULE, NAIVE_BAYES, LOGISTIC, LIGHTGBM, tuned, average)


def able(candidates: Sequence[Candidate], rarer: int) -> tuple[Candidate, ...]:
    """Those for which so many entities of the rarer class are enough."""
    return tuple(candidate for candidate in candidates if rarer >= candidate.from_rarer)


def learn(
    candidates: Sequence[Candidate],
    examples: Examples,
    cross_fit: bool,
    tick: Tick = lambda _: None,
    settled: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Learned]:
    """Fit every candidate on the same examples.

    Args:
        candidates: a mean comes after those it is made of.
        examples: the rows.
        cross_fit: whether out-of-fold scores of every row are wanted.
        tick: called with 1 for every candidate.
        settled: by candidate, what is not to be searched again.
    """
    learned: dict[str, Learned] = {}
    for candidate in candidates:
        members = [learned[name] for name in candidate.of]
        known = settled.get(candidate.name, {})
        learned[candidate.name] = candidate.learn(examples, cross_fit, known) if candidate.learn else mean(members, candidate.of)
        tick(1)
    return learned


def needed(candidates: Sequence[Candidate], name: str) -> tuple[Candidate, ...]:
    """The candidate of that name, after those it is made of.

    Raises:
        KeyError: there is no such candidate.
    """
    by_name = {candidate.name: candidate for candidate in candidates}
    chosen = by_name[name]
    return (*(by_name[member] for member in chosen.of), chosen)


def mean(members: Sequence[Learned], names: Sequence[str]) -> Learned:
    """The mean of fitted candidates, in log-odds."""
    parameters = {
        f"{name}.{key}": value for name, one in zip(names, members, strict=True) for key, value in one.parameters.items()
    }
    predictor = Mean([one.predictor for one in members])
    return Learned(predictor, members[0].features, parameters, np.mean([one.out_of_fold for one in members], axis=0))
