"""The plots of drift: for each feature that moved most what was to be expected beside what there is, as SVG text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from features.drawing import COOL, INK, STYLE, WARM, percent, text
from serving.monitor.drift.judgement import Moved

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ACROSS = 3
MOST_BINS = 12
LONGEST = 14  # letters of a bin's name


def multiples(moved: Sequence[Moved]) -> str:
    """A small plot for each, three in a row: the share of each bin, expected and now; nothing for none."""
    if not moved:
        return ""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    down = -(-len(moved) // ACROSS)
    with rc_context({**STYLE, "font.size": 8}):
        figure = Figure(figsize=(7.6, 2.3 * down), layout="constrained")
        every = figure.subplots(down, ACROSS, squeeze=False).ravel()
        for axes, one in zip(every, moved, strict=False):
            _draw(axes, one)
        for axes in every[len(moved) :]:
            axes.set_axis_off()
        every[0].legend(loc="best", fontsize=7)
        return text(figure)


def _draw(axes: Axes, one: Moved) -> None:
    labels, expected, now = _shown(one)
    places = range(len(labels))
    axes.bar([place - 0.2 for place in places], expected, width=0.4, color=COOL, label="expected")
    axes.bar([place + 0.2 for place in places], now, width=0.4, color=WARM if one.is_found else INK, label="now")
    axes.set_xticks(list(places), [label[:LONGEST] for label in labels], rotation=60, ha="right", rotation_mode="anchor")
    axes.set_title(one.name, fontsize=8, loc="left")
    axes.grid(False, axis="x")
    axes.tick_params(axis="x", length=0, labelsize=6.5)
    percent(axes.yaxis)


def _shown(one: Moved) -> tuple[list[str], list[float], list[float]]:
    """The bins that hold anything; of many the fullest, in their order."""
    rows = list(zip(one.labels, one.expected, one.shares, strict=True))
    fullest = sorted(range(len(rows)), key=lambda place: -max(rows[place][1:]))[:MOST_BINS]
    kept = [rows[place] for place in sorted(fullest) if max(rows[place][1:]) >= 0.001]
    return [label for label, _, _ in kept], [share for _, share, _ in kept], [share for _, _, share in kept]
