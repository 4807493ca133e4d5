"""The plot of serving: latency by stage, and ours beside the floor and the peers."""

from __future__ import annotations

from pathlib import Path

from benchmarks.serving_result import STAGES, WHOLE, Result

COLOURS = ("#4c78a8", "#72b7b2", "#f58518", "#e45756", "#b279a2", "#54a24b", "#bab0ac")


def plot(result: Result, path: Path) -> None:
    """Write a PNG: left the median of each stage per entity, one bar a request size; right requests a second."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    _stages(left, result)
    _contenders(right, result)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def _stages(axes: object, result: Result) -> None:
    sizes = list(result.stages)
    names = [f"{size:,}" for size in sizes]
    bottom = [0.0] * len(sizes)
    for stage, colour in zip((*STAGES, "rest"), COLOURS, strict=True):
        found = [_per_entity(result, size, stage) for size in sizes]
        axes.bar(names, found, bottom=bottom, label=stage, color=colour)  # type: ignore[attr-defined]
        bottom = [below + more for below, more in zip(bottom, found, strict=True)]
    axes.set(title="median per entity, by stage", xlabel="entities in a request", ylabel="ms")  # type: ignore[attr-defined]
    axes.legend(fontsize=8)  # type: ignore[attr-defined]


def _per_entity(result: Result, size: int, stage: str) -> float:
    times = result.stages[size].p50
    spent = times[stage] if stage in times else max(0.0, times[WHOLE] - sum(times[one] for one in STAGES))
    return spent / size


def _contenders(axes: object, result: Result) -> None:
    cells = [cell for cell in result.cells if cell.entities == 1]
    groups = list(dict.fromkeys((cell.workers, cell.connections) for cell in cells))
    names = list(dict.fromkeys(cell.name for cell in cells))
    width = 0.8 / max(1, len(names))
    for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        mine = [(groups.index((cell.workers, cell.connections)), result.cells[cell]) for cell in cells if cell.name == name]
        where = [group + (place + 0.5) * width - 0.4 for group, _ in mine]
        bars = axes.bar(where, [found.per_second for _, found in mine], width, label=name, color=colour)  # type: ignore[attr-defined]
        axes.bar_label(bars, [f"{found.p50:.1f}" for _, found in mine], fontsize=7)  # type: ignore[attr-defined]
    axes.set_xticks(range(len(groups)), [f"{w} worker{'s'[: w - 1]}\n{c} connection{'s'[: c - 1]}" for w, c in groups])  # type: ignore[attr-defined]
    axes.set(title="requests a second; above the bars p50 in ms", ylabel="requests/s")  # type: ignore[attr-defined]
    axes.legend(fontsize=8)  # type: ignore[attr-defined]
