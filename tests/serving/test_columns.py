"""The columnar scorer says what the scorer says of each row, to the bit, whatever the rows are."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ContractError
from features.feature import Feature
from features.record import Record
from features.settings import PolicySettings
from serving.columns import ColumnScorer, ColumnScores
from serving.policy import Policy
from serving.scorer import Scorer
from tests.serving.conftest import COLUMNS, QUESTION, Rows
from tests.serving.shop import fit
from tests.serving.tables import table
from training.model import Model

AS_OF = datetime(2018, 5, 15, tzinfo=UTC)
NOW = AS_OF + timedelta(hours=9, minutes=30)
POLICY = PolicySettings(holdout=0.2, suppress={"customer": ("nps_latest <= 1", "subscriptions_tier_latest = 'gold'")})
NUMBERS = ("logins_change_90d", "orders_count_90d", "logins_days_since_last", "nps_latest", "subscriptions_mrr_now",
           "subscriptions_active_count")  # fmt: skip
CATEGORY = "subscriptions_tier_latest"

edges = [0.0, -0.0, 1.0, 2.0, 30.0, math.nan, -0.6, 0.05, 12.5, 1e300, math.inf, -math.inf]
number = st.one_of(st.none(), st.sampled_from(edges), st.floats(-50, 50))
row = st.fixed_dictionaries(
    {name: number for name in NUMBERS} | {CATEGORY: st.sampled_from(["basic", "plus", "gold", "", "müßig", None])}
)


def batch_of(rows: Sequence[dict[str, Any]], as_ofs: Sequence[datetime]) -> pa.RecordBatch:
    columns = {name: pa.array([one[name] for one in rows], pa.float64()) for name in NUMBERS}
    columns[CATEGORY] = pa.array([one[CATEGORY] for one in rows], pa.string())
    ids = pa.array([f"c{i}" for i in range(len(rows))], pa.string())
    return pa.record_batch({"entity_id": ids, "as_of": pa.array(as_ofs, pa.timestamp("us", tz="UTC")), **columns})


def as_file(batch: pa.RecordBatch) -> bytes:
    file = io.BytesIO()
    with pq.ParquetWriter(file, batch.schema) as writer:
        writer.write_batch(batch)
    return file.getvalue()


def require_equal(scorer: Scorer, rows: Sequence[dict[str, Any]], as_ofs: Sequence[datetime]) -> ColumnScores:
    records = [Record(f"c{i}", as_of, one) for i, (one, as_of) in enumerate(zip(rows, as_ofs, strict=True))]
    expected = scorer.scored(records, NOW)
    found = ColumnScorer(scorer).scored(batch_of(rows, as_ofs), NOW)
    found.scores.validate(full=True)
    assert found.scores.to_pylist() == table(expected.scores).to_pylist()
    assert as_file(found.scores) == as_file(table(expected.scores))
    assert [i for i, one in enumerate(expected.foreseen) if one is not None] == found.rows.tolist()
    if len(found.rows):
        assert found.matrix.tobytes() == expected.matrix.tobytes()
        assert found.contributions.tobytes() == expected.contributions.tobytes()
    return found


@pytest.fixture(scope="module", params=["open", "policy", "no value", "amount", "explored", "nothing"])
def scorer(request: pytest.FixtureRequest, model: Model, declarations: dict[str, Feature]) -> Scorer:
    if request.param in ("no value", "amount"):
        value = {"amount": 3.5} if request.param == "amount" else None
        question = {**model.contract.propensity, "value": value, "eligible": ()}
        model = Model(model.contract.model_copy(update={"propensity": question}), model.predictor)
    if request.param == "nothing":
        return Scorer(model, "4", {}, Policy(PolicySettings(suppress={"customer": ("nps_latest is null", "nps_latest >= -1e9")}),
                                             "customer"))  # fmt: skip
    chosen = {"policy": POLICY, "explored": POLICY.model_copy(update={"exploration": 0.3})}
    policy = Policy(chosen.get(request.param, PolicySettings()), "customer")
    return Scorer(model, "3", declarations, policy, timedelta(hours=12))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(row, max_size=40), late=st.integers(0, 4))
def test_random_rows_are_equal_to_the_byte(scorer: Scorer, rows: Rows, late: int) -> None:
    require_equal(scorer, rows, [AS_OF - timedelta(hours=i % 5 * late) for i in range(len(rows))])


def test_a_thousand_customers_are_equal_to_the_byte(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    found = require_equal(scorer, rows_of(1_000, seed=9), [AS_OF] * 1_000)
    assert len(found.rows) > 0 or scorer.version == "4"
    explored = found.scores["explore"].to_numpy(zero_copy_only=False)
    assert explored.any() == scorer.policy.explores and not explored[found.scores["score"].is_null()].any()


def test_twins_speak_once(declarations: dict[str, Feature], rows_of: Callable[..., Rows]) -> None:
    """Windows of one measure: the one that moved most is spoken about, the first of equal ones."""
    days = {"logins_change_90d": 30, "logins_days_since_last": 90, "nps_latest": 365}
    names = {name: f"orders_count_{length}d" for name, length in days.items()}
    kept = [one for one in COLUMNS if one.name != "orders_count_90d"]
    columns = [one.model_copy(update={"name": names.get(one.name, one.name)}) for one in kept]
    random = np.random.default_rng(2)
    frame = pd.DataFrame({one.name: random.poisson(2, 3_000).astype(float) for one in columns if one.dtype == "number"})
    frame[CATEGORY] = random.choice(["basic", "plus"], 3_000)
    drive = frame["orders_count_30d"] - frame["orders_count_90d"] + 0.5 * frame["orders_count_365d"]
    question = {**QUESTION, "name": "churn", "eligible": [], "value": None, "reasons": {}}
    model = fit(question, columns, frame, (drive + random.normal(size=3_000) > 1).astype(np.int8))
    counts = {names[name]: Feature(names[name], "count", column="orders", days=length) for name, length in days.items()}
    scorer = Scorer(model, "1", {**declarations, **counts})
    rows: list[dict[str, Any]] = frame.head(200).to_dict("records")
    expected = scorer.scored([Record(f"c{i}", AS_OF, one) for i, one in enumerate(rows)], NOW)
    known = {"entity_id": [f"c{i}" for i in range(200)], "as_of": [AS_OF] * 200}
    batch = pa.RecordBatch.from_pydict({**known, **{name: frame[name].head(200) for name in frame}})
    found = ColumnScorer(scorer).scored(batch, NOW)
    assert found.scores.to_pylist() == table(expected.scores).to_pylist()
    assert any(len(reason.features) == 3 for score in expected.scores for reason in score.reasons)


def test_without_reasons_everything_else_is_the_same(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    batch = batch_of(rows_of(1_500, seed=3), [AS_OF] * 1_500)
    told, bare = ColumnScorer(scorer).scored(batch, NOW), ColumnScorer(scorer, reasons=False).scored(batch, NOW)
    names = [name for name in told.scores.schema.names if name != "reasons"]
    assert bare.scores.select(names).equals(told.scores.select(names)) and len(bare.contributions) == 0
    assert not any(bare.scores["reasons"].to_pylist())


def test_dictionaries_integers_and_columns_of_nulls_are_read(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    rows = [{**one, "orders_count_90d": float(i), "nps_latest": None} for i, one in enumerate(rows_of(50))]
    plain = batch_of(rows, [AS_OF] * 50)
    other = plain.set_column(plain.schema.get_field_index(CATEGORY), CATEGORY, plain[CATEGORY].dictionary_encode())
    other = other.set_column(3, "orders_count_90d", plain["orders_count_90d"].cast(pa.int64()))
    other = other.set_column(plain.schema.get_field_index("nps_latest"), "nps_latest", pa.nulls(50))
    scored = ColumnScorer(scorer)
    assert scored.scored(other, NOW).scores.equals(scored.scored(plain, NOW).scores)


def test_a_column_that_is_missing_or_text_is_named(scorer: Scorer, rows_of: Callable[..., Rows]) -> None:
    batch = batch_of([{**one, "subscriptions_active_count": 1.0} for one in rows_of(3)], [AS_OF] * 3)
    place = batch.schema.get_field_index("subscriptions_mrr_now")
    with pytest.raises(ContractError, match="subscriptions_mrr_now"):
        ColumnScorer(scorer).scored(batch.remove_column(place), NOW)
    if scorer.version == "3":
        with pytest.raises(ContractError, match="subscriptions_mrr_now"):
            ColumnScorer(scorer).scored(batch.set_column(place, "subscriptions_mrr_now", pa.array(["much"] * 3)), NOW)
