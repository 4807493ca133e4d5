"""The choice among candidates: figures of each, pooled over periods, and the simplest that is not separable from the best.

Two candidates are separable where the 95 % interval of the difference between them, in AUC or in log loss, lies on one side of 0.
Differences are paired: each bootstrap replicate draws entities once and judges every candidate on them, in every period.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from training.backtest import SALTS, Backtest, Forecast
from training.candidates import RULE
from training.contract import Floats
from training.evaluation import Figure, Ranking, auc_difference, bootstrap, interval

REPLICATES = 200
Preference = Literal["simplest", "best"]


@dataclass(frozen=True)
class Standing:
    """One candidate in a backtest.

    Attributes:
        name, words: which.
        auc, log_loss: pooled, with 95 % intervals: the mean AUC of the periods weighted by positives, the log loss of all rows.
        auc_by_period: one for each period, in order.
        calibration_error: the mean over periods weighted by rows.
        auc_behind, loss_behind: AUC minus that of the best, log loss minus that of the best, with their paired intervals.
        separable: worse than the best beyond the noise.
    """

    name: str
    words: str
    auc: Figure
    log_loss: Figure
    auc_by_period: tuple[float, ...]
    calibration_error: float
    auc_behind: Figure
    loss_behind: Figure

    @property
    def separable(self) -> bool:
        return self.auc_behind.high < 0 or self.loss_behind.low > 0


@dataclass(frozen=True)
class Choice:
    """The candidate that is taken, the best of them all, every standing, and why, in sentences."""

    name: str
    best: str
    standings: tuple[Standing, ...]
    sentences: tuple[str, ...]


def choose(backtest: Backtest, preference: Preference, seed: int) -> Choice:
    """Take the simplest candidate that is not separable from the best, or the best itself if that is preferred."""
    found = standings(backtest, backtest.earlier, seed)
    best = max(found, key=lambda standing: (standing.auc.value, -standing.log_loss.value))
    simplest = next(standing for standing in found if not standing.separable)
    taken = best if preference == "best" else simplest
    sentences = (*_left_out(backtest), _judged_by(backtest), *_searched(backtest), *_why(taken, best, preference, found))
    return Choice(taken.name, best.name, found, sentences)


def against_rule(forecast: Forecast, name: str, seed: int) -> Figure | None:
    """The AUC of a candidate minus that of the rule of thumb on the same rows; None for the rule itself."""
    if name == RULE.name:
        return None
    probability = forecast.probability
    return auc_difference(probability[name], probability[RULE.name], forecast.labels, forecast.entities, seed)


def pooled_difference(first: Sequence[Forecast], second: Sequence[Forecast], name: str, seed: int) -> Figure:
    """The pooled AUC of a candidate in some forecasts less that in others of the same rows, with its paired interval."""
    both = [
        Forecast(
            one.period, one.entities, one.labels, {"first": one.probability[name], "second": two.probability[name]}, one.rate
        )
        for one, two in zip(first, second, strict=True)
    ]
    point, drawn = _pooled(both, ["first", "second"], seed)
    value = point["first auc"] - point["second auc"]
    return Figure(value, *interval(value, drawn["first auc"] - drawn["second auc"]))


def standings(backtest: Backtest, forecasts: Sequence[Forecast], seed: int) -> tuple[Standing, ...]:
    """Every candidate's figures over some forecasts, from the simplest to the cleverest."""
    names = [candidate.name for candidate in backtest.candidates]
    point, drawn = _pooled(forecasts, names, seed)
    best = max(names, key=lambda name: (point[f"{name} auc"], -point[f"{name} loss"]))

    def figure(key: str, less: str | None = None) -> Figure:
        value = point[key] - (point[less] if less else 0.0)
        return Figure(value, *interval(value, drawn[key] - (drawn[less] if less else 0.0)))

    rows = np.array([len(forecast.labels) for forecast in forecasts])
    return tuple(
        Standing(
            name=name,
            words=candidate.words,
            auc=figure(f"{name} auc"),
            log_loss=figure(f"{name} loss"),
            auc_by_period=tuple(
                _ranking(forecast, name).auc_and_loss(np.ones(len(forecast.labels)))[0] for forecast in forecasts
            ),
            calibration_error=float(np.average([_calibration_error(forecast, name) for forecast in forecasts], weights=rows)),
            auc_behind=figure(f"{name} auc", f"{best} auc"),
            loss_behind=figure(f"{name} loss", f"{best} loss"),
        )
        for name, candidate in zip(names, backtest.candidates, strict=True)
    )


