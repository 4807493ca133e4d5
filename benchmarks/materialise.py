"""Materialisation at scale: seconds, peak memory, and what a reader feels meanwhile, for Redis and for SQLite.

    .venv/bin/python -m benchmarks.materialise                            1,000,000 customers with 60 features
    .venv/bin/python -m benchmarks.materialise --entities 100000 --stores sqlite

The world is one table of customers with 53 numbers and 6 categories as attributes; the snapshot is built and Feast is told of it
as `foresell snapshot` does. Each store is filled three times: empty at first, then with nothing changed, then with 2 % of the
customers changed. Redis is started for the occasion on a free port. Materialisation and the reader run in processes of their own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.servers import redis
from benchmarks.serving_world import ingest
from features import snapshot, store
from features.settings import Settings, StoreSettings, Workspace

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
IDS_PER_LOOK_UP = (1, 100)
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Fill:
    """One filling of a store: how long it took, by the clock and in its process, its peak memory, what became of the records,
    and the reader's times."""

    store: str
    what: str
    seconds: float
    processor_seconds: float
    per_second: float
    peak_mb: float
    outcome: str
    reader_ms: dict[str, float]


def make_world(root: Path, entities: int, turn: int = 0) -> Workspace:
    """The customers of serving_world, and their snapshot; in turn 1 one in 50 has other values."""
    workspace = Workspace(root, Settings())
    ingest(workspace, entities, AS_OF, turn)
    snapshot.build(workspace, [AS_OF])
    return workspace


def fill(root: Path, address: str, sender: Connection) -> None:
    """Materialise once, and send seconds, processor seconds, peak memory in MB and what became of the records."""
    workspace = _workspace(root, address)
    began, spent = time.monotonic(), time.process_time()
    (done,) = store.materialize(workspace, AS_OF)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outcome = f"{done.written:,} written, {done.same:,} the same"
    taken = {"seconds": time.monotonic() - began, "processor_seconds": time.process_time() - spent}
    sender.send({**taken, "peak_mb": peak, "outcome": outcome})


def read_on(root: Path, address: str, entities: int, channel: Connection) -> None:
    """Look random customers up, one at a time and a hundred at a time, until told to stop; send the times in milliseconds."""
    online, chosen = store.Online(_workspace(root, address)), random.Random(1)
    taken: dict[int, list[float]] = {size: [] for size in IDS_PER_LOOK_UP}
    while not channel.poll():
        for size in IDS_PER_LOOK_UP:
            ids = [f"C{chosen.randrange(entities):09d}" for _ in range(size)]
            began = time.perf_counter()
            online.read("customer", ids)
            taken[size].append((time.perf_counter() - began) * 1000)
            time.sleep(0.002)  # a caller, not a load test: materialisation is what is measured
    channel.send({f"{size}: p{q}": float(np.percentile(times, q)) for size, times in taken.items() for q in (50, 99)})


def measure(root: Path, address: str, name: str, what: str, entities: int) -> Fill:
    """Fill a store once while a reader looks up."""
    (ours, theirs), (answers, sender) = SPAWN.Pipe(), SPAWN.Pipe(duplex=False)
    reader = SPAWN.Process(target=read_on, args=(root, address, entities, theirs))
    writer = SPAWN.Process(target=fill, args=(root, address, sender))
    reader.start()
    writer.start()
    sender.close()
    result: dict[str, Any] = answers.recv()
    ours.send("stop")
    times = ours.recv()
    for process in (reader, writer):
        process.join()
    return Fill(name, what, per_second=entities / result["seconds"], reader_ms=times, **result)


def run(root: Path, name: str, entities: int) -> Iterator[Fill]:
    """The three fillings of one store."""
    make_world(root, entities)
    with redis(root) if name == "redis" else nullcontext() as server:
        address = server.address if server else "sqlite"
        store.apply(_workspace(root, address))
        yield measure(root, address, name, "empty", entities)
        yield measure(root, address, name, "nothing changed", entities)
        make_world(root, entities, turn=1)
        yield measure(root, address, name, "2 % changed", entities)


def _workspace(root: Path, address: str) -> Workspace:
    return Workspace(root, Settings(store=StoreSettings(online=address, project="benchmark")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--stores", nargs="+", choices=("redis", "sqlite"), default=["redis", "sqlite"])
    parser.add_argument("--folder", type=Path, help="where the workspaces are made, and left; default: a folder that is removed")
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    try:
        for name in asked.stores:
            for done in run(folder / name, name, asked.entities):
                print(json.dumps(done.__dict__), flush=True)
    finally:
        if asked.folder is None:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
