from __future__ import annotations

import re

import numpy as np
import pandas as pd

from features.propensity import Value
from training import audit_plots
from training.decision import Listed, decide
from training.insight import Bin, Insight


def words(svg: str) -> str:
    return " ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg))


def test_the_profit_curve_names_every_policy_and_where_to_stop():
    random = np.random.default_rng(0)
    probability = random.beta(1, 4, 400)
    labels = (random.random(400) < probability).astype(np.int8)
    entities = pd.Series(np.arange(400))
    listed = Listed(probability, labels, np.full(400, 100.0), entities, pd.Series([0] * 400), 400, random.random(400))
    made = decide(listed, Value(amount=100, capacity_per_day=4), 25, seed=1)
    svg = audit_plots.profit(made)
    assert svg.startswith("<svg")
    for told in ("this model", "newest first", "at random", "stop at 25 %", "profit of one list"):
        assert told in words(svg)


def test_an_insight_names_its_values_and_cuts_long_ones():
    bins = tuple(Bin(name, 10, 0.2, 0.1, 0.4, 0.25, 0.3) for name in ("up to 3", "x" * 40, "missing"))
    told = words(audit_plots.insight(Insight("visits", 0.5, bins)))
    assert "up to 3" in told
    assert "missing" in told
    assert "x" * 25 + "…" in told
    assert "x" * 26 not in told
