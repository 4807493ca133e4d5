"""Law 2: every declared feature equals the oracle's value, on random small worlds whose times fall on the edges."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from features import snapshot
from features.catalog import Catalog
from features.feature import KINDS
from features.settings import Attribute
from features.views import DECLARED, views
from tests.features import oracle
from tests.worlds import INSTANT, make_workspace, random_world

ATTRIBUTES = {"customers": {"segment": Attribute(), "size": Attribute(type="category")}, "leads": {"segment": Attribute()}}
AS_OFS = [INSTANT - pd.Timedelta(days=28), INSTANT, INSTANT + pd.Timedelta(microseconds=1)]


@pytest.mark.parametrize("seed", range(12))
def test_every_feature_equals_the_oracle(tmp_path: Path, seed: int) -> None:
    world = random_world(seed)
    workspace = make_workspace(tmp_path, world, attributes=ATTRIBUTES)
    present = views(workspace, Catalog.load(workspace))
    instants = [as_of.tz_localize("UTC").to_pydatetime() for as_of in AS_OFS]
    snapshot.build(workspace, instants)
    for entity in ("lead", "customer"):
        columns = [feature.name for view in present if view.entity == entity for feature in view.columns]
        frame = snapshot.read(workspace, entity, instants, columns)
        rows = {(row["entity_id"], row["as_of"].tz_localize(None)): row for row in frame.to_dict("records")}
        assert list(rows) == [(i, as_of) for as_of in AS_OFS for i in oracle.entities(world, entity, as_of)]
        for view in present:
            for feature in view.columns if view.entity == entity else ():
                for (entity_id, as_of), row in rows.items():
                    expected = oracle.value(world, view, feature, entity_id, as_of)
                    received = None if pd.isna(row[feature.name]) else row[feature.name]
                    assert received == expected, (seed, entity, feature.name, entity_id, as_of)


def test_the_worlds_exercise_every_kind_and_every_declaration_is_computed() -> None:
    """A guard for the test above: it compares each shipped feature, and each kind, with something other than missing or 0."""
    seen: dict[str, int] = {}
    for seed in range(30):
        world = random_world(seed)
        for view in DECLARED:
            for feature in view.columns:
                for entity_id in oracle.entities(world, view.entity, INSTANT):
                    found = oracle.value(world, view, feature, entity_id, INSTANT)
                    seen[feature.name] = seen.get(feature.name, 0) + (found not in (None, 0.0))
    assert [name for name, count in seen.items() if count == 0] == []
    kinds = {feature.kind for view in DECLARED for feature in view.features}
    assert kinds | {"attribute", "min", "external"} == set(KINDS)


def test_a_column_that_is_filled_later_and_was_not_delivered_reads_as_empty(tmp_path: Path) -> None:
    """An export without `lost_at` has open leads all the same; a feature that measures the absent column vanishes."""
    world = {"leads": [{"lead_id": "a", "created_at": "2024-05-01", "converted_at": "2024-06-04"}], "campaign_members": []}
    workspace = make_workspace(tmp_path, world, without={"leads": {"lost_at"}, "campaign_members": {"responded_at"}})
    names = [feature.name for view in views(workspace, Catalog.load(workspace)) for feature in view.columns]
    assert "lead_is_open" in names and "campaigns_responded_count" not in names
    as_of = INSTANT.tz_localize("UTC").to_pydatetime()
    snapshot.build(workspace, [as_of])
    assert snapshot.read(workspace, "lead", [as_of], ["lead_is_open"])["lead_is_open"].tolist() == [1.0]
