"""Snapshots at scale: seconds, peak memory, and the ratio to one hand-written SQL statement for the same columns.

    .venv/bin/python benchmarks/snapshot.py                       12 snapshots of 1,000,000 customers with 20,000,000 events
    .venv/bin/python benchmarks/snapshot.py --customers 100000 --events 2000000

The world is made of two event tables (orders and interactions) and the customers; both contenders read the same Parquet files,
have the same memory limit and write Parquet. Each runs in a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from features import snapshot
from features.catalog import Catalog, StoredTable
from features.database import connect
from features.settings import DuckdbSettings, Settings, Workspace
from features.tables import SQL_TYPES, TABLES

AS_OFS = [datetime(2024, month, 1, tzinfo=UTC) for month in range(1, 13)]
SETTINGS = Settings(duckdb=DuckdbSettings(memory_limit="8GB"))
DELIVERED = {
    "customers": ("customer_id", "created_at"),
    "orders": ("order_id", "customer_id", "occurred_at", "amount", "category", "quantity"),
    "interactions": ("interaction_id", "customer_id", "occurred_at", "channel", "kind"),
}


def make_world(root: Path, customers: int, events: int) -> None:
    """Customers, and orders and interactions (2 to 3) spread over two years."""
    (root / "data" / "tables" / "world").mkdir(parents=True)
    spread = "timestamp '2023-01-01' + to_microseconds((hash({seed}, i) % 63072000000000)::bigint)"
    selects = {
        "customers": f"select 'c' || i as customer_id, timestamp '2022-01-01' + to_days((i % 700)::int) as created_at "
        f"from range({customers}) t(i)",
        "orders": f"select 'o' || i as order_id, 'c' || (hash(i) % {customers}) as customer_id, "
        f"{spread.format(seed=1)} as occurred_at, "
        "(1 + hash(2, i) % 20000 / 100)::decimal(18,4) as amount, 'k' || (hash(3, i) % 12) as category, "
        f"(1 + hash(4, i) % 5)::double as quantity from range({events * 2 // 5}) t(i)",
        "interactions": f"select 'i' || i as interaction_id, 'c' || (hash(5, i) % {customers}) as customer_id, "
        f"{spread.format(seed=6)} as occurred_at, ['app', 'email', 'web'][(1 + hash(7, i) % 3)::int] as channel, "
        "['login', 'open', 'visit', 'click', 'limit_reached'][(1 + hash(8, i) % 5)::int] as kind "
        f"from range({events * 3 // 5}) t(i)",
    }
    stored = {}
    with duckdb.connect() as connection:
        for name, select in selects.items():
            file = f"world/{name}.parquet"
            known = f"{TABLES[name].time} as known_at, null::timestamp as known_until"
            path = root / "data" / "tables" / file
            connection.execute(f"copy (select *, {known} from ({select})) to '{path}' (format parquet)")
            types = {column: SQL_TYPES[TABLES[name].column(column).type] for column in DELIVERED[name]}
            rows = connection.execute(f"select count(*) from read_parquet('{path}')").fetchall()[0][0]
            stored[name] = StoredTable(name, file, rows, {**types, "known_at": "TIMESTAMP", "known_until": "TIMESTAMP"})
    Catalog("world", "canonical", "2025-01-01", stored, {}).save(Workspace(root, SETTINGS))


def run_ours(root: Path) -> int:
    workspace = Workspace(root, SETTINGS)
    return snapshot.build(workspace, AS_OFS).rows


def run_by_hand(root: Path) -> int:
    """One statement with every column of the views that this world feeds, written as an analyst would."""
    with connect(Workspace(root, SETTINGS)) as connection:
        statement = (Path(__file__).parent / "snapshot_by_hand.sql").read_text(encoding="utf-8")
        tables = {name: str(root / "data" / "tables" / "world" / f"{name}.parquet") for name in DELIVERED}
        target = root / "by_hand.parquet"
        row = connection.execute(f"copy ({statement.format(**tables)}) to '{target}' (format parquet)").fetchone()
        return int(row[0]) if row else 0


def measure(contender: str, root: Path) -> dict[str, float]:
    """Run one contender in a process of its own."""
    call = [sys.executable, __file__, "--run", contender, "--root", str(root)]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=20_000_000)
    parser.add_argument("--run", choices=["ours", "by_hand"], help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        began = time.perf_counter()
        rows = {"ours": run_ours, "by_hand": run_by_hand}[asked.run](asked.root)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"seconds": time.perf_counter() - began, "peak_gib": peak, "rows": rows}))
        return
    with tempfile.TemporaryDirectory(prefix="foresell-benchmark-") as folder:
        root = Path(folder)
        make_world(root, asked.customers, asked.events)
        by_hand, ours = measure("by_hand", root), measure("ours", root)
    print(f"{len(AS_OFS)} snapshots, {asked.customers:,} customers, {asked.events:,} events")
    print("| contender | seconds | peak memory, GiB | rows |\n| --- | --- | --- | --- |")
    for name, figures in (("one hand-written statement", by_hand), ("foresell snapshot", ours)):
        print(f"| {name} | {figures['seconds']:.1f} | {figures['peak_gib']:.1f} | {figures['rows']:,} |")
    print(f"\nratio: {ours['seconds'] / by_hand['seconds']:.2f}")


if __name__ == "__main__":
    main()
