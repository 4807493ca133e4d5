"""The plot of a backtest: every candidate, earlier and on the newest period."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from features.drawing import ACCENT, INK, WARM, svg
from training.choice import Standing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEAR_CHANCE = 0.55  # an AUC below it is drawn with the line of chance beside it


def candidates(earlier: Sequence[Standing], newest: Sequence[Standing], chosen: str) -> str:
    """The AUC of each candidate with its interval, pooled over the earlier periods and on the newest; the chosen one in bold."""

    def draw(axes: Axes) -> None:
        rows = list(range(len(earlier)))[::-1]
        for standings, shift, color, label in ((earlier, 0.14, ACCENT, "earlier"), (newest, -0.14, WARM, "newest")):
            values = [one.auc.value for one in standings]
            errors = [[one.auc.value - one.auc.low for one in standings], [one.auc.high - one.auc.value for one in standings]]
            places = [row + shift for row in rows]
            axes.errorbar(values, places, xerr=errors, fmt="o", color=color, markersize=5, elinewidth=1.2, label=label)
        axes.set_yticks(rows, [one.name for one in earlier])
        for tick, one in zip(axes.get_yticklabels(), earlier, strict=True):
            tick.set_fontweight("bold" if one.name == chosen else "normal")
        if min(one.auc.low for one in (*earlier, *newest)) < NEAR_CHANCE:
            axes.axvline(0.5, color=INK, linewidth=0.6, dashes=(2, 2))
        axes.set(xlabel="AUC", ylim=(-0.6, len(rows) - 0.4))
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="best")

    return svg(draw, width=7.6, height=0.8 + 0.4 * len(earlier))
