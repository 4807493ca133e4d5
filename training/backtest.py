"""The backtest: what every candidate said, at every origin, about rows it was neither fitted nor calibrated on.

Origins roll through time. At each, every candidate is fitted and calibrated on what had matured before the origin's test period
and then forecasts it. The newest period, whose figures the report gives, stands apart from the earlier ones, by which the choice
is made. A history too short for an earlier origin is judged by cross-validation inside the fitted rows; data of a single date by
folds of entities, twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from features.console import Tick
from training import calibration
from training.calibration import Calibration
from training.candidates import CANDIDATES, Candidate, able, learn
from training.contract import Floats
from training.dataset import Dataset
from training.examples import Labels, Learned, rarer
from training.split import FOLDS, Mask, Split, folds, sample

LEAST_FIT_ROWS, MOST_FIT_ROWS = 20_000, 60_000  # a backtest fits on a share of the entities with about so many rows, by size ...
FIT_SHARE = 0.1  # ... and in between on this share of the newest fitted rows
TEST_ROWS = 20_000  # it tests on a share of the entities with about so many
SALTS = ("", "again")  # of the folds, where there is a single date: each makes other folds
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
    """

    kind: Kind
    earlier: tuple[Forecast, ...]
    newest: Forecast
    candidates: tuple[Candidate, ...]
    left_out: tuple[Candidate, ...]
    rarer: int
    fits: dict[str, Fit]
    whole: bool

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
        repeats = tuple(_by_entity(data, asked, salt, tick) for salt in SALTS)
        return Backtest("entities", repeats, repeats[0], asked, left_out, few, {}, False)
    cap = fit_rows(newest)
    earlier = tuple(_forecast(data, origin, asked, cap, False, tick)[0] for origin in origins if _enough(data, origin, asked))
    forecast, fits = _forecast(data, newest, asked, cap, not earlier, tick)
    whole = int(newest.fit.sum()) <= cap
    within = () if earlier else (_within(data, newest, cap, fits),)
    kind: Kind = "origins" if earlier else "folds"
    return Backtest(kind, earlier or within, forecast, asked, left_out, few, fits, whole)


def fit_rows(newest: Split) -> int:
    """How many rows each candidate is fitted on, at most, at each origin: choosing must not cost more than learning."""
    return int(np.clip(FIT_SHARE * newest.fit.sum(), LEAST_FIT_ROWS, MOST_FIT_ROWS))


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
    return chosen, calibration.recency(data.frame["as_of"][chosen], data.labels[chosen], split.horizon)


def _enough(data: Dataset, origin: Split, candidates: Sequence[Candidate]) -> bool:
    """Whether an origin has enough to fit every candidate that is asked."""
    return able(candidates, rarer(data.frame["entity_id"][origin.fit], data.labels[origin.fit])) == tuple(candidates)


def _forecast(
    data: Dataset, split: Split, candidates: Sequence[Candidate], cap: int, cross_fit: bool, tick: Tick
) -> tuple[Forecast, dict[str, Fit]]:
    entities = data.frame["entity_id"]
    rows, test = sample(entities, split.fit, cap), sample(entities, split.test, TEST_ROWS)
    learned = learn(candidates, data.examples(rows), cross_fit or split.calibrated == "cross-fitted", tick)
    fits = {name: Fit(one, calibrate(data, split, rows, one)) for name, one in learned.items()}
    tested = data.frame[test]
    period = f"{tested['as_of'].min():%Y-%m-%d} to {tested['as_of'].max():%Y-%m-%d}"
    probability = {name: fit.probability(tested) for name, fit in fits.items()}
    chosen, weights = _calibrated_on(data, split, rows)
    rate = float(np.average(data.labels[chosen], weights=weights))
    return Forecast(period, tested["entity_id"], data.labels[test], probability, rate), fits


def _within(data: Dataset, split: Split, cap: int, fits: dict[str, Fit]) -> Forecast:
    """The fitted rows, each by models that did not see its entity."""
    rows = sample(data.frame["entity_id"], split.fit, cap)
    probability = {name: fit.calibration.probability(fit.learned.out_of_fold) for name, fit in fits.items()}
    return Forecast("folds of the fitted rows", data.frame["entity_id"][rows], data.labels[rows], probability, float("nan"))


def _by_entity(data: Dataset, candidates: Sequence[Candidate], salt: str, tick: Tick) -> Forecast:
    """Each row by candidates that were fitted and calibrated on the other folds."""
    frame, labels = data.frame, data.labels
    fold = folds(frame["entity_id"], salt=salt)
    probability = {candidate.name: np.empty(len(frame)) for candidate in candidates}
    for number in range(FOLDS):
        tested, others = fold == number, fold != number
        for name, one in learn(candidates, data.examples(others), True, tick).items():
            line = calibration.fit(one.out_of_fold, labels[others], frame["entity_id"][others])
            probability[name][tested] = line.probability(one.raw(frame[tested]))
    return Forecast(f"folds of entities{', ' if salt else ''}{salt}", frame["entity_id"], labels, probability, float("nan"))
