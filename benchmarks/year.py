"""A year of monitoring: 52 weeks of a sample CRM with six faults, lived through by three strategies, and a year without any.

Every week the export as the CRM knew it then is written to a workspace, a real night ingests, checks and scores it, a real
service is asked over HTTP, `foresell monitor` looks, and models are trained anew: never, blindly every week, or as
`foresell retrain` decides. Outcomes are those of the world, when they happen; nothing is known before.

    .venv/bin/python -m benchmarks.year --folder /tmp/year
    .venv/bin/python -m benchmarks.year --folder /tmp/year --customers 1000 --weeks 12 --strategies never foresell

What is done is kept in the folder week by week: run it again after a kill and it goes on. A fault is seen at the earliest 7 days
after it began, for there is one night a week.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.year_faults import FAULTS, Fault
from benchmarks.year_life import MONITORED, NEVER, QUESTIONS, STRATEGIES, Life, order, read
from benchmarks.year_plot import plot
from benchmarks.year_tally import Figures, Seen, Truth, false_alarms, per_month, seen, totals
from benchmarks.year_world import World
from features.console import progress
from features.settings import Workspace

QUIET, EVENTFUL = "quiet", "eventful"
LOOKS = 2.0  # seconds between two looks at how far the lives are


@dataclass(frozen=True)
class Year:
    """What is lived through, and where."""

    folder: Path
    customers: int
    weeks: int
    seed: int
    strategies: tuple[str, ...]

    @property
    def lives(self) -> list[tuple[str, str]]:
        """World and strategy of each life, the longest first; in the quiet world what matters is only what is said."""
        return [*((EVENTFUL, one) for one in order(self.strategies)), (QUIET, NEVER)]

    def root(self, world: str, strategy: str) -> Path:
        return self.folder / world / strategy

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Those that begin within the year."""
        return tuple(fault for fault in FAULTS if fault.week < self.weeks)

    def world(self, name: str) -> World:
        faults = self.faults if name == EVENTFUL else ()
        return World.make(self.folder / name / "world", self.customers, self.weeks, self.seed, faults)

    @property
    def done(self) -> int:
        """Weeks that were lived."""
        return sum(len(list((self.root(*life) / "weeks").glob("*.json"))) for life in self.lives)


def live(year: Year, world: str, strategy: str) -> None:
    """One life, to its end; what it says goes into a file beside it."""
    root = year.root(world, strategy)
    root.mkdir(parents=True, exist_ok=True)
    with (root / "life.log").open("ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    Life(root, year.world(world), strategy, year.seed).live(year.weeks)


def run(year: Year, jobs: int) -> dict[str, Any]:
    """Live every life, so many at once, and say what came of it.

    Raises:
        RuntimeError: a life's service does not start.
    """
    total = len(year.lives) * (year.weeks + 1)
    for world in (EVENTFUL, QUIET):
        year.world(world)
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    with pool as processes, progress("weeks", total) as tick:
        running = [processes.submit(live, year, *life) for life in year.lives]
        done = 0
        while not all(one.done() for one in running):
            time.sleep(LOOKS)
            tick(year.done - done)
            done = year.done
        for one in running:
            one.result()
    return told(year)


def told(year: Year) -> dict[str, Any]:
    """The figures of lives that are over."""
    truth = Truth(year.folder / EVENTFUL / "truth", year.world(EVENTFUL))
    figures = {
        strategy: [
            one for name in QUESTIONS for one in truth.figures(Workspace.open(year.root(EVENTFUL, strategy)), name)
        ]
        for strategy in STRATEGIES if strategy in year.strategies
    }  # fmt: skip
    lives = {strategy: read(year.root(EVENTFUL, strategy)) for strategy in figures}
    watched = [strategy for strategy in (NEVER, MONITORED) if strategy in lives]
    quiet = false_alarms((), read(year.root(QUIET, NEVER)))
    return {
        "customers": year.customers, "weeks": year.weeks, "seed": year.seed,
        "figures": {strategy: [asdict(one) for one in rows] for strategy, rows in figures.items()},
        "totals": totals(figures),
        "seen": {strategy: [asdict(seen(fault, lives[strategy])) for fault in year.faults] for strategy in watched},
        "quiet_alarms": quiet, "quiet_alarms_per_month": per_month(quiet, year.weeks),
        "unexplained_alarms": {strategy: false_alarms(year.faults, lives[strategy]) for strategy in watched},
        "trained": {strategy: [[week.week, week.trained] for week in lives[strategy] if week.trained] for strategy in lives},
        "failed": {strategy: [[week.week, week.failed] for week in lives[strategy] if week.failed] for strategy in lives},
        "seconds": {strategy: sum(sum(week.seconds.values()) for week in lives[strategy]) for strategy in lives},
    }  # fmt: skip


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    lines = ["| strategy | " + " | ".join(f"{name}: AUC | lift | profit" for name in QUESTIONS) + " |"]
    lines.append("| --- |" + " ---: |" * (3 * len(QUESTIONS)))
    for strategy, of in result["totals"].items():
        cells = " | ".join(f"{of[name]['auc']:.3f} | {of[name]['lift']:.2f} | {of[name]['profit']:,.0f}" for name in QUESTIONS)
        lines.append(f"| {strategy} | {cells} |")
    for strategy, faults in result["seen"].items():
        lines += ["", f"| fault ({strategy}) | week | alarm after | by | first finding after | by |", "| --- |" + " --- |" * 5]
        lines += [_row(one) for one in faults]
    alarms = result["quiet_alarms"]
    lines += ["", f"Alarms in {result['weeks']} quiet weeks: {len(alarms)}, {result['quiet_alarms_per_month']:.2f} a month."]
    lines += [f"- week {week}: {sentence}" for week, sentence in alarms]
    for strategy, others in result["unexplained_alarms"].items():
        lines += ["", f"Alarms of {strategy} that no fault explains: {len(others)}."]
        lines += [f"- week {week}: {sentence}" for week, sentence in others]
    return "\n".join(lines)


def _row(one: Mapping[str, Any]) -> str:
    alarm = "not seen" if one["alarm"] is None else f"{one['alarm']} days"
    finding = "not seen" if one["finding"] is None else f"{one['finding']} days"
    return f"| {one['fault']} | {one['week']} | {alarm} | {one['alarm_by']} | {finding} | {one['finding_by']} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.year", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the worlds and workspaces are, and stay")
    parser.add_argument("--customers", type=int, default=1_500)
    parser.add_argument("--weeks", type=int, default=52)
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="lives at once")
    parser.add_argument("--json", type=Path, help="also write the figures to a file")
    parser.add_argument("--plot", type=Path, help="also write the plot to a PNG")
    asked = parser.parse_args(arguments)
    year = Year(asked.folder.resolve(), asked.customers, asked.weeks, asked.seed, tuple(asked.strategies))
    result = run(year, asked.jobs)
    print(table(result))
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=1), encoding="utf-8")
    if asked.plot:
        figures = {strategy: [Figures(**one) for one in rows] for strategy, rows in result["figures"].items()}
        told_by = next(iter(reversed(result["seen"].values())), [])
        plot(figures, [Seen(**one) for one in told_by], asked.plot)


if __name__ == "__main__":
    main()
