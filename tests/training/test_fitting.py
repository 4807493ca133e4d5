from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from features.propensity import Propensity
from training import dataset
from training.dataset import Dataset
from training.fitting import fit, models
from training.split import split

QUESTION = Propensity.model_validate(
    {"name": "churn", "question": "?", "entity": "customer", "horizon": "30d", "outcome": {"absent": "orders"}}
)


def data(dates: int, entities: int = 300) -> Dataset:
    random = np.random.default_rng(0)
    as_ofs = pd.date_range("2020-01-06", periods=dates, freq="30D", tz="UTC").astype("datetime64[us, UTC]")
    frame = pd.DataFrame({"entity_id": [f"C{n}" for n in range(entities)] * dates, "as_of": np.repeat(as_ofs, entities)})
    frame["visits"] = random.normal(0, 1, len(frame))
    frame["label"] = (frame["visits"] + random.normal(0, 1, len(frame)) > 0.5).astype(np.int8)
    return Dataset(frame, {"visits": "number"}, (), {}, dataset.fingerprint(frame))


@pytest.mark.parametrize("dates", [1, 4])
def test_the_progress_bar_is_told_of_exactly_the_models_that_are_fitted(dates):
    made = data(dates)
    divided = split(made.frame, made.labels, timedelta(days=30))
    assert divided.by == ("entity" if dates == 1 else "time")
    ticks: list[int] = []
    fitted = fit(made, QUESTION, divided, ticks.append)
    assert sum(ticks) == models(divided)
    assert len(fitted.probability) == divided.test.sum()
