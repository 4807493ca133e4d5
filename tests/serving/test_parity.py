"""Law 3: the same entity at the same instant through historical, online, batch and HTTP, equal to the bit."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import httpx
import pandas as pd
import pytest

from features import snapshot, store
from features.catalog import Catalog
from features.cohort import cohort
from features.settings import Workspace
from features.views import feature_map, views
from serving import batch
from serving.partition import PART, folder
from serving.scorer import Scorer, records
from tests.serving.shop import NOW
from training.registry import champion

pytestmark = pytest.mark.xdist_group("shop")


def bits(value: Any) -> Any:
    """A value in a form in which only equal bits are equal; missing numbers have one form."""
    if isinstance(value, float):
        return "missing" if value != value else value.hex()
    return "missing" if value is None else value


@pytest.mark.parametrize("name", ["churn", "lead-conversion"])
def test_features_are_equal_in_snapshots_history_and_online(shop: Workspace, name: str) -> None:
    entity = champion(shop, name).model.propensity.entity
    columns = list(feature_map(views(shop, Catalog.load(shop)), entity))
    snapped = snapshot.read(shop, entity, [NOW], columns)
    joined = store.historical(shop, entity, snapped[["entity_id", "as_of"]], columns)
    online = store.Online(shop).read(entity, snapped["entity_id"].tolist())
    assert len(snapped) > 250
    for one, two, three in zip(snapped.to_dict("records"), joined.to_dict("records"), online, strict=True):
        assert three is not None and three.as_of == NOW
        for column in columns:
            assert bits(one[column]) == bits(two[column]) == bits(three.values[column]), (one["entity_id"], column)


@pytest.mark.parametrize("name", ["churn", "lead-conversion"])
def test_scores_are_equal_in_batch_history_and_over_http(service: str, shop: Workspace, name: str) -> None:
    batch.run(shop, NOW, [name], lambda what, total: nullcontext(lambda units: None))
    stored = pd.read_parquet(folder(shop, name, NOW) / PART).to_dict("records")
    registered = champion(shop, name)
    question = registered.model.propensity
    scorer = Scorer(registered.model, registered.version, feature_map(views(shop, Catalog.load(shop)), question.entity))
    joined = store.historical(shop, question.entity, cohort(shop, question, [NOW]), scorer.columns)
    historical = scorer.score(records(joined), NOW)
    ids = [row["entity_id"] for row in stored]
    answer = httpx.post(f"{service}/v1/{name}", json={"ids": ids}, timeout=60).json()["scores"]
    assert len(stored) > 100
    for row, score, told in zip(stored, historical, answer, strict=True):
        assert row["entity_id"] == score.entity_id == told["entity_id"]
        for field in ("probability", "percentile", "score", "grade", "expected_value"):
            assert bits(row[field]) == bits(getattr(score, field)) == bits(told[field]), field
        for one, two, three in zip(row["reasons"], score.reasons, told["reasons"], strict=True):
            assert one["feature"] == two.feature == three["feature"]
            assert one["text"] == two.text == three["text"]
            assert one["contribution"].hex() == two.contribution.hex() == three["contribution"].hex()
