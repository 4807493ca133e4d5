"""Speed of serving: `foresell serve`, the floor below it, `mlflow models serve` and `feast serve`, in one run on the loopback.

Ours answers as it is delivered: with a key, 60 features from a Redis of its own, reasons, the change since the last stored score,
what was answered stored in the ledger, metrics, and the request log in a file. Every contender runs in processes of its own, all
at the same time, and is asked in turn, several times over, so that whatever else runs on the machine hits all alike; told is the
median. Processor time is disturbed less than the clock.

    .venv/bin/python -m benchmarks.serving                                          about 15 minutes
    .venv/bin/python -m benchmarks.serving --seconds 2 --repeat 1 --no-peers        a look
    .venv/bin/python -m benchmarks.serving --json FILE --plot benchmarks/serving.png
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.servers import redis
from benchmarks.serving_contenders import FEAST, FLOOR, MLFLOW, OURS, Contender, contenders, running
from benchmarks.serving_load import Load, has_wrk, load
from benchmarks.serving_result import Cell, Figures, Result, Stages, read_stages
from benchmarks.serving_table import table
from benchmarks.serving_world import NAME, World, make_world
from features.catalog import Catalog
from features.store import Online
from features.views import views
from serving.answer import written
from serving.scorer import scorer_of
from training import registry

MANY = (100, 1_000)  # entities in one request
BODIES = 4_096  # different requests, in turn
MADE = ("entity_id", "score", "probability", "percentile", "grade", "expected_value", "reasons", "missing", "unseen", "stale")


@dataclass(frozen=True)
class Size:
    """How much is measured: customers, trees, seconds a cell and its warm-up, and how often each cell is measured."""

    entities: int = 20_000
    trees: int = 500
    seconds: float = 8.0
    warm_up: float = 1.0
    repeat: int = 3
    peers: bool = True
    workers: tuple[int, ...] = (1, 2)
    connections: tuple[int, ...] = (1, 16)


@contextmanager
def opened(size: Size, folder: Path) -> Iterator[tuple[World, Sequence[Contender]]]:
    """The world, and the contenders at work in it."""
    now = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)  # features are of last night
    with redis(folder) as online:
        world = make_world(folder / "workspace", online.address, size.entities, size.trees, now)
        with running(contenders(world, folder, size.workers, size.peers), folder) as started:
            yield world, started


def check(world: World, started: Sequence[Contender], customers: Sequence[int]) -> None:
    """See to it that everybody answers the same: ours is what the scorer says in process, to the bit, and so is the floor.

    Raises:
        RuntimeError: an answer is another.
    """
    workspace = world.workspace
    scorer = scorer_of(workspace, views(workspace, Catalog.load(workspace)), registry.champion(workspace, NAME))
    known = Online(workspace).read("customer", [world.ids[one] for one in customers])
    wanted = json.loads(written(scorer.score([one for one in known if one], datetime.now(UTC))))
    for contender in started:
        told = {OURS: MADE, FLOOR: ("probability",)}.get(contender.name, ())
        found = contender.ask(customers)["scores"] if told and not contender.trouble else []
        for mine, theirs in zip(wanted, found, strict=False):
            if mine["probability"] is None or any(mine[name] != theirs[name] for name in told):
                raise RuntimeError(f"{contender.name} answers {theirs}, the scorer {mine}")


def measure(started: Sequence[Contender], size: Size) -> Result:
    """Every cell of every contender that answers, in turn, `size.repeat` times."""
    present = {(one.name, one.workers): one for one in started if not one.trouble}
    taken: dict[Cell, list[tuple[Load, float]]] = {cell: [] for cell in _cells(size) if (cell.name, cell.workers) in present}
    stages: dict[int, list[Stages]] = {}
    for turn in range(size.repeat):
        for cell, figures in taken.items():
            contender = present[cell.name, cell.workers]
            bodies = _bodies(contender, cell, size, turn)
            load(contender.address, contender.headers, bodies, cell.connections, size.warm_up)
            begins, used = contender.log.stat().st_size, contender.cpu_seconds()
            found = load(contender.address, contender.headers, bodies, cell.connections, size.seconds)
            figures.append((found, 1000 * (contender.cpu_seconds() - used) / max(1, found.requests)))
            if (cell.name, cell.workers, cell.connections) == (OURS, size.workers[0], size.connections[0]):
                stages.setdefault(cell.entities, []).append(read_stages(contender.log, begins))
    missing = {f"{one.name}, {one.workers} workers": one.trouble for one in started if one.trouble}
    return Result(
        {cell: _median(figures) for cell, figures in taken.items()},
        {entities: Stages.median(found) for entities, found in stages.items()},
        missing,
    )


def _cells(size: Size) -> Iterator[Cell]:
    """Those that are compared stand beside one another."""
    for workers in size.workers:
        for connections in size.connections:
            for name in (OURS, FLOOR, MLFLOW, FEAST):
                yield Cell(name, workers, 1, connections)
    for entities in MANY:
        yield Cell(OURS, size.workers[0], entities, size.connections[0])


def _bodies(contender: Contender, cell: Cell, size: Size, turn: int) -> list[str]:
    chosen = random.Random(turn)
    number = max(16, BODIES // cell.entities)
    most = min(cell.entities, size.entities)
    return [contender.body(chosen.sample(range(size.entities), most)) for _ in range(number)]


def _median(found: Sequence[tuple[Load, float]]) -> Figures:
    loads = [one for one, _ in found]
    return Figures(
        sum(one.requests for one in loads),
        median(one.per_second for one in loads),
        median(one.p50 for one in loads),
        median(one.p99 for one in loads),
        median(cpu for _, cpu in found),
        sum(one.wrong for one in loads),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=Size.entities)
    parser.add_argument("--trees", type=int, default=Size.trees)
    parser.add_argument("--seconds", type=float, default=Size.seconds, help="a cell")
    parser.add_argument("--repeat", type=int, default=Size.repeat)
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="without MLflow's and Feast's servers")
    parser.add_argument("--json", type=Path, help="write every figure there")
    parser.add_argument("--plot", type=Path, help="write a PNG there")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the contenders end, too
    size = Size(asked.entities, asked.trees, asked.seconds, repeat=asked.repeat, peers=asked.peers)
    folder = Path(tempfile.mkdtemp())
    try:
        with opened(size, folder) as (world, started):
            check(world, started, range(min(100, size.entities)))
            result = measure(started, size)
    finally:
        shutil.rmtree(folder)
    print("load by wrk" if has_wrk() else "load by a client in Python, which takes more of the machine than wrk: apt install wrk")
    print(table(result))
    if asked.json:
        asked.json.write_text(result.document())
    if asked.plot:
        from benchmarks.serving_plot import plot

        plot(result, asked.plot)


if __name__ == "__main__":
    main()
