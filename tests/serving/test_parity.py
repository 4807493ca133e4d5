"""Law 3: the same entity at the same instant through historical, online, batch and HTTP, equal to the bit."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from typing import Any

import httpx
import pandas as pd
import pytest

from benchmarks.servers import redis
from features import snapshot, store
from features.catalog import Catalog
from features.cohort import cohort
from features.settings import Workspace
from features.views import feature_map, views
from serving import batch
from serving.answer import written
from serving.partition import PART, folder
from serving.scorer import Scorer, records
from tests.serving.running import copied, running
from tests.serving.shop import NOW, open_shop
from training.registry import champion


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
def test_scores_are_equal_in_batch_history_and_over_http(service: str, shop: Workspace, own: Workspace, name: str) -> None:
    stored = list(_batched(own, name).values())
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


ODD = ("", "-ü", "/../é ", "🚗", "%2F", "'; --", "\u202e", "日本", '"', "\\u0041")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A shop with more than a thousand of each, of all kinds of ids."""
    return open_shop(tmp_path_factory.mktemp("large"), customers=1_300, leads=1_200, suffixes=ODD)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def served(
    request: pytest.FixtureRequest, large: Workspace, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Workspace, str]]:
    """Its service over one of the stores: the workspace and the address."""
    place = tmp_path_factory.mktemp(request.param)
    with ExitStack() as opened:
        online = opened.enter_context(redis(place)).address if request.param == "redis" else "sqlite"
        workspace = copied(large, place / "workspace", online=online)
        yield workspace, opened.enter_context(running(workspace, place / "log")).address


@pytest.mark.slow
@pytest.mark.parametrize("name", ["churn", "lead-conversion"])
def test_a_thousand_random_entities_are_equal_on_every_road(served: tuple[Workspace, str], large: Workspace, name: str) -> None:
    workspace, address = served
    registered = champion(workspace, name)
    question = registered.model.propensity
    scorer = Scorer(registered.model, registered.version, feature_map(views(workspace, Catalog.load(workspace)), question.entity))
    everybody = snapshot.read(workspace, question.entity, [NOW], scorer.columns)
    ids = random.Random(11).sample(everybody["entity_id"].tolist(), 1_000)
    joined = store.historical(workspace, question.entity, pd.DataFrame({"entity_id": ids, "as_of": NOW}), scorer.columns)
    historical = {score.entity_id: score for score in scorer.score(records(joined), NOW)}
    online = store.Online(workspace).read(question.entity, ids)
    told = httpx.post(f"{address}/v1/{name}", json={"ids": ids}, timeout=60).json()["scores"]
    alone = [httpx.post(f"{address}/v1/{name}", json={"ids": [one]}, timeout=60).json()["scores"][0] for one in ids[:50]]
    batched = _batched(workspace, name)
    assert len(batched.keys() & set(ids)) > 300
    values = {row["entity_id"]: row for row in joined.to_dict("records")}
    for entity_id, one, answer in zip(ids, online, told, strict=True):
        score, known = historical[entity_id], [bits(values[entity_id][column]) for column in scorer.columns]
        assert one is not None and answer["entity_id"] == entity_id
        assert [bits(one.values[column]) for column in scorer.columns] == known
        assert _said(answer) == _said(json.loads(written(score)))
        assert score.eligible == (entity_id in batched)
        if score.eligible:
            row = batched[entity_id]
            assert all(bits(row[field]) == bits(answer[field]) for field in NUMBERS), entity_id
            assert [one["contribution"].hex() for one in row["reasons"]] == _contributions(answer)
    assert [_said(one) for one in alone] == [_said(one) for one in told[:50]]


NUMBERS = ("probability", "percentile", "score", "grade", "expected_value")


def _batched(workspace: Workspace, name: str) -> dict[str, dict[str, Any]]:
    batch.run(workspace, NOW, [name], lambda what, total: nullcontext(lambda units: None))
    rows = pd.read_parquet(folder(workspace, name, NOW) / PART).to_dict("records")
    return {row["entity_id"]: row for row in rows}


def _said(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what depends on when it was asked for; its numbers to the bit."""
    timeless = {
        key: bits(value) for key, value in answer.items() if key not in ("scored_at", "stale", "trend", "change", "reasons")
    }
    return {**timeless, "reasons": [{key: bits(value) for key, value in one.items()} for one in answer["reasons"]]}


def _contributions(answer: dict[str, Any]) -> list[str]:
    return [one["contribution"].hex() for one in answer["reasons"]]
