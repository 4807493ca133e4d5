"""A small world whose outcomes are known to the microsecond, and scores that were served in it, nightly and online."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from features.console import Tick
from features.settings import SETTINGS_FILE, Settings, Workspace
from serving.ledger import Entry, Ledger
from serving.partition import SCHEMA, folder, publish
from tests.worlds import make_workspace

DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)
HORIZON = 90 * DAY  # of churn
MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
UNTIL = MONDAY + 7 * DAY + HORIZON  # when every score of that week is mature


@contextmanager
def silent(what: str, units: int) -> Iterator[Tick]:
    with nullcontext():
        yield lambda units: None


def world(root: Path, ended: Mapping[str, datetime | None], now: datetime = UNTIL, **settings: Any) -> Workspace:
    """Customers, each with a subscription that ends when it is told."""
    tables = {
        "customers": [{"customer_id": name, "created_at": datetime(2022, 1, 1)} for name in ended],
        "subscriptions": [
            {"subscription_id": f"S{name}", "customer_id": name, "started_at": datetime(2022, 2, 1), "plan": "connect",
             "tier": "basic", "price": 9.5, "start_reason": "new", "ended_at": naive(at), "end_reason": at and "left"}
            for name, at in ended.items()
        ],
    }  # fmt: skip
    root.mkdir(parents=True, exist_ok=True)
    (root / SETTINGS_FILE).touch()
    return make_workspace(root, tables, now=now.isoformat(), settings=Settings.model_validate(settings))


def naive(at: datetime | None) -> datetime | None:
    return at and at.replace(tzinfo=None)


def night(workspace: Workspace, as_of: datetime, scores: Mapping[str, float | None], version: str = "1") -> None:
    """A partition of churn; a score of None is withheld."""
    rows = [
        {"entity_id": name, "propensity": "churn", "eligible": True, "policy": None if p is not None else "holdout", "score": 50,
         "probability": p, "grade": "B", "scored_at": as_of, "model_version": version}
        for name, p in sorted(scores.items())
    ]  # fmt: skip
    batch = pa.RecordBatch.from_pylist(rows, SCHEMA)
    facts = {"propensity": "churn", "as_of": as_of.isoformat(), "model_version": version, "catalog_version": "",
             "known": len(rows), "ineligible": {}}  # fmt: skip
    publish(folder(workspace, "churn", as_of), [batch], facts)


def asked(name: str | None, at: datetime, probability: float | None = 0.5, **more: Any) -> Entry:
    """An answer over HTTP."""
    return Entry(at, "r", "crm", "http", "churn", name, "1", probability, 50)._replace(**more)


def keep(workspace: Workspace, entries: Sequence[Entry]) -> None:
    with closing(Ledger.open(workspace)) as ledger:
        ledger.keep(entries)
