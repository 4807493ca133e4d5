"""The page of a comparison, in the look of a model's report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from features.drawing import ACCENT, FAINT, percent, svg
from features.page import render
from features.settings import Workspace
from serving.comparison import Comparison, latest, newest, probabilities
from serving.ledger import Compared

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_DOTS = 1_000  # beyond them they hide each other, and are counted in hexagons


def path(workspace: Workspace, propensity: str) -> Path:
    """Where the page of a propensity lies."""
    return workspace.reports / propensity / "shadow.html"


def page(found: Comparison, rows: Sequence[Compared], question: str) -> str:
    """The HTML page.

    Args:
        found: the comparison.
        rows: what it was made from.
        question: of the propensity.
    """
    return render("serving", "shadow.html", found=found, question=question, tiles=figures(found), plot=_plot(rows))


def figures(found: Comparison) -> list[dict[str, str]]:
    """Every figure as it is shown: `name`, `value`, and a `note`."""
    correlation = "-" if found.rank_correlation is None else f"{found.rank_correlation:.3f}"
    share = found.regraded / found.entities
    told = [
        ("entities", f"{found.entities:,}", f"{found.answers:,} answers"),
        ("champion, mean probability", f"{found.champion_mean:.1%}", f"version {found.champion}"),
        ("challenger, mean probability", f"{found.challenger_mean:.1%}", f"version {found.challenger}"),
        ("mean difference", f"{found.mean_difference:+.1%}", f"without its sign {found.mean_distance:.1%}"),
        ("largest difference", f"{found.largest_distance:.1%}", "of one entity"),
        ("rank correlation", correlation, "Spearman; 1 is the same order"),
        ("best tenth in common", f"{found.top_overlap:.0%}", "of the champion's"),
        ("change grade", f"{found.regraded:,}", f"{share:.1%} of the entities"),
        ("PSI", f"{found.psi:.3f}", "below 0.1 hardly, above 0.25 a lot"),
    ]
    return [{"name": name, "value": value.replace("%", " %"), "note": note.replace("%", " %")} for name, value, note in told]


def _plot(rows: Sequence[Compared]) -> str:
    old, new = probabilities(latest(newest(rows)))
    edge = min(1.0, 1.05 * float(max(old.max(), new.max())))

    def draw(axes: Axes) -> None:
        axes.plot([0, edge], [0, edge], color=FAINT, linewidth=1, dashes=(4, 3))
        if len(old) > MOST_DOTS:
            axes.hexbin(old, new, gridsize=36, extent=(0, edge, 0, edge), mincnt=1, bins="log", cmap="GnBu", linewidths=0.2)
        else:
            axes.plot(old, new, "o", color=ACCENT, markersize=3.5, alpha=0.45, markeredgewidth=0)
        axes.set(xlim=(0, edge), ylim=(0, edge), xlabel="champion", ylabel="challenger")
        percent(axes.xaxis, axes.yaxis)

    return svg(draw)
