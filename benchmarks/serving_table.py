"""The tables of RESULTS.md about serving."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.serving_contenders import FEAST, FLOOR, MLFLOW, OURS
from benchmarks.serving_result import STAGES, WHOLE, Cell, Figures, Result

LIMITS = {"p50": 1.6, "p99": 3.0, "rate": 0.6, "mlflow": 5.0, "100 entities": 6.0, "1,000 entities": 30.0}
MOST_MS = 60.0  # for 1,000 entities, whatever one takes


def table(result: Result) -> str:
    """Every cell, what was asked for and whether it holds, and latency by stage, as Markdown."""
    parts = [
        _cells(result),
        _limits(result),
        _stages(result),
        *(f"* **{name}** is missing: {why}" for name, why in result.missing.items()),
    ]
    return "\n\n".join(parts)


def _cells(result: Result) -> str:
    head = "| contender | workers | entities | connections | p50, ms | p99, ms | requests/s | processor ms a request | wrong |"
    lines = [
        f"| {cell.name} | {cell.workers} | {cell.entities:,} | {cell.connections} | {found.p50:.2f} | {found.p99:.2f} | "
        f"{found.per_second:,.0f} | {found.cpu_ms:.2f} | {found.wrong:,} of {found.requests:,} |"
        for cell, found in result.cells.items()
    ]
    return "\n".join([head, "| --- " * 9 + "|", *lines])


def _limits(result: Result) -> str:
    head = "| what | measured | wanted | holds |"
    return "\n".join([head, "| --- " * 4 + "|", *(_limit(*one) for one in _ratios(result))])


def _limit(what: str, measured: float, limit: float, least: bool) -> str:
    holds = "yes" if (measured >= limit) is least else "**no**"
    return f"| {what} | {measured:.2f} | {'at least' if least else 'at most'} {limit:g} | {holds} |"


def _ratios(result: Result) -> Iterator[tuple[str, float, float, bool]]:
    """What is asked for, what was measured, the limit, and whether it is the least."""
    for cell, ours in _ours(result):
        floor = result.cells.get(Cell(FLOOR, cell.workers, 1, cell.connections))
        mlflow = result.cells.get(Cell(MLFLOW, cell.workers, 1, cell.connections))
        feast = result.cells.get(Cell(FEAST, cell.workers, 1, cell.connections))
        where = f"{cell.workers} worker{'s'[: cell.workers - 1]}, {cell.connections} connection{'s'[: cell.connections - 1]}"
        if floor:
            yield f"p50, of the floor's: {where}", ours.p50 / floor.p50, LIMITS["p50"], False
            yield f"p99, of the floor's: {where}", ours.p99 / floor.p99, LIMITS["p99"], False
            yield f"requests/s, of the floor's: {where}", ours.per_second / floor.per_second, LIMITS["rate"], True
        if mlflow:
            yield f"requests/s, of {MLFLOW}'s: {where}", ours.per_second / mlflow.per_second, LIMITS["mlflow"], True
        if feast:
            yield f"p50, of {FEAST}'s: {where}", ours.p50 / feast.p50, 1.0, False
    yield from _many(result)


def _many(result: Result) -> Iterator[tuple[str, float, float, bool]]:
    for cell, ours in result.cells.items():
        one = result.cells.get(Cell(OURS, cell.workers, 1, cell.connections))
        if cell.name == OURS and cell.entities > 1 and one:
            what = f"{cell.entities:,} entities"
            if ours.p50 <= MOST_MS and cell.entities == 1_000:
                yield f"p50 of {what}, ms", ours.p50, MOST_MS, False
            else:
                yield f"p50 of {what}, of one's", ours.p50 / one.p50, LIMITS.get(what, float("inf")), False


def _ours(result: Result) -> Iterator[tuple[Cell, Figures]]:
    return ((cell, found) for cell, found in result.cells.items() if cell.name == OURS and cell.entities == 1)


def _stages(result: Result) -> str:
    head = f"| entities | | {' | '.join(STAGES)} | whole request |"
    lines = [
        f"| {entities:,} | {name}, ms | " + " | ".join(f"{times[stage]:.3f}" for stage in (*STAGES, WHOLE)) + " |"
        for entities, found in result.stages.items()
        for name, times in (("p50", found.p50), ("p99", found.p99))
    ]
    return "\n".join([head, "| --- " * (len(STAGES) + 3) + "|", *lines])
