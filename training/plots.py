"""The plots of a report, as SVG text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from features.drawing import ACCENT, COOL, FAINT, INK, STYLE, WARM, percent, svg, text
from training.evaluation import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROLES = {"train": ACCENT, "calibration": "#7fb7be", "test": WARM, "unused": COOL}


@dataclass(frozen=True)
class Date:
    """One as_of of the dataset: its role, its rows, the share of positives, and the mean prediction where it was tested."""

    as_of: datetime
    role: str
    rows: int
    rate: float
    predicted: float | None


def reliability(curves: Curves) -> str:
    """What was predicted against what happened, in ten equal bins."""

    def draw(axes: Axes) -> None:
        predicted, observed, low, high, _ = zip(*curves.reliability, strict=True)
        edge = min(1.0, max((*predicted, *high)) * 1.05)
        axes.plot([0, edge], [0, edge], color=FAINT, linewidth=1, dashes=(4, 3))
        errors = [[o - a for o, a in zip(observed, low, strict=True)], [b - o for o, b in zip(observed, high, strict=True)]]
        axes.errorbar(predicted, observed, errors, color=ACCENT, marker="o", markersize=5, linewidth=1.5, elinewidth=1)
        axes.set(xlim=(0, edge), ylim=(0, edge), xlabel="predicted probability", ylabel="share that happened")
        percent(axes.xaxis, axes.yaxis)

    return svg(draw)


def gains(curves: Curves, base_rate: float) -> str:
    """The share of all positives that is found when the best so-and-so many are contacted."""

    def draw(axes: Axes) -> None:
        contacted, found = zip(*curves.gains, strict=True)
        axes.plot([0, base_rate, 1], [0, 1, 1], color=FAINT, linewidth=1, label="perfect")
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, dashes=(4, 3), label="at random")
        axes.plot(contacted, found, color=ACCENT, linewidth=2, label="this model")
        axes.set(xlim=(0, 1), ylim=(0, 1.01), xlabel="contacted, best first", ylabel="positives found")
        percent(axes.xaxis, axes.yaxis)
        axes.legend(loc="lower right")

    return svg(draw)


def lift(lifts: Mapping[str, tuple[float, float, float]]) -> str:
    """How many times more positives the best part holds than a part drawn at random; value, low, high for each part."""

    def draw(axes: Axes) -> None:
        values = [value for value, _, _ in lifts.values()]
        errors = [[value - low for value, low, _ in lifts.values()], [high - value for value, _, high in lifts.values()]]
        axes.bar(list(lifts), values, color=ACCENT, width=0.55)
        axes.errorbar(list(lifts), values, errors, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
        axes.axhline(1, color=FAINT, linewidth=1, dashes=(4, 3))
        axes.set(xlabel="best part of the list", ylabel="lift over random")
        axes.grid(False, axis="x")

    return svg(draw)


def distribution(curves: Curves) -> str:
    """Where the scores of those with and without the outcome lie."""

    def draw(axes: Axes) -> None:
        low, high, positives, negatives = zip(*curves.histogram, strict=True)
        edges = [*low, high[-1]]
        for shares, color, label in ((negatives, FAINT, "did not happen"), (positives, WARM, "happened")):
            axes.stairs(shares, edges, fill=True, color=color, alpha=0.45, label=label)
            axes.stairs(shares, edges, color=color, linewidth=1.2)
        axes.set(xlabel="predicted probability", ylabel="share of the group", xlim=(0, edges[-1]))
        percent(axes.xaxis, axes.yaxis)
        axes.legend(loc="upper right")

    return svg(draw)


def importance(moved: Mapping[str, float]) -> str:
    """The features that move the scores most."""

    def draw(axes: Axes) -> None:
        names = list(moved)[::-1]
        axes.barh(names, [moved[name] for name in names], color=ACCENT, height=0.6)
        axes.set(xlabel="mean change of a score, up or down, in log-odds")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)

    return svg(draw, width=7.6, height=0.6 + 0.27 * len(moved))


def timeline(dates: Sequence[Date]) -> str:
    """Rows of each as_of by what they served, and above them how often the outcome happened."""
    from matplotlib import rc_context
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 3.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
        days = [date.as_of for date in dates]
        above.plot(days, [date.rate for date in dates], color=INK, linewidth=1.5, marker="o", markersize=3, label="happened")
        tested = [date for date in dates if date.predicted is not None]
        predicted = [date.predicted for date in tested]
        above.plot(
            [date.as_of for date in tested], predicted, color=WARM, linewidth=2, marker="s", markersize=3, label="predicted"
        )
        above.set(ylim=(0, None), ylabel="outcome")
        locator = AutoDateLocator(minticks=3, maxticks=9)
        below.xaxis.set_major_locator(locator)
        below.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
        percent(above.yaxis)
        above.legend(loc="lower left", ncols=2)
        width = 0.8 * min(((b - a).days for a, b in pairwise(days)), default=20)
        for role, color in ROLES.items():
            mine = [date for date in dates if date.role == role]
            if mine:
                below.bar([d.as_of for d in mine], [d.rows for d in mine], color=color, width=width, label=_ROLE_WORDS[role])
        below.set(ylabel="rows")
        below.legend(loc="upper left", bbox_to_anchor=(0, -0.28), ncols=4)
        return text(figure)


_ROLE_WORDS = {"train": "fitted", "calibration": "calibrated on", "test": "tested", "unused": "gap, not used"}
