from __future__ import annotations

from pathlib import Path

import pytest

from features import snapshot
from features.catalog import Catalog
from features.errors import FeatureError
from features.settings import Attribute, Workspace, parse_instant
from features.views import describe, feature_map, views
from tests.worlds import Rows, make_workspace

AS_OF = parse_instant("2024-06-03")
OWN = """
from features.feature import view, where, windowed
VIEWS = (view("customer_own", "customer", "cases", windowed("waiting", "count", (None,), meaning="cases waiting {window}"),
              only=where("closed_at is null")),)
"""


def world(**more: Rows) -> dict[str, Rows]:
    cases: Rows = [
        {"case_id": "later", "customer_id": "c", "occurred_at": "2024-05-01", "closed_at": "2024-06-08"},
        {"case_id": "before", "customer_id": "c", "occurred_at": "2024-05-01", "closed_at": "2024-05-08"},
    ]
    return {"customers": [{"customer_id": "c", "created_at": "2024-01-01"}], "cases": cases, **more}


def with_own(root: Path, text: str) -> Workspace:
    (root / "features").mkdir()
    (root / "features" / "own.py").write_text(text)
    return make_workspace(root, world())


def value(workspace: Workspace, name: str) -> object:
    snapshot.build(workspace, [AS_OF])
    return snapshot.read(workspace, "customer", [AS_OF], [name])[name].tolist()[0]


def test_an_own_view_is_computed_and_its_condition_does_not_see_the_future(tmp_path: Path) -> None:
    workspace = with_own(tmp_path, OWN)
    assert value(workspace, "waiting_count") == 1.0, "closed after the as_of means still open at it"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("VIEWS = ('x',)", "'x' in `VIEWS`"),
        ("views = ()", "VIEWS"),
        ("import nowhere", "nowhere"),
        (OWN.replace('"customer", "cases"', '"custmer", "cases"'), "custmer"),
        (OWN.replace('"count", (None,)', '"count", (None,), only=("topik = 1",)'), "topik"),
        (OWN.replace('"count", (None,)', '"max", (None,), column="topic"'), "holds text"),
        (OWN.replace('"cases"', '"customers"').replace("closed_at", "created_at"), "declared attributes"),
        (OWN.replace('"waiting"', '"cases"').replace("(None,)", "(30,)"), "more than once: customer.cases_count_30d"),
    ],
)
def test_a_wrong_own_declaration_is_told_with_its_file(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(FeatureError, match=told):
        workspace = with_own(tmp_path, text)
        views(workspace, Catalog.load(workspace))


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [("number", "4.5", 4.5), ("number", "n/a", None), ("flag", "Yes", 1.0), ("flag", "false", 0.0), ("category", "gold", "gold")],
)
def test_an_attribute_with_a_history_is_read_by_its_type(tmp_path: Path, kind: str, text: str, expected: object) -> None:
    history: Rows = [
        {"entity": "customer", "entity_id": "c", "field": "size", "value": text, "valid_from": "2024-05-01"},
        {"entity": "customer", "entity_id": "c", "field": "size", "value": "7", "valid_from": "2024-06-03"},
    ]
    declared = {"customers": {"size": Attribute(type=kind)}}
    workspace = make_workspace(tmp_path, world(attribute_history=history), attributes=declared)
    found = value(workspace, "customer_size")
    assert found == expected or (expected is None and found != found)


def test_a_time_that_may_change_is_refused(tmp_path: Path) -> None:
    declared = {"customers": {"visited": Attribute(type="timestamp")}}
    workspace = make_workspace(tmp_path, world(attribute_history=[]), attributes=declared)
    with pytest.raises(FeatureError, match="fixed = true"):
        views(workspace, Catalog.load(workspace))


def test_a_view_without_its_table_vanishes(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, world())
    names = {view.name for view in views(workspace, Catalog.load(workspace))}
    assert names == {"customer_profile", "customer_cases"}


def test_a_feature_is_described_with_its_sql_and_a_near_miss_is_named(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, world())
    catalog = Catalog.load(workspace)
    [facts] = describe(workspace, catalog, "cases_count_30d")
    assert facts["bounds"] == "[as_of - 30d, as_of)" and "interval 30 day" in facts["sql"] and facts["table"] == "cases"
    with pytest.raises(FeatureError, match="cases_count_30d"):
        describe(workspace, catalog, "case_count_30d")


def test_every_declared_feature_has_words() -> None:
    from features.views import DECLARED

    for view in DECLARED:
        for feature in view.columns:
            assert feature.meaning, feature.name
            assert feature.dtype == "category" or (feature.unit or feature.kind == "holds"), feature.name
            assert feature.dtype == "category" or (feature.high and feature.low), feature.name


def test_a_full_workspace_has_about_sixty_features_an_entity() -> None:
    from features.views import DECLARED

    for entity in ("lead", "customer"):
        assert len(feature_map(DECLARED, entity)) >= 55
