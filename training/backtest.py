"""The backtest: what every candidate said, at every origin, about rows it was neither fitted nor calibrated on.

Origins roll through time. At each, every candidate is fitted and calibrated on what had matured before the origin's test period
and then forecasts it. The newest period, whose figures the report gives, stands apart from the earlier ones, by which the choice
is made. A history too short for an earlier origin is judged by cross-validation inside the fitted rows; data of a single date by
folds of entities, twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.console import Tick
from training import calibration
from training.calibration import Calibration
from training.candidates import CANDIDATES, Candidate, able, learn
from training.contract import Floats
from training.dataset import Dataset
from training.examples import Labels, Learned, rarer
from training.split import FLOOR_ENTITIES, FOLDS, Mask, Split, folds, sample

LEAST_FIT_ROWS, MOST_FIT_ROWS = 20_000, 30_000  # a backtest fits on a share of the entities with about so many rows, by size ...
FIT_SHARE = 0.1  # ... and in between on this share of the newest fitted rows
RARER_ROWS = 1_000  # of the rarer outcome that a sample holds, whatever its size
TEST_ROWS = 20_000  # it tests on a share of the entities with about so many, or with so many of the rarer outcome
SALTS = ("", "second")  # of the folds, where there is a single date: each makes other folds
Kind = Literal["origins", "folds", "entities"]


@dataclass(frozen=True)
class Forecast:
    """What every candidate said about some rows.

    Attributes:
        period: of the rows, as `2018-01-01 to 2018-02-12`, or what else they are.
        entities: the entity of each row.
        labels: what happened, 0 or 1.
        probability: by candidate, calibrated, one per row.
        rate: the share of positives, by weight, in the rows that were calibrated on; NaN where these are the same rows.
    """

    period: str
    entities: pd.Series
    labels: Labels
    probability: dict[str, Floats]
    rate: float


@dataclass(frozen=True)
class Fit:
    """One candidate, learned and calibrated."""

    learned: Learned
    calibration: Calibration

    def probability(self, frame: pd.DataFrame) -> Floats:
        """Calibrated, one per row of a frame."""
        return self.calibration.probability(self.learned.raw(frame))


@dataclass(frozen=True)
class Backtest:
    """Forecasts of every candidate.

    Attributes:
        kind: what the earlier forecasts are of: earlier `origins`, `folds` of the fitted rows, or folds of all `entities`.
        earlier: what the choice is made by, oldest first.
        newest: the rows the report is about, or of very many a sample.
        candidates: those that the data are enough for, from the simplest to the cleverest.
        left_out: those that ask for more.
        rarer: how many entities the rarer class of the newest fitted rows has.
        fits: of the newest origin, by candidate; none where there is a single date.
        whole: whether these were fitted on every row, and not on a sample.
        origins: the earlier splits that had enough for every candidate.
    """

    kind: Kind
    earlier: tuple[Forecast, ...]
    newest: Forecast
    candidates: tuple[Candidate, ...]
    left_out: tuple[Candidate, ...]
    rarer: int
    fits: dict[str, Fit]
    whole: bool
    origins: tuple[Split, ...]

    def taking(self, other: Backtest, name: str) -> Backtest:
        """The same with what another backtest of the same rows says of one candidate."""

        def taken(mine: Forecast, theirs: Forecast) -> Forecast:
            return replace(mine, probability={**mine.probability, name: theirs.probability[name]})

        earlier = tuple(taken(mine, theirs) for mine, theirs in zip(self.earlier, other.earlier, strict=True))
        return replace(self, earlier=earlier, newest=taken(self.newest, other.newest), fits={**self.fits, name: other.fits[name]})


def size(newest: Split, origins: Sequence[Split], candidates: Sequence[Candidate] = CANDIDATES) -> int:
    """How many candidates `run` fits, at most."""
    rounds = len(SALTS) * FOLDS if newest.by == "entity" else len(origins) + 1
    return rounds * len(candidates)


def run(
    data: Dataset, newest: Split, origins: Sequence[Split], candidates: Sequence[Candidate] = CANDIDATES,
    tick: Tick = lambda _: None,
) -> Backtest:  # fmt: skip
    """Forecast every origin by every candidate.

    Args:
        data: the dataset.
        newest: the split the report is about.
        origins: the earlier ones, oldest first; see `split.origins`.
        candidates: those in question; the ones the newest fitted rows are too few for are left out.
        tick: called with 1 for every candidate that is fitted.
    """
    few = rarer(data.frame["entity_id"][newest.fit], data.labels[newest.fit])
    asked = able(candidates, few)
    left_out = tuple(candidate for candidate in candidates if candidate not in asked)
    if newest.by == "entity":
        (every, first), (_, second) = (_by_entity(data, asked, salt, tick) for salt in SALTS)
        return Backtest("entities", (*first, *second), every, asked, left_out, few, {}, False, ())
    kept = tuple(origin for origin in origins if _enough(data, origin, asked))
    earlier = tuple(_forecast(data, origin, newest, asked, False, tick)[0] for origin in kept)
    forecast, fits = _forecast(data, newest, newest, asked, not earlier, tick)
    fitted = fitted_rows(data, newest, newest)
    within = () if earlier else _within(data, newest, fitted, {name: fit.learned for name, fit in fits.items()})
    kind: Kind = "origins" if earlier else "folds"
    whole = bool((fitted == newest.fit).all())
    return Backtest(kind, earlier or within, forecast, asked, left_out, few, fits, whole, kept)


def fitted_rows(data: Dataset, split: Split, newest: Split) -> Mask:
    """The rows each candidate is fitted on at an origin, whole entities: choosing must not cost more than learning."""
    most = int(np.clip(FIT_SHARE * newest.fit.sum(), LEAST_FIT_ROWS, MOST_FIT_ROWS))
    return _sampled(data, split.fit, most)


def _sampled(data: Dataset, among: Mask, rows: int) -> Mask:
    """A share of the entities with about so many rows, or with as many as hold enough of the rarer outcome."""
    positives, every = int(data.labels[among].sum()), int(among.sum())
    rarer_share = min(1.0, RARER_ROWS / max(min(positives, every - positives), 1))
    return sample(data.frame["entity_id"], among, max(rows, int(every * rarer_share)))


def calibrate(data: Dataset, split: Split, fitted: Mask, learned: Learned) -> Calibration:
    """Fit a calibration on scores out of sample: of rows held out, or of the fitted rows by models that did not see the entity.

    Older rows count for less.

    Args:
        data: the dataset.
        split: which rows to calibrate on.
        fitted: the rows the candidate was fitted on, which may be a sample of `split.fit`.
        learned: the candidate.
    """
    chosen, weights = _calibrated_on(data, split, fitted)
    rows, labels = data.frame[chosen], data.labels[chosen]
    raw = learned.raw(rows) if split.calibrated == "held out" else learned.out_of_fold[chosen[fitted]]
    return calibration.fit(raw, labels, rows["entity_id"], weights)


def _calibrated_on(data: Dataset, split: Split, fitted: Mask) -> tuple[Mask, Floats]:
    """The rows to calibrate on, and their weights."""
    chosen = split.calibration if split.calibrated == "held out" else split.calibration & fitted
    recency = calibration.recency(data.frame["as_of"][chosen], data.labels[chosen], split.horizon)
    return chosen, recency * data.weights[chosen]


def _enough(data: Dataset, origin: Split, candidates: Sequence[Candidate]) -> bool:
    """Whether an origin has enough to fit every candidate that is asked."""
    if rarer(data.frame["entity_id"][origin.fit], data.labels[origin.fit]) < FLOOR_ENTITIES:
        return False
    return able(candidates, rarer(data.frame["entity_id"][origin.fit], data.labels[origin.fit])) == tuple(candidates)


def _forecast(
    data: Dataset, split: Split, newest: Split, candidates: Sequence[Candidate], cross_fit: bool, tick: Tick
) -> tuple[Forecast, dict[str, Fit]]:
    rows, test = fitted_rows(data, split, newest), _sampled(data, split.test, TEST_ROWS)
    learned = learn(candidates, data.examples(rows), cross_fit or split.calibrated == "cross-fitted", tick)
    fits = {name: Fit(one, calibrate(data, split, rows, one)) for name, one in learned.items()}
    tested = data.frame[test]
    period = f"{tested['as_of'].min():%Y-%m-%d} to {tested['as_of'].max():%Y-%m-%d}"
    probability = {name: fit.probability(tested) for name, fit in fits.items()}
    chosen, weights = _calibrated_on(data, split, rows)
    rate = float(np.average(data.labels[chosen], weights=weights))
    return Forecast(period, tested["entity_id"], data.labels[test], probability, rate), fits


def _within(data: Dataset, split: Split, fitted: Mask, learned: Mapping[str, Learned]) -> tuple[Forecast, ...]:
    """The fitted rows, fold by fold, each by models and a calibration that did not see its entity."""
    frame, labels = data.frame[fitted], data.labels[fitted]
    weights = calibration.recency(frame["as_of"], labels, split.horizon) * data.weights[fitted]
    fold = folds(frame["entity_id"])
    probability = {name: np.empty(len(labels)) for name in learned}
    for number in range(FOLDS):
        mine, others = fold == number, fold != number
        for name, one in learned.items():
            line = calibration.fit(one.out_of_fold[others], labels[others], frame["entity_id"][others], weights[others])
            probability[name][mine] = line.probability(one.out_of_fold[mine])
    plain = data.plain[fitted]
    said = {name: each[plain] for name, each in probability.items()}
    return by_fold("fold", frame["entity_id"][plain], labels[plain], said, fold[plain])


def _by_entity(data: Dataset, candidates: Sequence[Candidate], salt: str, tick: Tick) -> tuple[Forecast, tuple[Forecast, ...]]:
    """Each row by candidates that were fitted and calibrated on the other folds: all rows, and fold by fold."""
    frame, labels = data.frame, data.labels
    fold = folds(frame["entity_id"], salt=salt)
    probability = {candidate.name: np.empty(len(frame)) for candidate in candidates}
    for number in range(FOLDS):
        tested, others = fold == number, fold != number
        for name, one in learn(candidates, data.examples(others), True, tick).items():
            line = calibration.fit(one.out_of_fold, labels[others], frame["entity_id"][others])
            probability[name][tested] = line.probability(one.raw(frame[tested]))
    every = Forecast("folds of entities", frame["entity_id"], labels, probability, float("nan"))
    return every, by_fold(f"{salt} fold".strip(), frame["entity_id"], labels, probability, fold)


def by_fold(
    name: str, entities: pd.Series, labels: Labels, probability: Mapping[str, Floats], fold: NDArray[np.int64]
) -> tuple[Forecast, ...]:
    """A forecast for each fold: scores of different models are not ranked against each other.

    Over all folds together even noise would rank below chance, for the fewer positives a fold has, the more its models saw.
    """
    masks = [(number, fold == number) for number in range(FOLDS)]
    return tuple(
        Forecast(
            f"{name} {number + 1}",
            entities[mask],
            labels[mask],
            {key: said[mask] for key, said in probability.items()},
            float("nan"),
        )
        for number, mask in masks
        if 0 < labels[mask].sum() < mask.sum()
    )
