"""Metrics count what became of everybody, by names whose number is bounded; nothing tells of a single entity."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from features.errors import RegistryError
from serving.desk import Desk
from serving.metrics import Metrics
from serving.score import Score

NOW = datetime(2018, 5, 15, tzinfo=UTC)


def score(points: int | None = 42, **more: Any) -> Score:
    fields: dict[str, Any] = {
        "entity_id": "C0815", "propensity": "churn", "eligible": True, "why": None, "policy": None, "score": points,
        "probability": None if points is None else points / 100, "percentile": None, "grade": None, "expected_value": None,
        "reasons": (), "missing": (), "unseen": (), "stale": (), "feature_as_of": NOW - timedelta(hours=5), "scored_at": NOW,
        "model_version": "3",
    }  # fmt: skip
    return Score(**{**fields, **more})


def read(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by its name and the values of its labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {(s.name, tuple(s.labels.values())): s.value for family in families for s in family.samples}


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (score(), "scored"),
        (score(None, why="not eligible", eligible=False), "ineligible"),
        (score(None, why="unknown", eligible=False, feature_as_of=None), "unknown"),
        (score(None, policy="holdout"), "holdout"),
        (score(None, policy="suppressed"), "suppressed"),
        (score(degraded=True), "degraded"),
        (score(None, policy="holdout", degraded=True), "degraded"),
    ],
)
def test_every_answer_has_one_outcome(made: Score, outcome: str) -> None:
    metrics = Metrics()
    metrics.answered("churn", [made], 6)
    found = {labels: value for (name, labels), value in read(metrics).items() if name == "foresell_answers_total"}
    assert found == {("churn", outcome): 1.0}


def test_missing_and_unseen_are_counted_beside_all_features_of_new_scores() -> None:
    metrics = Metrics()
    metrics.answered("churn", [score(missing=("a", "b")), score(unseen=("c",)), score(None), score(degraded=True)], 6)
    found = read(metrics)
    of = {name: found[f"foresell_{name}_total", ("churn",)] for name in ("features", "missing_features", "unseen_features")}
    assert of == {"features": 12.0, "missing_features": 2.0, "unseen_features": 1.0}


@pytest.mark.parametrize(
    ("points", "bin_"), [(1, "1-10"), (10, "1-10"), (11, "11-20"), (90, "81-90"), (91, "91-100"), (100, "91-100")]
)
def test_scores_fall_into_ten_bins(points: int, bin_: str) -> None:
    metrics = Metrics()
    metrics.answered("churn", [score(points)], 6)
    assert read(metrics)["foresell_scores_total", ("churn", bin_)] == 1.0


def test_the_age_of_the_features_is_counted_once_a_request() -> None:
    metrics = Metrics()
    metrics.answered("churn", [score(), score()], 6)
    metrics.answered("churn", [score(feature_as_of=None)], 6)
    found = read(metrics)
    assert found["foresell_feature_age_hours_count", ("churn",)] == 1.0
    assert found["foresell_feature_age_hours_sum", ("churn",)] == 5.0
    assert found["foresell_feature_age_hours_bucket", ("churn", "1.0")] == 0.0


def test_nobody_asked_about_counts_nothing() -> None:
    metrics = Metrics()
    metrics.answered("churn", [], 6)
    assert not any(labels[:1] == ("churn",) for _, labels in read(metrics))


def seated(champion: str, challenger: str | None = None) -> Any:
    return Desk(SimpleNamespace(version=champion), SimpleNamespace(version=challenger) if challenger else None)  # type: ignore[arg-type]


def test_a_version_that_no_longer_answers_is_zero() -> None:
    metrics = Metrics()
    closed = RegistryError("upsell", expected="a champion", received="none", repair="train")
    metrics.seated({"churn": seated("1", "2"), "upsell": closed})
    metrics.seated({"churn": seated("2"), "upsell": closed})
    found = {labels: value for (name, labels), value in read(metrics).items() if name == "foresell_model"}
    assert found == {("churn", "1", "champion"): 0.0, ("churn", "2", "challenger"): 0.0, ("churn", "2", "champion"): 1.0}


def test_no_label_tells_of_an_entity() -> None:
    metrics = Metrics()
    metrics.answered("churn", [score(), score(None, why="C0815 is unknown")], 6)
    metrics.timed({"fetch": 0.001, "predict": 0.002})
    assert b"C0815" not in metrics.text()
    assert read(metrics)["foresell_stage_seconds_count", ("fetch",)] == 1.0
