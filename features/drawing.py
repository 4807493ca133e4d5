"""Drawings for pages: the colours and the style of every plot, and plots as SVG text that goes into a page as it is.

Importing matplotlib makes a folder in the home directory, so only what draws imports it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

INK, FAINT, ACCENT, WARM, COOL = "#1f2933", "#9aa5b1", "#0f6d7c", "#c8553d", "#d9e2ec"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "foresell",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#eef2f5",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
}


def svg(draw: Callable[[Axes], None], width: float = 3.7, height: float = 3.0) -> str:
    """What `draw` puts onto a pair of axes, as SVG text; the size is in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure.subplots())
        return text(figure)


def text(figure: Figure) -> str:
    """The figure as an `<svg>` element that scales with the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    return re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*" width="[^"]*"', r"\1\2", svg, count=1)


def percent(*axes: Axis) -> None:
    """Label axes of shares in percent."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    for axis in axes:
        axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
        axis.set_major_formatter(PercentFormatter(1.0))
