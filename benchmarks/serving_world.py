"""The world that serving is measured in: customers with 60 features in Redis, a LightGBM model that is champion, an API key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb
import lightgbm
import numpy as np
import pandas as pd

from features import propensity, snapshot, store
from features.catalog import Catalog, StoredTable
from features.settings import SETTINGS_FILE, Attribute, Workspace
from features.views import feature_map, views
from serving.http import keys
from training import calibration, registry
from training.contract import Column, Contract, Typical, Window, encode
from training.model import Model
from training.trees import Trees

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
MISSING = 7  # one number in so many is not known
CALLS = 1e6  # a second that the key may make: the limit is asked about, and never reached
LEARNED = {
    "objective": "binary", "num_leaves": 31, "max_depth": 6, "learning_rate": 0.05, "min_data_in_leaf": 20, "verbose": -1,
    "num_threads": 1, "seed": 1, "deterministic": True,
}  # fmt: skip


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
    _ingest(workspace, entities, now)
    snapshot.build(workspace, [now])
    store.apply(workspace)
    store.materialize(workspace, now)
    model, ids, matrix = _crown(workspace, trees, now)
    _, secret = keys.create(workspace, "benchmark", ["score"], CALLS, int(CALLS), None, now)
    return World(workspace, model, secret, ids, matrix)


def _ingest(workspace: Workspace, entities: int, now: datetime) -> None:
    """Customers whose attributes are a hash of their number."""
    path = workspace.tables / "world" / "customers.parquet"
    path.parent.mkdir(parents=True)
    numbers = ", ".join(f"if(hash(i, {k}) % {MISSING} = 0, null, (hash(i, {k}) % 100000) / 7.0) as n{k}" for k in range(NUMBERS))
    words = "['web', 'email', 'phone', 'shop', 'müßig', null]"
    categories = ", ".join(f"{words}[(1 + hash(i, {NUMBERS + k}) % 6)::int] as c{k}" for k in range(CATEGORIES))
    born = f"timestamp '{now:%Y-%m-%d}' - to_days((2 + i % 1000)::int)"
    with duckdb.connect() as connection:
        connection.execute(
            f"copy (select 'C' || lpad(i::varchar, 9, '0') as customer_id, {born} as created_at, {born} as known_at, "
            f"null::timestamp as known_until, {numbers}, {categories} from range({entities}) t(i)) to '{path}' (format parquet)"
        )
        columns = {row[0]: row[1] for row in connection.execute(f"describe select * from '{path}'").fetchall()}
    table = StoredTable("customers", "world/customers.parquet", entities, columns)
    Catalog("benchmark", "canonical", f"{now:%Y-%m-%d}", {"customers": table}, {"customers": ATTRIBUTES}).save(workspace)


def _crown(workspace: Workspace, trees: int, now: datetime) -> tuple[Model, tuple[str, ...], np.ndarray]:
    """Train on everybody, register and promote; the model, the ids, and their rows in the order of the ids."""
    question = propensity.load(workspace, NAME)
    ids = tuple(store.population(workspace, now)[question.entity])
    names = list(feature_map(views(workspace, Catalog.load(workspace)), question.entity))
    spine = pd.DataFrame({"entity_id": ids, "as_of": pd.Series([now] * len(ids), dtype="datetime64[us, UTC]")})
    frame = store.historical(workspace, question.entity, spine, names)
    columns = [_column(frame[name]) for name in names]
    model = fit(question.model_dump(mode="json"), columns, encode(frame, columns), trees)
    record = registry.Record({}, {}, {"verdict": "pass"}, {"gates": []}, {"report/report.html": "<html>"})
    registry.register(workspace, model, record)
    registry.promote(workspace, NAME, registry.Signature("benchmark", now))
    return model, ids, model.matrix(frame)


def fit(question: dict[str, object], columns: Sequence[Column], matrix: np.ndarray, trees: int) -> Model:
    """A model of an outcome that many features have a part in, so that its trees are as large as they may be."""
    random = np.random.default_rng(1)
    drive = np.nan_to_num(matrix / np.nanstd(matrix, axis=0)) @ random.normal(0, 0.4, len(columns))
    labels = (random.random(len(matrix)) < 1 / (1 + np.exp(np.median(drive) + 1 - drive))).astype(np.int8)
    categories = [i for i, column in enumerate(columns) if column.dtype == "category"]
    data = lightgbm.Dataset(matrix, labels, feature_name=[c.name for c in columns], categorical_feature=categories)
    booster = lightgbm.train(LEARNED, data, trees)
    raw = np.asarray(booster.predict(matrix, raw_score=True))
    fitted = calibration.fit(raw, labels)
    window = Window(first="2018-01-01", last="2018-01-01", rows=len(matrix), positives=int(labels.sum()))
    contract = Contract(
        propensity=question,
        candidate="lightgbm",
        members=("model.txt",),
        features=tuple(columns),
        calibration=fitted,
        reference=tuple(np.quantile(fitted.probability(raw), np.linspace(0, 1, 1001)).tolist()),
        fingerprint="benchmark",
        windows={"train": window, "calibration": window, "test": window},
        versions=dict.fromkeys(registry.REQUIREMENTS, "0"),
    )
    return Model(contract, Trees(booster.model_to_string()))


def _column(values: pd.Series) -> Column:
    missing = float(values.isna().mean())
    if values.dtype == object:
        known = tuple(sorted(values.dropna().unique()))
        return Column(name=str(values.name), dtype="category", categories=known, typical=Typical(missing=missing))
    p25, median, p75 = values.quantile([0.25, 0.5, 0.75]).tolist()
    return Column(name=str(values.name), dtype="number", typical=Typical(missing=missing, p25=p25, median=median, p75=p75))
