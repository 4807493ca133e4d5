"""How good calibrated probabilities are: figures with intervals, and the curves behind the plots.

Every figure is computed from row weights, so that one code gives the point estimate (weights of 1) and each bootstrap replicate
(how often the row's entity was drawn). Replicates draw entities, not rows: the rows of one customer stay together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int8]
BINS = 10
LIFT_SHARES = (0.01, 0.05, 0.10, 0.20)
REPLICATES = 200
LEVEL = 0.95
Z = 1.959964  # beyond which, to both sides, a normal value lies with the rest of it
AT_MOST_ONE = ("auc", "pr_auc", "brier", "calibration_error")  # a log loss and a lift may be more


@dataclass(frozen=True)
class Figure:
    """An estimate with the bounds of its 95 % interval: the spread of the replicates, moved to the estimate and cut at its range.

    Replicates of a calibration error are larger than the error itself, because drawing adds chance to every bin.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Evaluation:
    """The figures of one set of rows.

    Attributes:
        figures: `auc`, `pr_auc`, `log_loss`, `brier`, `calibration_error`, `lift_at_1pct`, `..._5pct`, `..._10pct`, `..._20pct`.
        chance_calibration_error: the calibration error that perfectly calibrated probabilities would show on so many rows.
        rows, positives, entities: what was counted.
        chance_calibration_sd: by how much that error differs from one such set of rows to the next, as a standard deviation.
    """

    figures: Mapping[str, Figure]
    chance_calibration_error: float
    rows: int
    positives: int
    entities: int
    chance_calibration_sd: float

    def __getitem__(self, name: str) -> Figure:
        return self.figures[name]


@dataclass(frozen=True)
class Curves:
    """The points behind the plots.

    `reliability`: predicted, observed, low, high, rows of each of ten equal bins. `gains`: contacted share, found share of the
    positives. `histogram`: lower edge, upper edge, share of the positives, share of the negatives.
    """

    reliability: tuple[tuple[float, float, float, float, int], ...]
    gains: tuple[tuple[float, float], ...]
    histogram: tuple[tuple[float, float, float, float], ...]


