"""The world that serving is measured in: customers with 60 features in Redis, a LightGBM model that is champion, an API key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from benchmarks.fitted import PASSED, column, fitted
from features import propensity, snapshot, store
from features.catalog import Catalog, StoredTable
from features.settings import SETTINGS_FILE, Attribute, Workspace
from features.views import feature_map, views
from serving.http import keys
from training import registry
from training.contract import Column, encode
from training.model import Model

NAME = "churn"
QUESTION = """question = "Will this customer leave within 90 days?"
entity = "customer"
horizon = "90d"
eligible = ["customer_age_days >= 1"]

[outcome]
table = "customers"
at = "left_at"

[value]
column = "customer_n0"
times = 12
"""
NUMBERS, CATEGORIES = 53, 6  # and the one that every customer has: the age of the account
ATTRIBUTES = {f"n{i}": Attribute(type="number", fixed=True, meaning=f"measure {i}") for i in range(NUMBERS)} | {
    f"c{i}": Attribute(type="category", fixed=True, meaning=f"kind {i}") for i in range(CATEGORIES)
}
CHANGED = 50  # one customer in so many has other values in another turn
MISSING = 7  # one number in so many is not known
CALLS = 1e6  # a second that the key may make: the limit is asked about, and never reached
LEARNED = {"num_leaves": 31, "max_depth": 6, "learning_rate": 0.05, "min_data_in_leaf": 20, "deterministic": True}


@dataclass(frozen=True)
class World:
    """The workspace, its champion, the secret of its key, its customers' ids, and their rows of the champion's matrix."""

    workspace: Workspace
    model: Model
    secret: str
    ids: tuple[str, ...]
    rows: np.ndarray


def make_world(root: Path, redis: str, entities: int, trees: int, now: datetime) -> World:
    """Make the workspace as a user would have it after `foresell ingest`, `snapshot`, `train`, `promote` and `key create`.

    Args:
        root: a folder that is not there yet.
        redis: the address of the online store.
        entities: how many customers.
        trees: of the champion, of up to 31 leaves and depth 6.
        now: the instant up to which everything is known.
    """
    root.mkdir(parents=True)
    settings = f'adapter = "canonical"\n[store]\nonline = "{redis}"\nproject = "benchmark"\n[serving]\nkeys = "required"\n'
    (root / SETTINGS_FILE).write_text(settings, encoding="utf-8")
    workspace = Workspace.open(root)
    workspace.own_propensities.mkdir()
    (workspace.own_propensities / f"{NAME}.toml").write_text(QUESTION, encoding="utf-8")
    ingest(workspace, entities, now)
    snapshot.build(workspace, [now])
    store.apply(workspace)
    store.materialize(workspace, now)
    model, ids, matrix = _crown(workspace, trees, now)
    _, secret = keys.create(workspace, "benchmark", ["score"], CALLS, int(CALLS), None, now)
    return World(workspace, model, secret, ids, matrix)


def ingest(workspace: Workspace, entities: int, now: datetime, turn: int = 0) -> None:
    """Customers whose attributes are a hash of their number; in another turn than 0 one in 50 has others."""
    path = workspace.tables / "world" / "customers.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = f"(i + if(i % {CHANGED} = 0, {turn * entities}, 0))"
    hashes = [f"hash({seed}, {k})" for k in range(NUMBERS + CATEGORIES)]
    numbers = ", ".join(
        f"if({one} % {MISSING} = 0, null, ({one} % 100000) / 7.0) as n{k}" for k, one in enumerate(hashes[:NUMBERS])
    )
    words = "['web', 'email', 'phone', 'shop', 'müßig', null]"
    categories = ", ".join(f"{words}[(1 + {one} % 6)::int] as c{k}" for k, one in enumerate(hashes[NUMBERS:]))
    born = f"timestamp '{now:%Y-%m-%d}' - to_days((2 + i % 1000)::int)"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select 'C' || lpad(i::varchar, 9, '0') as customer_id, {born} as created_at, {born} as known_at, "
            f"null::timestamp as known_until, {numbers}, {categories} from range({entities}) t(i)) to '{path}' (format parquet)"
        )
        columns = {row[0]: row[1] for row in connection.execute(f"describe select * from '{path}'").fetchall()}
    table = StoredTable("customers", "world/customers.parquet", entities, columns)
    Catalog(f"benchmark-{turn}", "canonical", f"{now:%Y-%m-%d}", {"customers": table}, {"customers": ATTRIBUTES}).save(workspace)


def _crown(workspace: Workspace, trees: int, now: datetime) -> tuple[Model, tuple[str, ...], np.ndarray]:
    """Train on everybody, register and promote; the model, the ids, and their rows in the order of the ids."""
    question = propensity.load(workspace, NAME)
    ids = tuple(store.population(workspace, now)[question.entity])
    names = list(feature_map(views(workspace, Catalog.load(workspace)), question.entity))
    spine = pd.DataFrame({"entity_id": ids, "as_of": pd.Series([now] * len(ids), dtype="datetime64[us, UTC]")})
    frame = store.historical(workspace, question.entity, spine, names)
    columns = [column(frame[name]) for name in names]
    model = fit(question.model_dump(mode="json"), columns, encode(frame, columns), trees)
    registry.register(workspace, model, PASSED)
    registry.promote(workspace, NAME, registry.Signature("benchmark", now))
    return model, ids, model.matrix(frame)


def fit(question: dict[str, object], columns: Sequence[Column], matrix: np.ndarray, trees: int) -> Model:
    """A model of an outcome that many features have a part in, so that its trees are as large as they may be."""
    random = np.random.default_rng(1)
    drive = np.nan_to_num(matrix / np.nanstd(matrix, axis=0)) @ random.normal(0, 0.4, len(columns))
    labels = (random.random(len(matrix)) < 1 / (1 + np.exp(np.median(drive) + 1 - drive))).astype(np.int8)
    return fitted(question, columns, matrix, labels, trees, LEARNED)
