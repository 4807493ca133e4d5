"""The oracle: stock Great Expectations, given the same suites and the same rows, gives the same verdicts and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy

from features.catalog import Catalog
from features.console import silence_telemetry
from features.database import connect
from features.measure import holds, measure
from features.quality import suite
from features.rule import Rule
from features.ruleset import rules
from features.settings import Attribute, Workspace
from features.tables import TABLES
from tests.worlds import INSTANT, Rows, make_workspace, random_world

NOW = datetime(2024, 6, 3, tzinfo=UTC)
ATTRIBUTES = {"leads": {"origin": Attribute(fixed=True)}, "customers": {"state": Attribute(fixed=True)}}
NEED_SQL = {"unexpected_rows_expectation", "expect_column_type_to_be"}
ALWAYS_HOLD = {"expect_column_type_to_be", "expect_column_to_exist", "expect_table_row_count_to_be_between"}  # see test_quality


def damaged_world(seed: int) -> dict[str, Rows]:
    """A random world in which about one value in eight is missing or wrong, rows are repeated,
    one table is stale, one attribute constant and mostly missing."""
    rng = np.random.default_rng(seed)
    world = random_world(seed)
    for name, rows in world.items():
        for row in rows:
            row |= {column.name: _damage(rng, column.type) for column in TABLES[name].columns if rng.random() < 0.12}
        rows += [dict(row) for row in rows if rng.random() < 0.1]
    for row in world["cases"]:
        row |= {"occurred_at": INSTANT - pd.Timedelta(days=400), "known_at": None}
    for number, row in enumerate(world["customers"]):
        row["state"] = "a" if number == 0 else None
    for number, row in enumerate(world["leads"]):
        row["origin"] = "ab"[number % 2]
    return world


def _damage(rng: np.random.Generator, kind: str) -> Any:
    wrong = {"timestamp": INSTANT + pd.Timedelta(microseconds=1), "flag": True, "id": "nobody", "category": "nonsense"}
    return None if rng.random() < 0.5 else wrong.get(kind, int(rng.choice([-1, 11, 4_000_000])))


def ours(workspace: Workspace) -> dict[str, list[tuple[Rule, bool, int]]]:
    catalog = Catalog.load(workspace)
    with connect(workspace) as connection:
        for name in catalog.tables:
            connection.execute(f"create view {name} as from '{catalog.path(workspace, name)}'")
        made = {name: rules(TABLES[name], catalog, NOW) for name in catalog.tables}
        return {
            name: [(rule, holds(rule, fact), fact.offending) for rule, fact in zip(of, measure(connection, of), strict=True)]
            for name, of in made.items()
        }


@pytest.fixture(scope="module")
def great_expectations() -> Any:
    silence_telemetry()
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


@pytest.mark.parametrize(("engine", "seed"), [("pandas", 0), ("pandas", 1), ("sqlite", 0)])
def test_stock_great_expectations_gives_the_same_verdicts(
    great_expectations: Any, tmp_path: Path, engine: str, seed: int
) -> None:
    """On pandas, and on SQLite for the expectations that need SQL."""
    workspace = make_workspace(tmp_path, damaged_world(seed), attributes=ATTRIBUTES)
    batches = dict(_batches(great_expectations, workspace, engine, f"{engine}-{seed}"))
    seen: Counter[tuple[str, bool]] = Counter()
    for name, measured in ours(workspace).items():
        compared = [one for one in measured if (one[0].expectation in NEED_SQL) == (engine == "sqlite")]
        numbered = suite([rule for rule, *_ in compared])
        for number, expectation in enumerate(numbered.expectations):
            expectation.meta = {"number": number}
        results = sorted(batches[name].validate(numbered, result_format="BASIC").results, key=_number)
        for (rule, holding, offending), result in zip(compared, results, strict=True):
            assert result.success == holding, (rule, offending, result)
            assert result.result.get("unexpected_count", offending) == offending, (rule, result)
            seen[rule.expectation, holding] += 1
    for expectation in {kind for kind, _ in seen} - ALWAYS_HOLD:
        assert seen[expectation, True] and seen[expectation, False], f"{expectation} was not seen both to hold and to fail"


def _number(result: Any) -> int:
    return int(result.expectation_config.meta["number"])


def _batches(context: Any, workspace: Workspace, engine: str, name: str) -> Iterator[tuple[str, Any]]:
    """The workspace's tables as stock GX reads them."""
    catalog = Catalog.load(workspace)
    address = f"sqlite:///{workspace.root / 'oracle.db'}"
    source = (
        context.data_sources.add_pandas(name)
        if engine == "pandas"
        else context.data_sources.add_sqlite(name, connection_string=address)
    )
    frames = {}
    with connect(workspace) as connection:
        for table in catalog.tables:
            frames[table] = connection.execute(f"from '{catalog.path(workspace, table)}' order by all").df()
    if engine == "sqlite":
        for table, frame in frames.items():
            types = {column: _sql_type(kind) for column, kind in catalog.tables[table].columns.items()}
            frame.to_sql(table, sqlalchemy.create_engine(address), index=False, dtype=types)
    for table, frame in frames.items():
        if engine == "pandas":
            yield (
                table,
                source.add_dataframe_asset(table).add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame}),
            )
        else:
            yield table, source.add_table_asset(table, table_name=table).add_batch_definition_whole_table("all").get_batch()


def _sql_type(kind: str) -> Any:
    return sqlalchemy.DECIMAL(18, 4) if kind.startswith("DECIMAL") else getattr(sqlalchemy, kind)()
