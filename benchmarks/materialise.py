"""Materialisation at scale: seconds, peak memory, and what a reader feels meanwhile, for Redis and for SQLite.

    .venv/bin/python -m benchmarks.materialise                            1,000,000 customers with 60 features
    .venv/bin/python -m benchmarks.materialise --entities 100000 --stores sqlite

The world is one table of customers with 54 numbers and 6 categories as attributes; the snapshot is built and Feast is told of it
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
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from features import snapshot, store
from features.catalog import Catalog, StoredTable
from features.settings import Attribute, Settings, StoreSettings, Workspace

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
NUMBERS, CATEGORIES = 52, 6  # and the two that every customer has: the age of the account and the day of the week
ATTRIBUTES = {f"n{i}": Attribute(type="number", fixed=True) for i in range(NUMBERS)} | {
    f"c{i}": Attribute(type="category", fixed=True) for i in range(CATEGORIES)
}
CHANGED = 50  # one in so many customers has other values in the end
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
    """Customers whose attributes are a hash of their number, and their snapshot; in turn 1 one in 50 has others."""
    path = root / "data" / "tables" / "world" / "customers.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = f"(i + case when i % {CHANGED} = 0 then {turn} * {entities} else 0 end)"
    numbers = ", ".join(f"(hash({seed}, {i}) % 100000) / 7.0 as n{i}" for i in range(NUMBERS))
    words = "['web', 'email', 'phone', 'shop', 'müßig', null]"
    categories = ", ".join(f"{words}[(1 + hash({seed}, {NUMBERS + i}) % 6)::int] as c{i}" for i in range(CATEGORIES))
    born = "timestamp '2020-01-01' + to_days((i % 1000)::int)"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select 'C' || lpad(i::varchar, 9, '0') as customer_id, {born} as created_at, {born} as known_at, "
            f"null::timestamp as known_until, {numbers}, {categories} from range({entities}) t(i)) to '{path}' (format parquet)"
        )
        columns = {row[0]: row[1] for row in connection.execute(f"describe select * from '{path}'").fetchall()}
    table = StoredTable("customers", "world/customers.parquet", entities, columns)
    workspace = Workspace(root, Settings())
    Catalog(f"world-{turn}", "canonical", "2024-06-01", {"customers": table}, {"customers": ATTRIBUTES}).save(workspace)
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
    with redis() if name == "redis" else _nothing("sqlite") as address:
        store.apply(_workspace(root, address))
        yield measure(root, address, name, "empty", entities)
        yield measure(root, address, name, "nothing changed", entities)
        make_world(root, entities, turn=1)
        yield measure(root, address, name, "2 % changed", entities)


@contextmanager
def redis() -> Iterator[str]:
    """A Redis of one's own on a free port; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"redis-server does not listen at port {port}")


@contextmanager
def _nothing(address: str) -> Iterator[str]:
    yield address


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
