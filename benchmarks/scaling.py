"""How the cost of a night grows with the number of customers, on both engines: seconds, processor seconds and bytes a step.

    .venv/bin/python -m benchmarks.scaling                                     100,000 customers with 20 events each
    .venv/bin/python -m benchmarks.scaling --customers 100000 1000000 10000000
    .venv/bin/python -m benchmarks.scaling --engines spark --master 'local-cluster[2,1,4096]'

The world is that of benchmarks/snapshot.py. Each engine works in a process of its own, from empty folders; what Spark takes to
start is a step by itself, for it does not grow.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from benchmarks.fitted import PASSED, column
from benchmarks.serving_world import fit
from benchmarks.snapshot import make_world
from features import cohort, propensity, snapshot, store
from features.catalog import Catalog
from features.engine import Name
from features.settings import SETTINGS_FILE, Settings, Workspace
from features.views import feature_map, views
from serving import batch
from serving.partition import folder
from training import registry
from training.contract import encode

NOW = datetime(2025, 1, 1, tzinfo=UTC)
EVENTS = 20
TREES = 300
LEARNED_FROM = 20_000
JOINED_AT_ONCE = 1_000_000
NIGHT = ("snapshot", "score")  # the score's own seconds hold the join by Feast
BUSY = 0.6  # of the time that a core is paid for; the rest is shuffles, stragglers and the last wave of tasks
FORESEEN = (10_000_000, 100_000_000, 1_000_000_000)
QUIET = lambda what, total: nullcontext(lambda units: None)  # noqa: E731
QUESTION = """question = "Will this customer order nothing in the next 90 days?"
entity = "customer"
horizon = "90d"
eligible = ["customer_age_days >= 30"]
[outcome]
absent = "orders"
"""
Figures = dict[str, Any]


def make(root: Path, customers: int, master: str, memory: str | None) -> None:
    """A workspace with tables, a question, and a champion that knows every feature: it was fitted to another, small world."""
    make_world(root, customers, customers * EVENTS)
    limit = f'memory_limit = "{memory}"\n' if memory else ""
    (root / SETTINGS_FILE).write_text(
        f'[duckdb]\n{limit}[spark]\nmaster = "{master}"\n[spark.conf]\n"spark.driver.memory" = "4g"\n', encoding="utf-8"
    )
    (root / "propensities").mkdir()
    (root / "propensities" / "churn.toml").write_text(QUESTION, encoding="utf-8")
    workspace, names, frame = Workspace.open(root), *learned(root.with_name("small"))
    columns = [column(frame[name]) for name in names]
    question = propensity.load(workspace, "churn").model_dump(mode="json")
    registry.register(workspace, fit(question, columns, encode(frame, columns), TREES), PASSED)
    registry.promote(workspace, "churn", registry.Signature("benchmark", NOW))


def learned(root: Path) -> tuple[list[str], pd.DataFrame]:
    """The features of a small world."""
    make_world(root, LEARNED_FROM, LEARNED_FROM * EVENTS)
    workspace = Workspace(root, Settings())
    snapshot.build(workspace, [NOW])
    names = list(feature_map(views(workspace, Catalog.load(workspace)), "customer"))
    return names, snapshot.read(workspace, "customer", [NOW], names)


def run(root: Path, engine: Name) -> list[Figures]:
    """Each step of a night by one engine."""
    workspace, steps = Workspace.open(root), list[Figures]()
    champion = registry.champion(workspace, "churn")
    if engine == "spark":
        from features.spark import store as spark_store
        from features.spark.session import session

        with step(steps, "start"):
            session(workspace).range(1).collect()
    with step(steps, "snapshot"):
        snapshot.build(workspace, [NOW], engine=engine)
    with step(steps, "tell Feast"):
        (spark_store if engine == "spark" else store).apply(workspace)
    with step(steps, "features by Feast"):
        if engine == "spark":
            joined = spark_store.known(workspace, "customer", [NOW], champion.model.columns)
            joined.write.format("noop").mode("overwrite").save()
        else:
            spine = cohort.cohort(workspace, champion.model.propensity, [NOW])
            for start in range(0, len(spine), JOINED_AT_ONCE):  # the answer is a frame in memory
                part = spine[start : start + JOINED_AT_ONCE].reset_index(drop=True)
                store.historical(workspace, "customer", part, champion.model.columns)
    with step(steps, "score"):
        receipt, failure = batch.score_propensity(workspace, champion, NOW, QUIET, engine=engine)
    assert failure is None
    sizes = {"tables": workspace.tables, "snapshot": workspace.snapshots, "score": folder(workspace, "churn", NOW)}
    for name, place in sizes.items():
        steps.append({"step": f"{name}, bytes", "bytes": sum(path.stat().st_size for path in place.rglob("*.parquet"))})
    return [*steps, {"step": "rows scored", "rows": receipt.rows}, {"step": "peak memory, GiB", "gib": _peak()}]


@contextmanager
def step(steps: list[Figures], name: str) -> Iterator[None]:
    """Time a step: on the clock, and on the processors of this process and of all that it began."""
    began, used = time.perf_counter(), _used()
    yield
    steps.append({"step": name, "seconds": time.perf_counter() - began, "processor": _used() - used})


def _used() -> float:
    mine = psutil.Process()
    times = [process.cpu_times() for process in (mine, *mine.children(recursive=True))]
    return sum(one.user + one.system + one.children_user + one.children_system for one in times)


def _peak() -> float:
    """Of this process; Spark's memory is what its settings give it."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(root: Path, engine: str) -> list[Figures]:
    call = [sys.executable, "-m", "benchmarks.scaling", "--run", engine, "--root", str(root)]
    done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(found: Sequence[tuple[str, int, list[Figures]]]) -> str:
    """The figures as Markdown, and by how much each step grew from one size to the next: 1 is in proportion."""
    lines = [
        "| engine | step | customers | seconds | processor seconds a million | growth |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    before: dict[tuple[str, str], tuple[int, float]] = {}
    for engine, customers, steps in found:
        for one in (one for one in steps if "seconds" in one):
            last = before.get((engine, one["step"]))
            growth = f"{np.log(one['processor'] / last[1]) / np.log(customers / last[0]):.2f}" if last else ""
            before[engine, one["step"]] = (customers, max(one["processor"], 1e-9))
            rate = one["processor"] * 1e6 / customers
            lines.append(f"| {engine} | {one['step']} | {customers:,} | {one['seconds']:.1f} | {rate:,.0f} | {growth} |")
    lines += ["", "| engine | what | customers | bytes a customer |", "| --- | --- | --- | --- |"]
    for engine, customers, steps in found:
        for one in (one for one in steps if "bytes" in one):
            name = one["step"].removesuffix(", bytes")
            lines.append(f"| {engine} | {name} | {customers:,} | {one['bytes'] / customers:,.0f} |")
    return "\n".join(lines)


def cost(found: Sequence[tuple[str, int, list[Figures]]]) -> str:
    """What a night on Spark takes for more customers than fit here: docs/scaling.md explains the formula."""
    sizes = sorted((customers, steps) for engine, customers, steps in found if engine == "spark")
    if not sizes:
        return ""
    spent = [(n, sum(one["processor"] for one in steps if one["step"] in NIGHT)) for n, steps in sizes]
    (most, last), (least, first) = spent[-1], spent[0] if len(spent) > 1 else (0, 0.0)
    rate = (last - first) / (most - least)
    fixed = max(0.0, last - rate * most)
    held = {one["step"].removesuffix(", bytes"): one["bytes"] / most for one in sizes[-1][1] if "bytes" in one}
    head = f"a = {fixed:,.0f} processor seconds, b = {rate * 1e6:,.0f} a million customers\n"
    lines = [head, "| customers | processor hours | cores for one hour | tables, GB | snapshot, GB | scores, GB |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for customers in FORESEEN:
        hours = (fixed + rate * customers) / 3600
        places = " | ".join(f"{held[name] * customers / 1e9:,.0f}" for name in ("tables", "snapshot", "score"))
        lines.append(f"| {customers:,} | {hours:,.1f} | {np.ceil(hours / BUSY):,.0f} | {places} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, nargs="+", default=[100_000])
    parser.add_argument("--engines", nargs="+", choices=["duckdb", "spark"], default=["duckdb", "spark"])
    parser.add_argument("--master", default="local[2]")
    parser.add_argument("--memory", help="DuckDB's limit, such as 8GB; default: Foresell's own, beyond which it spills")
    parser.add_argument("--run", choices=["duckdb", "spark"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        print(json.dumps(run(asked.root, asked.run)))
        return
    found = []
    for customers in asked.customers:
        for engine in asked.engines:
            with tempfile.TemporaryDirectory(prefix="foresell-benchmark-") as place:
                make(Path(place) / "workspace", customers, asked.master, asked.memory)
                found.append((engine, customers, measure(Path(place) / "workspace", engine)))
    print(table(sorted(found, key=lambda one: one[0])))
    print(f"\n{cost(found)}")
    print("\n" + json.dumps([[engine, customers, *steps] for engine, customers, steps in found]))


if __name__ == "__main__":
    main()
