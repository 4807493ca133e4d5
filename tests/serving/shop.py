"""A shop: a small workspace with everything real in it, tables, snapshots, Feast stores, registered champions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.fitted import PASSED, column, fitted
from features import propensity, snapshot, store
from features.cohort import cohort
from features.settings import SETTINGS_FILE, Attribute, Workspace
from tests.worlds import make_workspace
from training import registry
from training.contract import Column, encode
from training.model import Model

NOW = datetime(2018, 5, 15, tzinfo=UTC)
CUSTOMERS, LEADS = 400, 300
MODEL_COLUMNS = {
    "churn": ("subscriptions_tenure_days", "subscriptions_tier_latest", "orders_count_90d", "orders_change_90d",
              "orders_days_since_last", "subscriptions_mrr_now"),
    "lead-conversion": ("lead_age_days", "lead_origin", "lead_budget", "interactions_count_30d", "interactions_days_since_last",
                        "lead_created_weekday", "channel_latest"),
}  # fmt: skip


def open_shop(
    root: Path,
    settings: str = 'adapter = "canonical"\n[serving]\nkeys = "off"\n',
    customers: int = CUSTOMERS,
    leads: int = LEADS,
    suffixes: Sequence[str] = ("",),
) -> Workspace:
    """Build the shop below `root`, where its settings say: champions for churn and lead-conversion, none for upsell.

    Customers are C0000, C0001 and so on, leads L0000 and so on, each with the next of the suffixes.
    """
    workspace = open_world(root, settings, customers, leads, suffixes)
    store.apply(workspace)
    store.materialize(workspace, NOW)
    for name in MODEL_COLUMNS:
        crown(workspace, name)
    return workspace


def open_world(
    root: Path, settings: str, customers: int = CUSTOMERS, leads: int = LEADS, suffixes: Sequence[str] = ("",)
) -> Workspace:
    """The same customers and leads without stores and champions, which may be those of a shop: by `[mlflow] tracking_uri`."""
    attributes = {"leads": {"origin": Attribute(fixed=True, meaning="origin"), "budget": Attribute(type="number", fixed=True)}}
    tables = _tables(random.Random(3), _ids("C", customers, suffixes), _ids("L", leads, suffixes))
    make_workspace(root, tables, now="2018-05-15", attributes=attributes)
    (root / SETTINGS_FILE).write_text(settings, encoding="utf-8")
    workspace = Workspace.open(root)
    snapshot.build(workspace, [NOW])
    return workspace


def fit(question: dict[str, Any], columns: Sequence[Column], frame: pd.DataFrame, labels: np.ndarray) -> Model:
    """A small model with a whole contract, calibrated on its own training rows."""
    return fitted(question, columns, encode(frame, columns), np.asarray(labels), 60, {"num_leaves": 15, "min_data_in_leaf": 10})


def crown(workspace: Workspace, name: str, seed: int = 5) -> None:
    """Learn something from the cohort and make it the champion."""
    learn(workspace, name, MODEL_COLUMNS[name], seed)
    registry.promote(workspace, name, registry.Signature("anna", NOW))


def learn(workspace: Workspace, name: str, columns: Sequence[str], seed: int = 5, as_of: datetime = NOW) -> None:
    """Learn something from the cohort, another thing for another seed, and register it."""
    question = propensity.load(workspace, name)
    frame = store.historical(workspace, question.entity, cohort(workspace, question, [as_of]), columns)
    labels = (
        np.random.default_rng(seed).random(len(frame)) < 0.2 + 0.5 * (frame[columns[0]] > frame[columns[0]].median())
    ).astype(np.int8)
    model = fit(question.model_dump(mode="json"), [column(frame[name]) for name in columns], frame, labels)
    registry.register(workspace, model, PASSED)


def _ids(letter: str, number: int, suffixes: Sequence[str]) -> list[str]:
    return [f"{letter}{i:04d}{suffixes[i % len(suffixes)]}" for i in range(number)]


def _tables(rng: random.Random, customer_ids: Sequence[str], lead_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    customers = [{"customer_id": customer_id, "created_at": _ago(rng, 100, 900)} for customer_id in customer_ids]
    leads = [
        {"lead_id": lead_id, "created_at": _ago(rng, 1, 120), "origin": rng.choice(["web", "fair", "friend", "radio", None]),
         "budget": rng.choice([None, 10_000.0, 25_000.5, 40_000.0]),
         "converted_at": _ago(rng, 0, 1) if rng.random() < 0.2 else None}
        for lead_id in lead_ids
    ]  # fmt: skip
    subscriptions = [
        {"subscription_id": f"S{i}", "customer_id": customer["customer_id"], "started_at": _ago(rng, 20, 99), "plan": "connect",
         "tier": rng.choice(["basic", "plus", "max", None]), "price": rng.choice([9.99, 19.5, 49.0]), "start_reason": "new",
         "ended_at": _ago(rng, 1, 10) if rng.random() < 0.2 else None}
        for i, customer in enumerate(customers)
    ]  # fmt: skip
    orders = [
        {"order_id": f"O{i}", "customer_id": rng.choice(customer_ids), "occurred_at": _ago(rng, 1, 99),
         "amount": round(rng.uniform(5, 300), 2)}
        for i in range(900)
    ]  # fmt: skip
    interactions = [
        {"interaction_id": f"I{i}", "lead_id": rng.choice(lead_ids), "occurred_at": _ago(rng, 0, 60),
         "channel": rng.choice(["web", "email", "phone"]), "kind": rng.choice(["visit", "open", "call"]), "direction": "inbound"}
        for i in range(500)
    ]  # fmt: skip
    return {
        "customers": customers, "leads": leads, "subscriptions": subscriptions, "orders": orders, "interactions": interactions,
    }  # fmt: skip


def _ago(rng: random.Random, least: float, most: float) -> datetime:
    instant = NOW - timedelta(days=rng.uniform(least, most))
    return instant.replace(tzinfo=None, microsecond=rng.randrange(1_000_000))
