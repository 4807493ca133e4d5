"""Estimated performance without labels: what a model's own probabilities let expect of it before outcomes are known.

Confidence-based performance estimation: if every probability is right, so many of those with 20 % will turn out positive, and
with that every figure has an expectation (Kivimäki, Białek, Nurminen and Kuberski, Confidence-based Estimators for Predictive
Performance in Model Monitoring, Journal of Artificial Intelligence Research 82, 2025; first as CBPE in NannyML). It sees that
a model meets other entities than before, which it can tell apart less well: covariate shift. It never sees that the same
entities now behave otherwise, concept drift, because it takes the probabilities for right. Therefore each week's estimate is
kept, held against what really happened as soon as that has matured, and shown with its error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field, TypeAdapter, ValidationError

from features.catalog import write_atomically
from features.finding import Finding
from features.settings import Workspace
from features.strict import Strict
from serving.monitor.served import monday_of
from training.contract import Floats
from training.evaluation import LEVEL, Figure, Ranking

STEPS = 500  # of equal size into which more rows are put before outcomes are drawn for each
DRAWS = 400
SHARE = 0.1  # the best tenth, whose lift is estimated
LEAST_WEEKS = 8  # checked ones before their errors widen the next interval
COVERED = 0.8  # of the rows of a week must have matured before it is checked
FALL, OF_RANKING = 0.02, 0.1  # what the expected AUC must lose: so much, and so much of what it was promised above chance
FIGURES = ("auc", "log_loss", "brier", "lift_at_10pct", "base_rate")
WITHIN_ONE = ("auc", "brier", "base_rate")


class Estimated(Strict):
    """One figure: expected, the 95 % interval of what the outcomes of these rows will make of it, cut at the figure's range, and
    half the interval as it was before earlier errors widened it."""

    value: float
    low: float
    high: float
    spread: float

    @property
    def half(self) -> float:
        return (self.high - self.low) / 2


class Estimate(Strict):
    """What is to be expected of a version on the rows of one day.

    Attributes:
        as_of: which day (UTC).
        rows: how many.
        figures: `auc`, `log_loss`, `brier`, `lift_at_10pct`, `base_rate`.
        widened: by which factor the interval of a figure was widened for earlier errors; a figure that was not is not there.
    """

    as_of: datetime
    rows: int
    figures: dict[str, Estimated]
    widened: dict[str, float] = Field(default_factory=dict)

    def __getitem__(self, name: str) -> Estimated:
        return self.figures[name]


class Checked(Strict):
    """An estimate, the rows whose outcomes matured, and the figures as they came."""

    estimate: Estimate
    rows: int
    realised: dict[str, float]

    def error(self, name: str) -> float:
        """What happened less what was expected."""
        return self.realised[name] - self.estimate[name].value

    def is_covered(self, name: str) -> bool:
        """Whether what happened lies in the interval."""
        return self.estimate[name].low <= self.realised[name] <= self.estimate[name].high


class Check(Strict):
    """How well the estimates of a version did.

    Attributes:
        weeks: those that could be checked, oldest first.
        errors: of each figure the mean error.
        coverage: of each figure the share of weeks in whose interval it came to lie.
    """

    weeks: tuple[Checked, ...] = ()
    errors: dict[str, float] = Field(default_factory=dict)
    coverage: dict[str, float] = Field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """For a report."""
        if not self.weeks:
            return "No estimate could be held against outcomes yet."
        held = f"{len(self.weeks)} week{'s' if len(self.weeks) > 1 else ''} held against outcomes"
        inside = f"{self.coverage['auc']:.0%}".replace("%", " %")
        mean = f"the AUC came out {self.errors['auc']:+.3f} on average against its estimate"
        return f"{held}: {mean}, in {inside} of them inside its interval."


_ESTIMATES = TypeAdapter(tuple[Estimate, ...])


def estimate(probability: Floats, as_of: datetime, checked: Check | None = None, seed: int = 7) -> Estimate | None:
    """What to expect of calibrated probabilities, one row each; None of fewer than two rows.

    The interval is that of outcomes drawn from the probabilities (Poisson-binomial). Where at least `LEAST_WEEKS` earlier
    estimates were checked it is widened to what would have held in 95 % of them, as a conformal interval is (errors in units
    of the interval's half, Lei et al., Distribution-Free Predictive Inference for Regression, 2018); of fewer than 19 weeks
    the largest error counts.

    Args:
        probability: calibrated.
        as_of: the day.
        checked: how well earlier estimates of the version did.
        seed: of the draws.
    """
    if len(probability) < 2:
        return None
    known = np.clip(probability, 1e-9, 1 - 1e-9)
    exact, steps = _Steps(known, len(known)), _Steps(known, STEPS)
    expected = exact.figures(exact.positives[None, :])
    drawn = steps.figures(steps.drawn(np.random.default_rng(seed)))
    factors = widening(checked) if checked else {}
    found = {name: _interval(name, float(expected[name][0]), drawn[name], factors.get(name, 1.0)) for name in FIGURES}
    return Estimate(as_of=as_of, rows=len(probability), figures=found, widened={n: f for n, f in factors.items() if f > 1})


def widening(checked: Check) -> dict[str, float]:
    """By which factor the intervals must be widened to hold as often as they say, judged by the weeks that were checked."""
    if len(checked.weeks) < LEAST_WEEKS:
        return {}
    return {name: max(1.0, _conformal([_ratio(week, name) for week in checked.weeks])) for name in FIGURES}


def remember(workspace: Workspace, propensity: str, version: str, made: Estimate) -> tuple[Estimate, ...]:
    """Keep the estimate of a week, the first that is made in it, and return all that are kept, oldest first."""
    there = kept(workspace, propensity, version)
    if monday_of(made.as_of) in {monday_of(one.as_of) for one in there}:
        return there
    together = tuple(sorted([*there, made], key=lambda one: one.as_of))
    write_atomically(place(workspace, propensity, version), _ESTIMATES.dump_json(together, indent=1) + b"\n")
    return together


def kept(workspace: Workspace, propensity: str, version: str) -> tuple[Estimate, ...]:
    """The estimates of a version, one a week, oldest first; none where another release kept them."""
    try:
        return _ESTIMATES.validate_json(place(workspace, propensity, version).read_bytes())
    except (FileNotFoundError, ValidationError):
        return ()


def place(workspace: Workspace, propensity: str, version: str) -> Path:
    """Where the estimates of a version lie."""
    return workspace.watch / "estimates" / f"{propensity}-{version}.json"


def check(estimates: Sequence[Estimate], matured: pd.DataFrame, version: str) -> Check:
    """Hold estimates against outcomes.

    Args:
        estimates: of one version, one a week.
        matured: rows as `serving.monitor.matured` keeps them, of any version and road.
        version: whose.

    Returns:
        The weeks of whose rows enough have matured, with both outcomes among them.
    """
    mine = matured[(matured["model_version"] == version) & (matured["road"] == "batch")]
    groups = {pd.Timestamp(str(at)).to_pydatetime(): rows for at, rows in mine.groupby("scored_at")}
    found = [_checked(one, groups[one.as_of]) for one in estimates if one.as_of in groups]
    weeks = tuple(one for one in found if one is not None)
    if not weeks:
        return Check()
    errors = {name: float(np.mean([one.error(name) for one in weeks])) for name in FIGURES}
    coverage = {name: float(np.mean([one.is_covered(name) for one in weeks])) for name in FIGURES}
    return Check(weeks=weeks, errors=errors, coverage=coverage)


def realised(probability: Floats, labels: np.ndarray) -> dict[str, float]:
    """The same figures from outcomes."""
    ranking = Ranking(np.clip(probability, 1e-9, 1 - 1e-9), labels.astype(np.int8))
    figures = ranking.figures(np.ones(len(labels)))
    return {**{name: figures[name] for name in FIGURES[:-1]}, "base_rate": float(labels.mean())}


def weekly(
    workspace: Workspace, propensity: str, version: str, as_of: datetime, probability: Floats, matured: pd.DataFrame
) -> tuple[Estimate | None, Check]:
    """Estimate a day, widened by what became of earlier estimates of the version, keep it if it is its week's first, and
    check the earlier ones.

    Args:
        workspace: where estimates are kept.
        propensity, version: whose.
        as_of: the day.
        probability: of each eligible row, as `serving.monitor.drift.drift` brings it.
        matured: rows as `serving.monitor.matured` keeps them.
    """
    checked = check([one for one in kept(workspace, propensity, version) if one.as_of < as_of], matured, version)
    made = estimate(probability, as_of, checked)
    if made is not None:
        remember(workspace, propensity, version, made)
    return made, checked


def finding(made: Estimate, propensity: str, version: str, promised: Figure, ordinary: Sequence[float] = ()) -> Finding | None:
    """What is to be said when the expected AUC has fallen: below the promise beyond both their intervals, by so much that it
    matters, and below what the same estimate says of every reference date.

    Args:
        made: the estimate.
        propensity, version: whose.
        promised: the AUC that the version's report promises.
        ordinary: the AUC that is to be expected at each reference date (`Reference.ordinary_aucs`).
    """
    auc = made["auc"]
    fall = promised.value - auc.value
    unsure = float(np.hypot(auc.half, (promised.high - promised.low) / 2))
    least = max(FALL, OF_RANKING * (promised.value - 0.5))
    if fall < least or fall < unsure or auc.high >= min(ordinary, default=promised.value):
        return None
    return Finding(
        kind="estimate",
        subject="model",
        severity="alarm",
        where=f"version {version}",
        propensities=(propensity,),
        sentence=(
            f"An AUC of {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) is to be expected of the {made.rows:,} scored on "
            f"{made.as_of:%Y-%m-%d}, where {promised.value:.3f} was promised: the model can tell these entities apart less well."
        ),
        repair=f"see which features moved or went missing; if nothing is wrong with them, `foresell retrain {propensity}`",
        since=made.as_of,
        figures={"auc": auc.value, "low": auc.low, "high": auc.high, "promised": promised.value},
    )


class _Steps:
    """Rows in falling order of probability, in steps of equal ones, or where those are too many of nearly equal ones.

    The positives of a step are drawn from a binomial distribution of its mean probability, which is what the Poisson-binomial of
    nearly equal probabilities is.
    """

    def __init__(self, probability: Floats, most: int) -> None:
        ordered = np.sort(probability)[::-1]
        step = np.cumsum(np.r_[False, np.diff(ordered) != 0])
        if step[-1] >= most:
            step = np.arange(len(ordered)) * most // len(ordered)
        self.rows = np.bincount(step).astype(np.float64)
        self.positives: Floats = np.bincount(step, ordered).astype(np.float64)
        negatives = self.rows - self.positives
        self._of_positive = -np.bincount(step, ordered * np.log(ordered)) / self.positives
        self._of_negative = -np.bincount(step, (1 - ordered) * np.log1p(-ordered)) / negatives
        self._square_of_positive = np.bincount(step, ordered * (1 - ordered) ** 2) / self.positives
        self._square_of_negative = np.bincount(step, (1 - ordered) * ordered**2) / negatives

    def drawn(self, random: np.random.Generator) -> Floats:
        """The positives of each step, a row a draw."""
        chances = np.clip(self.positives / self.rows, 0, 1)
        return random.binomial(self.rows.astype(np.int64), chances, (DRAWS, len(self.rows))).astype(np.float64)

    def figures(self, positive: Floats) -> Mapping[str, Floats]:
        """Each figure, one value a row of positives."""
        negative, whole = self.rows - positive, float(self.rows.sum())
        found = positive.sum(axis=1)
        above = np.cumsum(positive, axis=1) - positive / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            auc = (negative * above).sum(axis=1) / (found * (whole - found))
            lift = self._best(positive) / found / SHARE
        return {
            "auc": auc,
            "log_loss": (positive @ self._of_positive + negative @ self._of_negative) / whole,
            "brier": (positive @ self._square_of_positive + negative @ self._square_of_negative) / whole,
            "lift_at_10pct": lift,
            "base_rate": found / whole,
        }

    def _best(self, positive: Floats) -> Floats:
        """The positives among the best tenth, of the step it ends in a proportional part."""
        ends = np.cumsum(self.rows)
        taken = np.clip((SHARE * ends[-1] - (ends - self.rows)) / self.rows, 0, 1)
        best: Floats = positive @ taken
        return best


def _interval(name: str, value: float, drawn: Floats, factor: float) -> Estimated:
    tail, known = (1 - LEVEL) / 2, drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [tail, 1 - tail]) if len(known) else (value, value)
    down, up = max(value - float(low), 0.0), max(float(high) - value, 0.0)
    most = 1.0 if name in WITHIN_ONE else np.inf
    return Estimated(
        value=value, low=max(value - factor * down, 0.0), high=min(value + factor * up, most), spread=(down + up) / 2
    )


def _ratio(week: Checked, name: str) -> float:
    """The error of a week in units of half its interval without widening, so that what widened it is not counted twice."""
    return abs(week.error(name)) / max(week.estimate[name].spread, 1e-12)


def _conformal(ratios: Sequence[float]) -> float:
    """The smallest ratio that at least 95 % of them and of a further one do not exceed; the largest where they are too few."""
    rank = int(np.ceil((len(ratios) + 1) * LEVEL))
    return float(np.sort(ratios)[min(rank, len(ratios)) - 1])


def _checked(one: Estimate, rows: pd.DataFrame) -> Checked | None:
    """A week whose rows have matured, as far as they are enough and not all of one outcome."""
    labels = rows["label"].to_numpy()
    if len(rows) < COVERED * one.rows or labels.min() == labels.max():
        return None
    happened = realised(rows["probability"].to_numpy(np.float64), labels)
    return Checked(estimate=one, rows=len(rows), realised=happened)
