"""The plot of a year: AUC and profit of each strategy, week by week, with the faults and the days until they were seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.year_life import BLIND, MONITORED, NEVER, QUESTIONS
from benchmarks.year_tally import Figures, Seen

COLOURS = {NEVER: "#e45756", BLIND: "#f58518", MONITORED: "#4c78a8"}
NAMES = {NEVER: "never retrained", BLIND: "retrained blindly every week", MONITORED: "foresell retrain"}
SMOOTH = 4  # weeks of a running mean: one week has some thirty outcomes


def plot(of: Mapping[str, Sequence[Figures]], told: Sequence[Seen], path: Path) -> None:
    """Write a PNG: above the AUC, below what the profit of a strategy is more than never retraining's, added up."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(QUESTIONS), figsize=(13, 7), layout="constrained", sharex=True, squeeze=False)
    for column, name in enumerate(QUESTIONS):
        _auc(axes[0][column], of, name)
        _profit(axes[1][column], of, name)
        for row in (0, 1):
            _faults(axes[row][column], told, named=row == 0)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def _series(rows: Sequence[Figures], name: str, field: str) -> pd.Series:
    return pd.Series({one.week: getattr(one, field) for one in rows if one.propensity == name}, dtype=float)


def _auc(axes: Any, of: Mapping[str, Sequence[Figures]], name: str) -> None:
    for strategy, rows in of.items():
        auc = _series(rows, name, "auc").rolling(SMOOTH, min_periods=1).mean()
        axes.plot(auc.index, auc, color=COLOURS[strategy], label=NAMES[strategy])
    best = _series(next(iter(of.values())), name, "best").dropna().rolling(SMOOTH, min_periods=1).mean()
    if len(best):
        axes.plot(best.index, best, color="#bab0ac", linestyle="--", label="best reachable")
    axes.set(title=name, ylabel=f"AUC, mean of {SMOOTH} weeks")
    axes.margins(y=0.35)
    axes.legend(fontsize=7, loc="lower left")


def _profit(axes: Any, of: Mapping[str, Sequence[Figures]], name: str) -> None:
    base = _series(of.get(NEVER, ()), name, "profit")
    for strategy, rows in of.items():
        profit = _series(rows, name, "profit")
        more = (profit - base.reindex(profit.index).fillna(0)).cumsum()
        axes.plot(more.index, more, color=COLOURS[strategy])
    axes.set(xlabel="week", ylabel="profit since week 0,\nless never retrained's")


def _faults(axes: Any, told: Sequence[Seen], named: bool) -> None:
    for one in told:
        axes.axvline(one.week, color="#888", linewidth=0.8, linestyle=":")
        if one.alarm is not None:
            axes.axvspan(one.week, one.week + one.alarm / 7, color="#888", alpha=0.15)
        if named:
            days = "no alarm" if one.alarm is None else f"{one.alarm} d"
            label = f"{one.fault} ({days})"
            axes.text(one.week, 0.98, label, rotation=90, fontsize=7, va="top", ha="right", transform=axes.get_xaxis_transform())
