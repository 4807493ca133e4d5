"""A population whose features are of every kind, and a real model of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd

from benchmarks.fitted import column
from features.monitoring import MonitorSettings
from features.propensity import Propensity
from serving.monitor.drift import reference
from serving.monitor.drift.drift import Drift, judged
from serving.monitor.drift.judgement import Judge
from serving.monitor.drift.look import Look, look
from serving.monitor.drift.reference import Reference
from tests.serving.shop import fit
from training.contract import Column, Typical
from training.registry import Registered

FIRST = datetime(2016, 1, 4, tzinfo=UTC)
DATES = tuple(FIRST + timedelta(days=28 * number) for number in range(20))
TODAY = DATES[-1] + timedelta(days=119)
CATEGORIES = np.array(["basic", "plus", "max", "rare", None], dtype=object)


def people(rows: int, seed: int, at: datetime = TODAY) -> pd.DataFrame:
    """So many at an instant: `usage` says most about them, `visits` are mostly none, three grow, `winter` swings in December."""
    random, days = np.random.default_rng(seed), (at - FIRST).days
    winter = 6.0 if at.month == 12 else 1.0
    return pd.DataFrame(
        {
            "usage": random.normal(0, 1, rows),
            "hours": random.lognormal(1, 0.8, rows),
            "visits": np.where(random.random(rows) < 0.7, 0.0, random.poisson(3, rows)),
            "nps": np.where(random.random(rows) < 0.1, np.nan, random.integers(0, 11, rows)),
            "plan": random.choice(CATEGORIES, rows, p=[0.5, 0.3, 0.1, 0.02, 0.08]),
            "tenure": 30.0 + days + random.uniform(0, 900, rows),
            "known_for": random.uniform(0, 200 + days, rows),
            "lifetime_orders": random.poisson((200 + days) / 60, rows).astype(float),
            "winter": random.poisson(winter, rows).astype(float),
            "constant": np.full(rows, 3.0),
            "nothing": np.full(rows, np.nan),
        }
    )


def learned(seed: int = 1) -> Registered:
    """A version whose model goes by `usage`, a little by `visits` and `plan`, and hardly by anything else."""
    frame = people(4000, seed, DATES[10])
    drive = 1.5 * frame["usage"] + 0.2 * frame["visits"] + np.where(frame["plan"] == "plus", 0.6, 0.0) - 2
    labels = (np.random.default_rng(seed).random(len(frame)) < 1 / (1 + np.exp(-drive))).astype(np.int8)
    question = {
        "name": "churn", "question": "Will this customer cancel?", "entity": "customer", "horizon": "90d",
        "outcome": {"table": "subscriptions", "at": "ended_at"},
    }  # fmt: skip
    contract = Propensity.model_validate(question).model_dump(mode="json")
    return Registered("1", fit(contract, [_column(frame[name]) for name in frame], frame, labels))


def known(registered: Registered, rows: int, seed: int = 100, dates: tuple[datetime, ...] = DATES) -> Reference:
    """The reference of a version: so many rows at each date, and on the six days after the newest."""
    further = [dates[-1] + timedelta(days=number) for number in range(1, 7)]
    matrices = {at: registered.model.matrix(people(rows, seed + number, at)) for number, at in enumerate([*dates, *further])}
    return reference.of(registered, {at: matrices[at] for at in dates}, {at: matrices[at] for at in further})


def judge(reference: Reference, **settings: float) -> Judge:
    return Judge(reference, MonitorSettings.model_validate(settings), 4000)


def see(
    registered: Registered, reference: Reference, frame: pd.DataFrame, at: datetime = TODAY, before: tuple[Look, ...] = (),
    by: Judge | None = None,
) -> Drift:  # fmt: skip
    """The judgement of these rows, by this judge, who may have judged others before."""
    today, probability = look(registered.model, reference, at, frame)
    return judged(registered, reference, frame, today, probability, by or judge(reference), lambda: before)


def _column(values: pd.Series) -> Column:
    if values.isna().all():
        return Column(name=str(values.name), dtype="number", typical=Typical(missing=1.0))
    found = column(values)
    return found.model_copy(update={"categories": ("basic", "max", "plus")}) if found.dtype == "category" else found
