"""Write-back of many changed scores: into PostgreSQL beside a bare upsert of the same rows, and into Odoo with its calls counted.

    .venv/bin/python -m benchmarks.write_back                       100,000 scores; needs PostgreSQL, as tests/servers.py has it
    .venv/bin/python -m benchmarks.write_back --records 1000

Two nights are written, each with another score of everybody, and the second is measured: every row of it goes over one that is
there. The bare upsert is SQLAlchemy's, of the rows of the second night as they stand in the table, a thousand at a time, without
a partition that is read, a comparison or a ledger. The ledger is SQLite's. Odoo is the one of the tests: it answers over HTTP,
and one call writes equal values to many records; calls are not held back to a rate.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection, Row, create_engine, text

from features.console import messages
from features.settings import Workspace
from tests.servers import POSTGRES, database
from tests.serving.connectors.test_odoo import FIELDS, Odoo, json_rpc
from tests.serving.connectors.worlds import DAY, FIRST, night, open_workspace, run, serving

ROWS_A_STATEMENT = 1_000
TABLE = "foresell_scores"


def nights(workspace: Workspace, records: int) -> float:
    """The seconds that a night takes in which everybody's score has changed."""
    for number, as_of in enumerate((FIRST, FIRST + DAY)):
        night(workspace, {f"{one:07d}": 1 + (one * 7 + number * 31) % 100 for one in range(1, records + 1)}, as_of)
        began = time.perf_counter()
        outcome = run(workspace)
        assert outcome.sent == records and outcome.is_complete, outcome
    return time.perf_counter() - began


def bare(address: str) -> float:
    """The seconds that an upsert of every row of the table takes, with other scores."""
    engine = create_engine(address.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        rows = [{**row._mapping, "score": row.score % 100 + 1} for row in _rows(connection)]
    names = list(rows[0])
    values, changed = ", ".join(f":{name}" for name in names), ", ".join(f"{name} = excluded.{name}" for name in names)
    statement = f"insert into {TABLE} ({', '.join(names)}) values ({values}) on conflict (entity, entity_id, propensity) "
    began = time.perf_counter()
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        with engine.begin() as connection:
            connection.execute(text(f"{statement} do update set {changed}"), rows[start : start + ROWS_A_STATEMENT])
    spent = time.perf_counter() - began
    engine.dispose()
    return spent


def _rows(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(text(f"select * from {TABLE}")).all()


@contextmanager
def odoo(root: Path, records: int) -> Iterator[tuple[Workspace, list[Any]]]:
    """A workspace whose target is an Odoo 18 with so many partners, and the calls that come."""
    world = Odoo()
    world.partners = {one: {} for one in range(1, records + 1)}
    with serving(json_rpc(world)) as crm, patch.dict("os.environ", {"ODOO_PASSWORD": "sesame"}):
        target = {
            "to": "odoo",
            "url": crm.url,
            "version": 18,
            "database": "crm",
            "user": "bot",
            "password": "${ODOO_PASSWORD}",
            "fields": FIELDS,
        }
        yield open_workspace(root, **target), crm.got


def measure(root: Path, records: int) -> str:
    """Every figure, as Markdown."""
    with database("foresell_benchmark") as name:
        address = f"{POSTGRES}/{name}"
        ours = nights(open_workspace(root / "sql", to="sql", database=address), records)
        floor = bare(address)
    with odoo(root / "odoo", records) as (workspace, calls):
        grouped, of_the_second = nights(workspace, records), sum(b'"write"' in call.body for call in calls) / 2
    return "\n".join(
        [
            f"{records:,} changed scores",
            "",
            "| | seconds | records/s | calls |",
            "| --- | --- | --- | --- |",
            f"| write-back into PostgreSQL | {ours:,.1f} | {records / ours:,.0f} | |",
            f"| a bare upsert of the same rows | {floor:,.1f} | {records / floor:,.0f} | |",
            f"| write-back into an Odoo | {grouped:,.1f} | {records / grouped:,.0f} | {of_the_second:,.0f} |",
            "",
            f"Of the bare upsert: {floor / ours:.2f} of its records/s.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.write_back", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=int, default=100_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, messages().status("measuring"):
        told = measure(Path(folder), asked.records)
    print(told)


if __name__ == "__main__":
    main()
