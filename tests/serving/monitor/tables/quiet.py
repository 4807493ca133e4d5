"""A quiet CRM: rows that come in by chance, day by day, always in the same way; and what may be done to its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from features.settings import Settings, Workspace
from tests.worlds import Rows, make_workspace

NOW = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 300
CHANNELS = {"web": 0.5, "app": 0.3, "email": 0.15, "phone": 0.05}
World = dict[str, Rows]


def quiet(seed: int = 1, days: int = DAYS) -> World:
    """Customers, 80 interactions and 25 orders a day, 10 subscriptions and 3 surveys a week."""
    rng = np.random.default_rng(seed)
    customers = [{"customer_id": f"C{i}", "created_at": _ago(days)} for i in range(50)]
    return {
        "customers": customers,
        "interactions": [_interaction(rng, *moment) for moment in _moments(rng, 80, days)],
        "orders": [_order(rng, *moment) for moment in _moments(rng, 25, days)],
        "subscriptions": [_subscription(rng, *moment) for moment in _moments(rng, 10 / 7, days)],
        "surveys": [
            {"survey_id": f"V{i}", "customer_id": "C1", "occurred_at": at, "kind": "nps", "score": int(rng.integers(0, 11))}
            for i, at in _moments(rng, 3 / 7, days)
        ],
    }


def workspace_of(root: Path, world: Mapping[str, Rows], now: datetime = NOW, **given: Any) -> Workspace:
    """A workspace that tells up to `now`."""
    settings = Settings.model_validate({"duckdb": {"threads": 1}, **given.pop("settings", {})})
    return make_workspace(root, world, now=now.isoformat(), settings=settings, **given)


def changed(world: World, table: str, since: datetime, change: Callable[[dict[str, Any], float], dict[str, Any] | None]) -> World:
    """The world with every row of a table from an instant on changed; left out where the change says None.

    Args:
        change: is given the row, and a number between 0 and 1 that is by chance.
    """
    rng, clock = np.random.default_rng(9), _clock(table)
    rows = [change(dict(row), rng.random()) if row[clock] >= since.replace(tzinfo=None) else row for row in world[table]]
    return {**world, table: [row for row in rows if row is not None]}


def before(days: float) -> datetime:
    """So many days before NOW."""
    return NOW - timedelta(days=days)


def _clock(table: str) -> str:
    return "started_at" if table == "subscriptions" else "occurred_at"


def _moments(rng: np.random.Generator, a_day: float, days: int) -> list[tuple[int, datetime]]:
    ago = np.sort(rng.uniform(0, days, rng.poisson(a_day * days)))[::-1]
    return [(i, _ago(float(one))) for i, one in enumerate(ago)]


def _ago(days: float) -> datetime:
    return (NOW - timedelta(days=days)).replace(tzinfo=None)


def _interaction(rng: np.random.Generator, i: int, at: datetime) -> dict[str, Any]:
    channel = str(rng.choice(list(CHANNELS), p=list(CHANNELS.values())))
    return {"interaction_id": f"I{i}", "customer_id": "C1", "occurred_at": at, "channel": channel, "kind": "visit",
            "direction": str(rng.choice(["inbound", "outbound"]))}  # fmt: skip


def _order(rng: np.random.Generator, i: int, at: datetime) -> dict[str, Any]:
    category = None if rng.random() < 0.05 else str(rng.choice(["tyres", "care", "parts"]))
    return {"order_id": f"O{i}", "customer_id": "C1", "occurred_at": at, "amount": round(float(rng.lognormal(4, 0.8)), 2),
            "category": category, "quantity": int(rng.integers(1, 5))}  # fmt: skip


def _subscription(rng: np.random.Generator, i: int, at: datetime) -> dict[str, Any]:
    end = at + timedelta(days=float(rng.exponential(60)))
    ends = {"ended_at": end, "end_reason": str(rng.choice(["cancelled", "moved"]))} if end < _ago(0) else {}
    return {"subscription_id": f"S{i}", "customer_id": "C1", "started_at": at, "plan": "connect",
            "price": float(rng.choice([9.0, 19.0])), **ends}  # fmt: skip
