"""The plots of monitoring, as SVG text: a point a week."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from features.drawing import ACCENT, COOL, FAINT, INK, WARM, percent, svg
from serving.monitor.matured import Coverage
from serving.monitor.performance import Performance, Weekly

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 7.6, 2.4
LEAST_DAYS = 56  # that an axis shows
COLORS = (ACCENT, WARM, INK, FAINT)  # of versions, the one that serves first


def ranking(found: Performance) -> str:
    """The matured AUC of each week with its interval, a colour a version, on the band that the report promised."""

    def draw(axes: Axes) -> None:
        if found.promise:
            axes.axhspan(found.promise.auc_low, found.promise.auc_high, color=COOL, alpha=0.6, label="promised")
            axes.axhline(found.promise.auc, color=FAINT, linewidth=1)
        versions = sorted({one.version for one in found.weeks}, key=lambda name: (name != found.version, name))
        for version, color in zip(versions, (COLORS * len(versions))[: len(versions)], strict=True):
            weeks = [one for one in found.weeks if one.version == version and "auc" in one.figures.figures]
            _points(axes, weeks, "auc", color, f"version {version}")
        axes.set(ylabel="AUC")
        _dated(axes, found.weeks)

    return svg(draw, WIDTH, HEIGHT)


def calibration(found: Performance) -> str:
    """What was predicted and what happened in each week, of the version that serves, or of all where it has no week yet."""
    weeks = [one for one in found.weeks if one.version == found.version] or list(found.weeks)

    def draw(axes: Axes) -> None:
        _points(axes, weeks, "happened", INK, "happened")
        said = [one.figures["predicted"].value for one in weeks]
        axes.plot(_days(weeks), said, color=WARM, marker="s", markersize=3, linewidth=1.5, label="predicted")
        axes.set(ylim=(0, None), ylabel="outcome")
        percent(axes.yaxis)
        _dated(axes, weeks)

    return svg(draw, WIDTH, HEIGHT)


def coverage(weeks: Sequence[Coverage]) -> str:
    """How many scores of each week are known, wait, or cannot be labelled."""

    def draw(axes: Axes) -> None:
        mondays, below = _days(weeks), [0] * len(weeks)
        for name, color, label in (
            ("matured", ACCENT, "outcome known"), ("unlabelled", WARM, "cannot be told"), ("waiting", COOL, "waits"),
        ):  # fmt: skip
            counts = [getattr(week, name) for week in weeks]
            axes.bar(mondays, counts, bottom=below, width=5.5, color=color, label=label)
            below = [a + b for a, b in zip(below, counts, strict=True)]
        axes.set(ylabel="scores")
        _dated(axes, weeks)

    return svg(draw, WIDTH, HEIGHT)


def _days(weeks: Sequence[Coverage | Weekly]) -> Any:
    """The Mondays, of which Matplotlib makes dates, though its types do not say so."""
    return [one.monday for one in weeks]


def _points(axes: Axes, weeks: Sequence[Weekly], name: str, color: str, label: str) -> None:
    if not weeks:
        return
    figures = [one.figures[name] for one in weeks]
    errors = [[max(f.value - f.low, 0.0) for f in figures], [max(f.high - f.value, 0.0) for f in figures]]
    axes.errorbar(
        _days(weeks), [f.value for f in figures], errors, color=color, marker="o", markersize=4,
        linewidth=1.2, elinewidth=1, label=label,
    )  # fmt: skip


def _dated(axes: Axes, weeks: Sequence[Coverage | Weekly]) -> None:
    """Dates below, of few weeks with some room beside them: of a single one the axis would else be hours or years."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num

    mondays = date2num(_days(weeks))
    room = max(4.0, (LEAST_DAYS - (mondays.max() - mondays.min())) / 2)
    axes.set_xlim(mondays.min() - room, mondays.max() + room)
    locator = AutoDateLocator(minticks=2, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
