"""The plots of an audit: what a list is worth, and what each value of a feature goes with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.drawing import ACCENT, FAINT, INK, WARM, percent, svg
from training.decision import MODEL, RANDOM, STEPS, Decision
from training.insight import Insight

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINES = {MODEL: (ACCENT, "-", 2.0), RANDOM: (FAINT, "--", 1.0)}
NARROW = 26  # characters of a value's name


def profit(made: Decision) -> str:
    """Profit of a list by how much of it is contacted; the interval of the model, and where to stop."""

    def draw(axes: Axes) -> None:
        shares = [step / STEPS for step in range(STEPS + 1)]
        axes.axhline(0, color=FAINT, linewidth=0.8)
        for name, points in made.curves.items():
            color, style, width = LINES.get(name, (WARM, "-", 1.4))
            axes.plot(shares, [point.value for point in points], style, color=color, linewidth=width, label=name)
        best = made.curves[MODEL]
        axes.fill_between(shares, [p.low for p in best], [p.high for p in best], color=ACCENT, alpha=0.15, linewidth=0)
        axes.axvline(made.share, color=INK, linewidth=1, dashes=(2, 2))
        axes.plot(
            [made.share], [made.profit[MODEL].value], "o", color=INK, markersize=5, label=f"stop at {100 * made.share:.0f} %"
        )
        axes.set(xlim=(0, 1), xlabel="contacted, each policy in its own order", ylabel="profit of one list")
        axes.yaxis.set_major_formatter("{x:,.0f}")
        percent(axes.xaxis)
        axes.legend(loc="best")

    return svg(draw, width=7.6, height=3.2)


def insight(made: Insight) -> str:
    """What happened with its interval, what was predicted, and the partial dependence, one line a value."""

    def draw(axes: Axes) -> None:
        rows = list(range(len(made.bins)))[::-1]
        happened = [part.happened for part in made.bins]
        errors = [[part.happened - part.low for part in made.bins], [part.high - part.happened for part in made.bins]]
        axes.errorbar(happened, rows, xerr=errors, fmt="o", color=INK, markersize=4.5, elinewidth=1, label="happened")
        axes.plot([part.predicted for part in made.bins], rows, "D", color=ACCENT, markersize=4.5, label="predicted")
        axes.plot([part.dependence for part in made.bins], rows, "|", color=WARM, markersize=13, markeredgewidth=2, label="alone")
        axes.set_yticks(rows, [_short(part.value) for part in made.bins])
        axes.set(xlim=(0, None), ylim=(-0.6, len(rows) - 0.4))
        axes.tick_params(axis="y", length=0)
        percent(axes.xaxis)

    return svg(draw, height=0.55 + 0.28 * len(made.bins))


def _short(name: str) -> str:
    return name if len(name) <= NARROW else name[: NARROW - 1] + "…"