def _pooled(forecasts: Sequence[Forecast], names: Sequence[str], seed: int) -> tuple[dict[str, float], dict[str, Floats]]:
    """AUC and log loss of every candidate, pooled: as they are, and in each replicate."""
    rankings = [{name: _ranking(forecast, name) for name in names} for forecast in forecasts]
    codes, entities = pd.factorize(pd.concat([forecast.entities for forecast in forecasts]))
    ends = np.cumsum([len(forecast.labels) for forecast in forecasts])[:-1]
    positives = np.array([forecast.labels.sum() for forecast in forecasts], dtype=float)
    rows = np.array([len(forecast.labels) for forecast in forecasts], dtype=float)

    def statistic(weights: Floats) -> dict[str, float]:
        parts = np.split(weights, ends)
        found: dict[str, float] = {}
        for name in names:
            aucs, losses = zip(*(mine[name].auc_and_loss(part) for mine, part in zip(rankings, parts, strict=True)), strict=True)
            known = np.isfinite(aucs)  # a draw of entities may leave a period without one of the outcomes
            found[f"{name} auc"] = float(np.average(np.array(aucs)[known], weights=positives[known]))
            found[f"{name} loss"] = float(np.average(losses, weights=rows))
        return found

    return statistic(np.ones(len(codes))), bootstrap(codes, len(entities), statistic, seed, REPLICATES)


def _ranking(forecast: Forecast, name: str) -> Ranking:
    return Ranking(forecast.probability[name], forecast.labels)


def _calibration_error(forecast: Forecast, name: str) -> float:
    return _ranking(forecast, name).figures(np.ones(len(forecast.labels)))["calibration_error"]


def _left_out(backtest: Backtest) -> tuple[str, ...]:
    if not backtest.left_out:
        return ()
    names = ", ".join(candidate.name for candidate in backtest.left_out)
    asked = max(candidate.from_rarer for candidate in backtest.left_out)
    return (
        f"Too little to learn from for {names}: the rarer outcome has {backtest.rarer} entities, and they ask for {asked}. "
        "What is simpler is compared instead; the intervals say how little is known.",
    )


def _searched(backtest: Backtest) -> tuple[str, ...]:
    """Without an earlier origin the tuning has no rows of its own."""
    if backtest.kind == "origins" or "lightgbm-tuned" not in {candidate.name for candidate in backtest.candidates}:
        return ()
    return ("The tuned candidate's parameters were searched on the same rows, which flatters it a little.",)


def _judged_by(backtest: Backtest) -> str:
    rows = sum(len(forecast.labels) for forecast in backtest.earlier)
    if backtest.kind == "origins":
        periods = ", ".join(forecast.period for forecast in backtest.earlier)
        return (
            f"Chosen by {len(backtest.earlier)} earlier test {'period' if len(backtest.earlier) == 1 else 'periods'} ({periods}; "
            f"{rows:,} rows), whose outcomes were known before the newest period began."
        )
    if backtest.kind == "folds":
        return (
            f"Chosen by folds of entities among the {rows:,} fitted rows: the history is too short, or holds too few outcomes, "
            "for an earlier test period, so nothing says how the candidates keep over time."
        )
    return (
        f"Chosen by folds of entities, drawn {len(SALTS)} times over the same {len(backtest.newest.labels):,} rows "
        "that the figures are about: choosing among so few candidates flatters them little, but it does."
    )


def _why(taken: Standing, best: Standing, preference: Preference, found: Sequence[Standing]) -> tuple[str, ...]:
    alike = [standing.name for standing in found if not standing.separable and standing.name != taken.name]
    if taken.name == best.name and not alike:
        return (f"{taken.name} is best, separable from every other candidate: AUC {taken.auc.value:.3f}.",)
    if taken.name == best.name:
        reason = "the propensity file asks for the best" if preference == "best" else "it is the simplest of them"
        return (f"{taken.name} is best (AUC {best.auc.value:.3f}), not separable from {', '.join(alike)}; {reason}.",)
    return (
        f"{taken.name} is taken: AUC {taken.auc.value:.3f}, not separable from {best.name}, the best with {best.auc.value:.3f} "
        f"(difference {taken.auc_behind.value:+.3f}, {taken.auc_behind.low:+.3f} to {taken.auc_behind.high:+.3f}), and simpler.",
    )