class Ranking:
    """Rows sorted once by falling probability, so that a replicate costs a few cumulative sums.

    Ties count as ties: half a pair in the AUC, one threshold in the PR AUC, a proportional share in the lift.
    """

    def __init__(self, probability: Floats, labels: Labels) -> None:
        """Sort the rows; both classes must be present for the AUC to exist."""
        self.order = np.argsort(-probability, kind="stable")
        self.probability = probability[self.order]
        self.labels = labels[self.order].astype(np.float64)
        self.starts = np.flatnonzero(np.r_[True, np.diff(self.probability) != 0])
        self.losses = -np.log(np.where(self.labels == 1, self.probability, 1 - self.probability))
        self.squares = (self.probability - self.labels) ** 2
        self.bin = self._bins()

    def _bins(self) -> NDArray[np.int64]:
        """The bin of each row: ten about equally full ones, ties together, so that the order of the rows says nothing."""
        ends = np.r_[self.starts[1:], len(self.labels)]
        middle = (self.starts + ends - 1) // 2
        bins = np.minimum(middle * BINS // max(len(self.labels), 1), BINS - 1)
        return np.repeat(bins, ends - self.starts).astype(np.int64)

    def auc_and_loss(self, weights: Floats) -> tuple[float, float]:
        """The AUC and the log loss under row weights given in the order of the rows; a fraction of the cost of `figures`."""
        weight = weights[self.order]
        positive, total = self._by_threshold(weight)
        return _auc(positive, total), float(weight @ self.losses) / float(weight.sum())

    def _by_threshold(self, weight: Floats) -> tuple[Floats, Floats]:
        """The weight of the positives, and of all rows, at each different probability."""
        positive = weight * self.labels
        if len(self.starts) == len(self.labels):
            return positive, weight
        return np.add.reduceat(positive, self.starts), np.add.reduceat(weight, self.starts)

    def order_figures(self, weight: Floats) -> tuple[float, float, float]:
        """AUC, lift of the best tenth, and the AUC to be expected if every probability is right; weights best row first."""
        total = np.add.reduceat(weight, self.starts)
        positive = np.add.reduceat(weight * self.labels, self.starts)
        promised = np.add.reduceat(weight * self.probability, self.starts)
        return _auc(positive, total), _lift(positive, total, 0.1), _auc(promised, total)

    def figures(self, weights: Floats) -> dict[str, float]:
        """Every figure under row weights given in the order of the rows."""
        weight = weights[self.order]
        positive, total = self._by_threshold(weight)
        lifts = {f"lift_at_{share:.0%}".replace("%", "pct"): _lift(positive, total, share) for share in LIFT_SHARES}
        whole = float(weight.sum())
        return {
            "auc": _auc(positive, total),
            "pr_auc": _average_precision(positive, total),
            "log_loss": float(weight @ self.losses) / whole,
            "brier": float(weight @ self.squares) / whole,
            "calibration_error": self._calibration_error(weight, self.labels),
            **lifts,
        }

    def chance_calibration_error(self, seed: int, draws: int = 100) -> tuple[float, float]:
        """Mean and standard deviation of the calibration error if every label were drawn from its own predicted probability."""
        random = np.random.default_rng(seed)
        ones = np.ones(len(self.labels))
        drawn = ((random.random(len(ones)) < self.probability).astype(np.float64) for _ in range(draws))
        errors = [self._calibration_error(ones, labels) for labels in drawn]
        return float(np.mean(errors)), float(np.std(errors))

    def _calibration_error(self, weight: Floats, labels: Floats) -> float:
        gaps = np.bincount(self.bin, weight * (labels - self.probability), BINS)
        return float(np.abs(gaps).sum() / weight.sum())


def evaluate(probability: Floats, labels: Labels, entities: pd.Series, seed: int, replicates: int = REPLICATES) -> Evaluation:
    """The figures with their bootstrap intervals.

    Args:
        probability: calibrated, one per row.
        labels: 0 or 1, both present.
        entities: the entity of each row; the unit that is drawn.
        seed: equal seeds give equal intervals.
        replicates: bootstrap draws.
    """
    ranking = Ranking(probability, labels)
    codes, names = pd.factorize(entities)
    point = ranking.figures(np.ones(len(labels)))
    drawn = bootstrap(codes, len(names), ranking.figures, seed, replicates)
    bounds = {name: interval(value, drawn[name]) for name, value in point.items()}
    most = {name: 1.0 if name in AT_MOST_ONE else np.inf for name in point}
    figures = {name: Figure(value, max(bounds[name][0], 0.0), min(bounds[name][1], most[name])) for name, value in point.items()}
    chance, sd = ranking.chance_calibration_error(seed)
    return Evaluation(figures, chance, len(labels), int(labels.sum()), len(names), sd)


def auc_difference(
    first: Floats, second: Floats, labels: Labels, entities: pd.Series, seed: int, replicates: int = REPLICATES
) -> Figure:
    """AUC of the first minus AUC of the second probability on the same rows, with its paired bootstrap interval."""
    return differences(first, second, labels, entities, seed, replicates)["auc"]


def differences(
    first: Floats,
    second: Floats,
    labels: Labels,
    entities: pd.Series,
    seed: int,
    replicates: int = REPLICATES,
    level: float = LEVEL,
) -> dict[str, Figure]:
    """`auc` and `log_loss` of the first minus those of the second probability on the same rows, with paired bootstrap intervals.

    Args:
        first, second: calibrated, one per row.
        labels: 0 or 1, both present.
        entities: the entity of each row; the unit that is drawn.
        seed: equal seeds give equal intervals.
        replicates: bootstrap draws.
        level: of the intervals.
    """
    one, two = Ranking(first, labels), Ranking(second, labels)
    codes, names = pd.factorize(entities)

    def difference(weights: Floats) -> dict[str, float]:
        pairs = zip(("auc", "log_loss"), one.auc_and_loss(weights), two.auc_and_loss(weights), strict=True)
        return {name: mine - other for name, mine, other in pairs}

    drawn = bootstrap(codes, len(names), difference, seed, replicates)
    values = difference(np.ones(len(labels)))
    return {name: Figure(value, *interval(value, drawn[name], level)) for name, value in values.items()}


def bootstrap(
    codes: NDArray[np.intp],
    entities: int,
    statistic: Callable[[Floats], Mapping[str, float | Floats]],
    seed: int,
    replicates: int,
) -> dict[str, Floats]:
    """`statistic` under the row weights of each replicate; entities are drawn with replacement.

    Args:
        codes: the number of each row's entity, 0 to `entities` - 1.
        entities: how many there are.
        statistic: from row weights to named figures, or to named curves.
        seed: of the draws.
        replicates: how many.
    """
    random = np.random.default_rng(seed)
    results = []
    for _ in range(replicates):
        times_drawn = np.bincount(random.integers(0, entities, entities), minlength=entities).astype(np.float64)
        results.append(statistic(times_drawn[codes]))
    return {name: np.array([result[name] for result in results]) for name in results[0]}


def curves(probability: Floats, labels: Labels) -> Curves:
    """Reliability in ten equal bins (Wilson intervals), cumulative gains in 100 steps, and the score distribution by outcome."""
    return Curves(_reliability(probability, labels), _gains(probability, labels), _histogram(probability, labels))


def _auc(positive: Floats, total: Floats) -> float:
    negative = total - positive
    above = np.cumsum(positive) - positive
    pairs = float(positive.sum()) * float(negative.sum())
    return float(negative @ (above + positive / 2)) / pairs if pairs else float("nan")


def _average_precision(positive: Floats, total: Floats) -> float:
    found, contacted = np.cumsum(positive), np.cumsum(total)
    if not found[-1]:
        return float("nan")
    precision = np.divide(found, contacted, out=np.zeros_like(found), where=contacted > 0)
    return float(positive @ precision) / float(found[-1])


def _lift(positive: Floats, total: Floats, share: float) -> float:
    found, contacted = np.r_[0.0, np.cumsum(positive)], np.r_[0.0, np.cumsum(total)]
    if not found[-1]:
        return float("nan")
    return float(np.interp(share * contacted[-1], contacted, found)) / float(found[-1]) / share


def interval(value: float, replicates: Floats, level: float = LEVEL) -> tuple[float, float]:
    """The bounds of a value, at 95 % where nothing else is said: the spread of its replicates, moved to it."""
    tail = (1 - level) / 2
    low, high = np.nanquantile(replicates, [tail, 1 - tail]) - np.nanmean(replicates) + value
    return float(low), float(high)


def _reliability(probability: Floats, labels: Labels) -> tuple[tuple[float, float, float, float, int], ...]:
    ranking = Ranking(probability, labels)
    parts = [ranking.order[ranking.bin == number] for number in sorted(set(ranking.bin.tolist()), reverse=True)]
    return tuple(
        (float(probability[part].mean()), float(labels[part].mean()), *wilson(int(labels[part].sum()), len(part)), len(part))
        for part in parts
    )


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a share at 95 %."""
    share, shrink = successes / trials, 1 + Z * Z / trials
    centre = (share + Z * Z / (2 * trials)) / shrink
    half = Z * float(np.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))) / shrink
    return max(min(centre - half, share), 0.0), min(max(centre + half, share), 1.0)  # rounding may cross the share at 0 and 1


def _gains(probability: Floats, labels: Labels) -> tuple[tuple[float, float], ...]:
    ranking = Ranking(probability, labels)
    positive = np.add.reduceat(ranking.labels, ranking.starts)
    contacted = np.r_[0, ranking.starts[1:], len(labels)] / len(labels)
    found = np.r_[0.0, np.cumsum(positive)] / positive.sum()
    shares = np.linspace(0, 1, 101)
    return tuple(zip(shares.tolist(), np.interp(shares, contacted, found).tolist(), strict=True))


def _histogram(probability: Floats, labels: Labels) -> tuple[tuple[float, float, float, float], ...]:
    edges = np.linspace(0, min(1.0, float(np.quantile(probability, 0.999)) * 1.05), 31)
    counts = [np.histogram(np.minimum(probability[labels == value], edges[-1]), edges)[0] for value in (1, 0)]
    shares = [count / max(int(count.sum()), 1) for count in counts]
    return tuple(
        (float(low), float(high), float(one), float(zero))
        for low, high, one, zero in zip(edges[:-1], edges[1:], *shares, strict=True)
    )
