"""A small corner shop for the tests of this room: customers who order and some who stop, and one trained model of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from features.propensity import load
from features.settings import SETTINGS_FILE, Attribute, Workspace
from tests.worlds import make_workspace
from training.registry import Signature
from training.train import train

NOW = datetime(2024, 1, 1, tzinfo=UTC)
ME = Signature("anna", NOW)
FIRST = datetime(2022, 11, 1, tzinfo=UTC)
CUSTOMERS = 300
QUESTION = """
question = "Will this customer order nothing in the next 30 days?"
entity = "customer"
horizon = "30d"
every = "28d"
first_as_of = "2023-01-01"
eligible = ["orders_count_90d >= 1"]
[outcome]
absent = "orders"
[value]
amount = 40
cost = 2
success = 0.5
capacity_per_day = 3
[gates]
min_positives = 50
"""
QUIET = lambda what, total: nullcontext(lambda units: None)  # noqa: E731


@pytest.fixture(scope="session")
def make_shop(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Workspace]:
    """Make a fresh shop with its tables and its churn question; nothing is built yet."""

    def make(customers: int = CUSTOMERS, seed: int = 5, until: datetime = NOW) -> Workspace:
        root = tmp_path_factory.mktemp("shop")
        deliver(root, until, customers, seed)
        (root / SETTINGS_FILE).write_text('adapter = "canonical"\nprotected = ["customer_vat"]\n', encoding="utf-8")
        (root / "propensities").mkdir()
        (root / "propensities" / "churn.toml").write_text(QUESTION, encoding="utf-8")
        return Workspace.open(root)

    return make


@pytest.fixture(scope="session")
def trained_once(make_shop: Callable[..., Workspace]) -> Workspace:
    """A shop whose churn model is trained and not promoted; only read it."""
    workspace = make_shop()
    train(workspace, load(workspace, "churn"), NOW, QUIET)
    return workspace


@pytest.fixture
def trained(trained_once: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the trained shop to do anything with."""
    return copied(trained_once, tmp_path / "shop")


def copied(workspace: Workspace, root: Path) -> Workspace:
    """A copy of a workspace; MLflow's absolute paths are moved with it."""
    shutil.copytree(workspace.root, root)
    _move(root / "mlruns" / "mlflow.db", str(workspace.root), str(root))
    return Workspace.open(root)


def deliver(root: Path, until: datetime = NOW, customers: int = CUSTOMERS, seed: int = 5) -> None:
    """Write the shop's tables as they are known at an instant, in place of earlier ones."""
    attributes = {"customers": {"kind": Attribute(fixed=True), "vat": Attribute(fixed=True)}}
    tables = _tables(customers, seed)
    tables["orders"] = [row for row in tables["orders"] if row["occurred_at"] < until]  # type: ignore[operator]
    make_workspace(root, tables, now=until.date().isoformat(), attributes=attributes)


def _tables(customers: int, seed: int) -> dict[str, list[dict[str, object]]]:
    """Each customer orders every so many days; a stopped one never again."""
    random = np.random.default_rng(seed)
    kinds = random.choice(["cafe", "school", "home"], customers, p=[0.3, 0.2, 0.5])
    people = [
        {"customer_id": f"C{n}", "created_at": FIRST, "kind": kinds[n], "vat": "yes" if kinds[n] != "home" else None}
        for n in range(customers)
    ]
    orders: list[dict[str, object]] = []
    for n in range(customers):
        days, pace = random.uniform(0, 20), {"cafe": 6, "school": 20, "home": 28}[kinds[n]] * random.uniform(0.6, 1.6)
        while days < (NOW - FIRST).days and random.random() > 0.02:
            at = FIRST + timedelta(days=days)
            orders.append(
                {
                    "order_id": f"O{len(orders)}",
                    "customer_id": f"C{n}",
                    "occurred_at": at,
                    "amount": round(random.gamma(2, 20), 2),
                }
            )
            days += random.exponential(pace)
    return {"customers": people, "orders": orders}


def _move(database: Path, before: str, after: str) -> None:
    """Put the copy's own folder in place of the original's in every text of MLflow's database."""
    import sqlite3

    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for _, column, kind, *_ in connection.execute(f"pragma table_info({table})").fetchall():
                if kind.upper().startswith(("VARCHAR", "TEXT")):
                    connection.execute(f'update "{table}" set "{column}" = replace("{column}", ?, ?)', (before, after))
