"""What the report of a version promised, and how it is told that matured outcomes do not keep it.

Once a week, as soon as every score of a week is mature, the newest one, four and thirteen such weeks are looked at together: a
break shows in one, slow decay only in many. Looks that are repeated find something by chance in the end (Armitage, McPherson and
Rowe, Journal of the Royal Statistical Society A 132, 1969). So the level is divided by all looks and windows of a year, which is
Bonferroni's correction and holds however much they overlap: of a model that keeps its promise, each kind of finding is made in a
year with a probability of at most `FALSE_A_YEAR`. Beyond that a difference must be large enough to matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Any

import numpy as np

from features.finding import Finding, Kind, Severity
from serving.monitor.figures import Figures
from training.evaluation import Figure, Z
from training.slices import LEAST_OF_EACH

FALSE_A_YEAR = 0.05
LOOKS = 52  # a year
WINDOWS = (1, 4, 13)  # weeks
LOST = 0.1  # of the promised AUC's distance from chance: less is not worth an alarm
FACTOR, GREAT_FACTOR = 1.25, 1.5  # between two shares: from the first on a warning, from the second on an alarm
GAP = 0.005  # between two shares, at least
ERROR = 0.02  # of the calibration error beyond chance, at least


@dataclass(frozen=True)
class Promise:
    """The figures of a version on the test rows of its report.

    Attributes:
        auc, auc_low, auc_high: with its 95 % interval.
        calibration_error, calibration_error_high: as far as it may have been.
        base_rate: the share of positives.
        base_rate_error: its standard error, as if the rows of an entity said no more than one.
        figures: every other figure of the report, by name, with `_low` and `_high`.
    """

    auc: float
    auc_low: float
    auc_high: float
    calibration_error: float
    calibration_error_high: float
    base_rate: float
    base_rate_error: float
    figures: Mapping[str, float]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Promise | None:
        """The promise of a stored report; None where it has no test."""
        test = report.get("test")
        if not test:
            return None
        rate = test["positives"] / test["rows"]
        return cls(
            auc=float(test["auc"]),
            auc_low=float(test["auc_low"]),
            auc_high=float(test["auc_high"]),
            calibration_error=float(test["calibration_error"]),
            calibration_error_high=float(test["calibration_error_high"]),
            base_rate=rate,
            base_rate_error=float(np.sqrt(rate * (1 - rate) / max(test["entities"], 1))),
            figures={name: float(value) for name, value in test.items() if isinstance(value, int | float)},
        )

    @property
    def ranking(self) -> Figure:
        """The AUC with its interval."""
        return Figure(self.auc, self.auc_low, self.auc_high)

    @property
    def auc_error(self) -> float:
        """The standard error of the AUC, as its interval tells it."""
        return (self.auc_high - self.auc_low) / (2 * Z)


@dataclass(frozen=True)
class Window:
    """The newest weeks of a version that are wholly mature, together.

    Attributes:
        since: when the first of them begins.
        weeks: how many they are; where not every week has scores they are farther apart.
        figures: of their rows.
        until: when the last of them ends.
    """

    since: datetime
    weeks: int
    figures: Figures
    until: datetime

    @property
    def is_enough(self) -> bool:
        """Whether there are enough rows with and without the outcome to judge by."""
        positives = self.figures.positives
        return min(positives, self.figures.rows - positives) >= LEAST_OF_EACH

    @property
    def told(self) -> str:
        week = "the week" if self.weeks == 1 else f"the {self.weeks} weeks"
        if self.until - self.since > timedelta(weeks=self.weeks):
            return f"{week} with scores between {self.since:%Y-%m-%d} and {self.until:%Y-%m-%d}"
        return f"{week} from {self.since:%Y-%m-%d} on"


@dataclass(frozen=True)
class _Sign:
    """A window in which something shows: how far beyond chance, in standard errors, and what is to be said."""

    beyond: float
    window: Window
    severity: Severity
    sentence: str
    figures: dict[str, float]


def judge(propensity: str, version: str, promise: Promise, windows: Sequence[Window]) -> tuple[Finding, ...]:
    """What the windows of a version say of its promise: of each kind the sign that is furthest beyond chance."""
    made = []
    for kind, look, repair in _KINDS:
        signs = [sign for window in windows if window.is_enough and (sign := look(promise, window)) is not None]
        if signs:
            worst = max(signs, key=lambda sign: sign.beyond)
            made.append(_finding(kind, worst, propensity, version, repair))
    return tuple(made)


def _finding(kind: Kind, sign: _Sign, propensity: str, version: str, repair: str) -> Finding:
    counted = {"beyond": sign.beyond, "rows": sign.window.figures.rows, "weeks": sign.window.weeks}
    return Finding(
        kind=kind, subject="model", severity=sign.severity, where=f"version {version}", propensities=(propensity,),
        sentence=sign.sentence, repair=repair.format(propensity=propensity), since=sign.window.since,
        figures={**sign.figures, **counted},
    )  # fmt: skip


def strict(tests: int = 1, sides: int = 1) -> float:
    """How many standard errors are beyond chance, where so many tests of so many sides are made of each window."""
    return NormalDist().inv_cdf(1 - FALSE_A_YEAR / (LOOKS * len(WINDOWS) * tests * sides))


def _performance(promise: Promise, window: Window) -> _Sign | None:
    """The AUC is below the promise by more than both intervals explain: their standard errors are added in squares."""
    auc, error = window.figures["auc"], window.figures.errors["auc"]
    lost = promise.auc - auc.value
    beyond = _ratio(lost, float(np.hypot(error, promise.auc_error)))
    if beyond <= strict() or lost < LOST * (promise.auc - 0.5):
        return None
    sentence = (
        f"It ranks worse than promised: AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}) in {window.told}, where the report "
        f"said {promise.auc:.3f} ({promise.auc_low:.3f} to {promise.auc_high:.3f})."
    )
    return _Sign(beyond, window, "alarm", sentence, {"auc": auc.value, "promised": promise.auc})


def _calibration(promise: Promise, window: Window) -> _Sign | None:
    """Two tests: the mean probability against what happened, and the calibration error against that of right probabilities."""
    found = window.figures
    predicted, happened, error = found["predicted"].value, found["happened"].value, found["calibration_error"].value
    beyond, limit = _ratio(abs(found["gap"].value), found.errors["gap"]), strict(tests=2, sides=2)
    facts = {"predicted": predicted, "happened": happened, "calibration_error": error}
    severity = _size(predicted, happened)
    if beyond > limit and severity:
        sentence = f"It predicts {_percent(predicted)}, and {_percent(happened)} happened in {window.told}."
        return _Sign(beyond, window, severity, sentence, facts)
    excess = error - found.chance_calibration_error
    beyond = _ratio(excess, found.chance_calibration_sd)
    if beyond > strict(tests=2) and excess >= ERROR and error > promise.calibration_error_high:
        sentence = (
            f"Its probabilities are off by {_percent(error)} on average in {window.told}, where chance explains "
            f"{_percent(found.chance_calibration_error)}; on the whole it predicts {_percent(predicted)}, and "
            f"{_percent(happened)} happened."
        )
        return _Sign(beyond, window, "warning", sentence, facts)
    return None


def _base_rate(promise: Promise, window: Window) -> _Sign | None:
    happened, error = window.figures["happened"], window.figures.errors["happened"]
    beyond = _ratio(abs(happened.value - promise.base_rate), float(np.hypot(error, promise.base_rate_error)))
    severity = _size(promise.base_rate, happened.value)
    if beyond <= strict(sides=2) or severity is None:
        return None
    often = "more" if happened.value > promise.base_rate else "less"
    sentence = (
        f"The outcome happens {often} often than when the model was tested: {_percent(happened.value)} "
        f"({_percent(happened.low)} to {_percent(happened.high)}) in {window.told}, {_percent(promise.base_rate)} then."
    )
    return _Sign(beyond, window, severity, sentence, {"happened": happened.value, "promised": promise.base_rate})


def _size(one: float, other: float) -> Severity | None:
    """How grave it is that one share is not the other."""
    low, high = sorted((one, other))
    if high - low < GAP or high < FACTOR * low:
        return None
    return "alarm" if high >= GREAT_FACTOR * low else "warning"


def _ratio(difference: float, error: float) -> float:
    return difference / error if error else (np.inf if difference > 0 else 0.0)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


_Look = Callable[[Promise, Window], _Sign | None]
_KINDS: tuple[tuple[Kind, _Look, str], ...] = (
    (
        "performance",
        _performance,
        "Train again: `foresell train {propensity}`; a list by this version finds fewer than promised.",
    ),
    ("calibration", _calibration, "Use ranks and grades rather than probabilities until `foresell train {propensity}` was run."),
    ("base_rate", _base_rate, "Ask what changed: prices, a campaign, how outcomes are recorded; then train again."),
)
