"""For the tests of this room: random customers, a small real model, a shop, and the shop's service over HTTP."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features import store
from features.customer import VIEWS
from features.feature import Feature
from features.propensity import Propensity
from features.settings import SETTINGS_FILE, Workspace
from tests.serving.running import running
from tests.serving.shop import NOW, fit, open_shop
from training import registry
from training.contract import Column, Typical
from training.model import Model

Rows = list[dict[str, float | str | None]]
COLUMNS = (
    Column(name="logins_change_90d", dtype="number", typical=Typical(missing=0.1, p25=-0.2, median=0.0, p75=0.2)),
    Column(name="orders_count_90d", dtype="number", typical=Typical(missing=0.0, p25=1.0, median=2.0, p75=3.0)),
    Column(name="subscriptions_tier_latest", dtype="category", categories=("basic", "plus"), typical=Typical(missing=0.0)),
    Column(name="logins_days_since_last", dtype="number", typical=Typical(missing=0.2, p25=4.0, median=9.0, p75=15.0)),
    Column(name="nps_latest", dtype="number", typical=Typical(missing=0.5, p25=5.0, median=7.0, p75=9.0)),
    Column(name="subscriptions_mrr_now", dtype="number", typical=Typical(missing=0.0, p25=10.0, median=30.0, p75=49.9)),
)
QUESTION = {
    "name": "churn", "question": "Will this customer cancel?", "entity": "customer", "horizon": "90d",
    "eligible": ["subscriptions_active_count >= 1"], "outcome": {"table": "subscriptions", "at": "ended_at"},
    "value": {"column": "subscriptions_mrr_now", "times": 12},
    "reasons": {"logins_change_90d": {"low": "Logins have fallen over the last 90 days"}},
}  # fmt: skip


def _customers(rows: int, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "logins_change_90d": np.where(random.random(rows) < 0.1, np.nan, random.uniform(-1, 1, rows)),
            "orders_count_90d": random.poisson(2, rows).astype(float),
            "subscriptions_tier_latest": random.choice(np.array(["basic", "plus", "gold", None], dtype=object), rows),
            "logins_days_since_last": np.where(random.random(rows) < 0.2, np.nan, random.exponential(12, rows)),
            "nps_latest": np.where(random.random(rows) < 0.5, np.nan, random.integers(0, 11, rows)),
            "subscriptions_mrr_now": random.choice([10.0, 30.0, 49.9], rows),
            "subscriptions_active_count": np.where(random.random(rows) < 0.1, 0.0, 1.0),
        }
    )


@pytest.fixture(scope="session")
def rows_of() -> Callable[..., Rows]:
    """Random customers with every kind of value: whole and broken numbers, missing ones, categories seen and unseen."""
    return lambda rows, seed=7: _customers(rows, seed).to_dict("records")  # type: ignore[return-value]


@pytest.fixture(scope="session")
def model() -> Model:
    """A real model of those customers."""
    frame = _customers(4000, 7)
    drive = -2 * frame["logins_change_90d"].fillna(0) + 0.05 * frame["logins_days_since_last"].fillna(40) - 1.5
    drive += np.where(frame["subscriptions_tier_latest"] == "plus", -1.0, 0.4)
    labels = (np.random.default_rng(1).random(len(frame)) < 1 / (1 + np.exp(-drive))).astype(np.int8)
    return fit(Propensity.model_validate(QUESTION).model_dump(mode="json"), COLUMNS, frame, labels)


@pytest.fixture(scope="session")
def declarations() -> dict[str, Feature]:
    return {feature.name: feature for view in VIEWS for feature in view.columns}


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small workspace with real stores and champions; tests that use it must not change it."""
    return open_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def own(shop: Workspace, tmp_path: Path) -> Workspace:
    """A copy of the shop, never served, that a test may change; its models stay where they are."""
    shutil.copytree(shop.root, tmp_path / "own", ignore=shutil.ignore_patterns("mlruns", "scores", "latest", "serving"))
    address = f'[mlflow]\ntracking_uri = "{registry.store_uri(shop)}"\n'
    (tmp_path / "own" / SETTINGS_FILE).write_text(f'adapter = "canonical"\n{address}', encoding="utf-8")
    return Workspace.open(tmp_path / "own")


@pytest.fixture
def filled(own: Workspace) -> Workspace:
    """A workspace of one's own whose online store is filled."""
    store.apply(own)
    store.materialize(own, NOW)
    return own


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's client asks a server that is away once, and not three times."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture(scope="session")
def service(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The shop's service, started with `foresell serve` and stopped with SIGTERM; its address."""
    with running(shop, tmp_path_factory.mktemp("service") / "log") as found:
        yield found.address
