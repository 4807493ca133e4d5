"""The figures of matured rows with their intervals in closed form, so that a year of weeks of 100,000 rows takes seconds.

The estimates are those of a report (`training.evaluation.Ranking`). Each has an influence value a row, summed over the rows of an
entity before it is squared, so that the weeks of one customer count as one: for the AUC these are the structural components of
DeLong, DeLong and Clarke-Pearson (Biometrics 44, 1988), computed by ranks as Sun and Xu (IEEE Signal Processing Letters 21, 2014)
do and clustered as by Obuchowski (Biometrics 53, 1997); for means and ratios they are linear (delta method).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.evaluation import BINS, Figure, Floats, Labels, Ranking, Z, wilson

SHOWN = ("auc", "log_loss", "brier", "calibration_error", "lift_at_10pct")
HIGHEST = {"auc": 1.0, "brier": 1.0, "calibration_error": 1.0, "predicted": 1.0}
BEST = 0.1  # the part of a list whose lift is told


@dataclass(frozen=True)
class Figures:
    """What some rows show.

    Attributes:
        rows, positives, entities: counted.
        figures: `auc`, `log_loss`, `brier`, `calibration_error`, `lift_at_10pct`, `predicted` (the mean probability), `happened`
            (the share of positives), `gap` (`predicted` less `happened`) and, where a worth is stated, `profit` of one list; one
            that cannot be told, such as the AUC of negatives alone, is not there.
        errors: the standard error of each.
        chance_calibration_error, chance_calibration_sd: of probabilities that are right, on so many rows.
    """

    rows: int
    positives: int
    entities: int
    figures: Mapping[str, Figure]
    errors: Mapping[str, float]
    chance_calibration_error: float
    chance_calibration_sd: float

    def __getitem__(self, name: str) -> Figure:
        return self.figures[name]


def figures(
    probability: Floats, labels: Labels, entities: NDArray[np.int64], earned: Floats | None = None, lists: float = 1
) -> Figures:  # fmt: skip
    """The figures of at least one row.

    Args:
        probability: calibrated.
        labels: 0 or 1.
        entities: a number of each row's entity.
        earned: what contacting each row brought, 0 of one that would not have been contacted; without it there is no profit.
        lists: how many lists these rows are of, a sample of them a part.
    """
    codes = np.unique(entities, return_inverse=True)[1]
    ranking, happened = Ranking(probability, labels), labels.astype(np.float64)
    point = {name: value for name, value in ranking.figures(np.ones(len(labels))).items() if name in SHOWN}
    point |= {"predicted": float(probability.mean()), "happened": float(happened.mean())}
    point["gap"] = point["predicted"] - point["happened"]
    influence = _influence(probability, happened, ranking, point)
    if earned is not None:
        point["profit"], influence["profit"] = float(earned.sum()) / lists, earned / lists
    errors = {name: _error(codes, influence[name]) for name in influence if np.isfinite(point[name])}
    chance, sd, errors["calibration_error"] = _calibration(ranking)
    shown = {name: _figure(name, point[name], error, len(labels)) for name, error in errors.items()}
    return Figures(len(labels), int(labels.sum()), int(codes.max()) + 1, shown, errors, chance, sd)


def _influence(probability: Floats, happened: Floats, ranking: Ranking, point: Mapping[str, float]) -> dict[str, Floats]:
    """By how much each row moves each figure."""
    rows = len(happened)
    loss = np.empty(rows)
    loss[ranking.order] = ranking.losses
    means = {"log_loss": loss, "brier": (probability - happened) ** 2, "predicted": probability, "happened": happened,
             "gap": probability - happened}  # fmt: skip
    found = {name: (values - point[name]) / rows for name, values in means.items()}
    if 0 < happened.sum() < rows:
        found["auc"] = _of_auc(probability, happened == 1, point["auc"])
    if happened.any():
        found["lift_at_10pct"] = _of_lift(happened, ranking, point)
    return found


def _of_auc(probability: Floats, positive: NDArray[np.bool_], auc: float) -> Floats:
    from scipy.stats import rankdata

    above = rankdata(probability)
    found = np.empty(len(probability))
    for mine in (positive, ~positive):
        others = len(mine) - mine.sum()
        beaten = (above[mine] - rankdata(probability[mine])) / others  # the share of the other class below, ties by half
        found[mine] = ((beaten if mine is positive else 1 - beaten) - auc) / mine.sum()
    return found


def _of_lift(happened: Floats, ranking: Ranking, point: Mapping[str, float]) -> Floats:
    """Of the ratio of two shares, the best tenth being held fixed."""
    best = np.zeros(len(happened))
    best[ranking.order[: max(1, round(BEST * len(happened)))]] = 1
    rate, lift = point["happened"], point["lift_at_10pct"]
    found: Floats = (best * (happened - lift * rate) / best.sum() - lift * (happened - rate) / len(happened)) / rate
    return found


def _error(codes: NDArray[np.int64], influence: Floats) -> float:
    """The standard error: the influence of entities, squared and summed."""
    summed = np.bincount(codes, influence)
    many = len(summed)
    centred = summed - summed.mean()
    return float(np.sqrt((centred @ centred) * many / max(many - 1, 1)))


def _calibration(ranking: Ranking) -> tuple[float, float, float]:
    """The calibration error of right probabilities, its standard deviation, and that of the error itself.

    The gap of a bin is then about normal around 0, and its size a folded normal (Leone, Nelson and Nottingham, Technometrics 3,
    1961): its mean is sqrt(2 / pi) of its standard deviation, its variance 1 - 2 / pi of its variance.
    """
    rows = len(ranking.labels)
    chance = np.bincount(ranking.bin, ranking.probability * (1 - ranking.probability), BINS)
    spread = np.bincount(ranking.bin, (ranking.labels - ranking.probability) ** 2, BINS)
    mean = float(np.sqrt(2 / np.pi) * np.sqrt(chance).sum() / rows)
    return mean, float(np.sqrt((1 - 2 / np.pi) * chance.sum()) / rows), float(np.sqrt(spread.sum()) / rows)


def _figure(name: str, value: float, error: float, rows: int) -> Figure:
    if name == "happened":
        worth = value * (1 - value) / error**2 if error else rows  # so many independent rows would tell as much
        return Figure(value, *wilson(round(value * worth), max(1, round(worth)))) if worth >= 1 else Figure(value, 0.0, 1.0)
    low, high = value - Z * error, value + Z * error
    if name in ("gap", "profit"):
        return Figure(value, low, high)
    return Figure(value, max(low, 0.0), min(high, HIGHEST.get(name, np.inf)))
