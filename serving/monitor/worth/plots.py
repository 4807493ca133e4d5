"""What acting on scores was worth, as a plot in SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from features.drawing import ACCENT, FAINT, INK, WARM, svg
from serving.monitor.worth.worth import Comparison, Worth

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def differences(worth: Worth) -> str:
    """The difference of the outcome's rate in every segment, with its interval; empty where nothing can be compared.

    What is surely good is drawn in one colour, what is surely harm in another, and what chance alone may make in grey.
    """
    rows = [(_named(one), one) for one in worth.comparisons] + [(f"explored, {one.segment}", one) for one in worth.exploration]
    if not rows:
        return ""
    return svg(lambda axes: _draw(axes, rows[::-1], worth.is_wanted), width=7.6, height=0.9 + 0.33 * len(rows))


def _named(one: Comparison) -> str:
    return "with a score, all" if one.segment == "all" else f"with a score, {one.segment}"


def _draw(axes: Axes, rows: Sequence[tuple[str, Comparison]], is_wanted: bool) -> None:
    axes.axvline(0, color=INK, linewidth=1)
    for place, (_, one) in enumerate(rows):
        low, value, high = (100 * bound for bound in (one.rate.low, one.rate.value, one.rate.high))
        is_good = (value > 0) == is_wanted
        color = FAINT if not one.is_told else ACCENT if is_good else WARM
        axes.plot([low, high], [place, place], color=color, linewidth=2)
        axes.plot([value], [place], color=color, marker="o", markersize=6)
    axes.set(yticks=range(len(rows)), yticklabels=[name for name, _ in rows])
    better = "right is better" if is_wanted else "left is better"
    axes.set(xlabel=f"difference of the outcome's rate in points, {better}")
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)
