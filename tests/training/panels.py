"""Small datasets for the tests of learning: entities seen at several dates, with an outcome that their features half explain."""

from __future__ import annotations

import numpy as np
import pandas as pd

from training import dataset
from training.calibration import sigmoid
from training.dataset import Dataset

DTYPES = {"visits": "number", "age": "number", "plan": "category", "noise": "number"}


def panel(dates: int, entities: int = 300, *, days: int = 30, strength: float = 1.5, seed: int = 0) -> Dataset:
    """Every entity at every date; `visits` and `plan` explain the outcome, more with more strength, `noise` does not."""
    random = np.random.default_rng(seed)
    rows = dates * entities
    as_ofs = pd.date_range("2020-01-06", periods=dates, freq=f"{days}D", tz="UTC").astype("datetime64[us, UTC]")
    plan = random.choice(np.array(["basic", "plus", None], dtype=object), rows, p=[0.6, 0.3, 0.1])
    frame = pd.DataFrame(
        {
            "entity_id": [f"C{number}" for number in range(entities)] * dates,
            "as_of": np.repeat(as_ofs, entities),
            "visits": random.normal(0, 1, rows),
            "age": np.where(random.random(rows) < 0.1, np.nan, random.exponential(30, rows)),
            "plan": plan,
            "noise": random.normal(0, 1, rows),
        }
    )
    risk = sigmoid(strength * frame["visits"].to_numpy() + (plan == "plus") - 1.0)
    frame.insert(2, "label", (random.random(rows) < risk).astype(np.int8))
    return Dataset(frame, dict(DTYPES), (), {}, dataset.fingerprint(frame))
