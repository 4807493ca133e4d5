"""New tables are without the forgotten; whoever only refers to them stays, and refers to nobody."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from features.catalog import Catalog
from features.database import connect
from features.errors import WorkspaceError
from features.forgetting import tables
from features.forgetting.forgotten import Forgotten, folder
from features.forgetting.person import Person, is_telling, linked
from features.settings import Workspace
from tests.worlds import make_workspace

AT = datetime(2024, 1, 1)
WORLD = {
    "customers": [{"customer_id": one, "created_at": AT} for one in ("C1", "C10", "C2")],
    "leads": [{"lead_id": f"L{n}", "created_at": AT, "customer_id": of} for n, of in enumerate(("C1", "C10", None))],
    "vehicles": [{"vehicle_id": f"V{n}", "customer_id": of, "created_at": AT} for n, of in enumerate(("C1", "C10"))],
    "service_visits": [
        {"service_visit_id": f"S{n}", "customer_id": of, "vehicle_id": vehicle, "occurred_at": AT}
        for n, (of, vehicle) in enumerate((("C1", "V0"), ("C2", "V0"), ("C10", "V1")))
    ],
    "attribute_history": [
        {"entity": entity, "entity_id": "C1", "field": "f", "value": "v", "valid_from": AT} for entity in ("customer", "lead")
    ],
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, WORLD)


def rows(workspace: Workspace, table: str) -> list[tuple[object, ...]]:
    with connect(workspace) as connection:
        path = Catalog.load(workspace).path(workspace, table)
        return sorted(connection.execute(f"select * exclude (known_at, known_until) from '{path}'").fetchall(), key=str)


def test_a_customer_goes_with_their_vehicles_and_nobody_whose_id_begins_so(workspace: Workspace) -> None:
    places = tables.forget(workspace, Person.of([("customer", "C1")]), remove=True)
    assert {place.where.rpartition("/")[2]: place.rows for place in places} == {
        "customers.parquet": 1, "leads.parquet": 1, "vehicles.parquet": 1, "service_visits.parquet": 2,
        "attribute_history.parquet": 1,
    }  # fmt: skip
    assert [row[0] for row in rows(workspace, "customers")] == ["C10", "C2"]
    assert [(row[0], row[2]) for row in rows(workspace, "leads")] == [("L0", None), ("L1", "C10"), ("L2", None)]
    assert [row[:3] for row in rows(workspace, "service_visits")] == [("S1", "C2", None), ("S2", "C10", "V1")]
    assert [row[0] for row in rows(workspace, "attribute_history")] == ["lead"]
    assert tables.forget(workspace, Person.of([("customer", "C1")]), remove=False) == []
    assert not (workspace.tables / "world").exists()


def test_counting_changes_nothing_and_nobody_is_nowhere(workspace: Workspace) -> None:
    before = Catalog.load(workspace).version
    assert tables.forget(workspace, Person.of([("lead", "L0")]), remove=False)
    assert tables.forget(workspace, Person.of([("lead", "C1"), ("customer", "c1")]), remove=False)[0].rows == 1
    assert Catalog.load(workspace).version == before and len(rows(workspace, "leads")) == 3


def test_a_lead_and_its_customer_are_linked_and_others_are_not(workspace: Workspace) -> None:
    assert linked(workspace, Person.of([("lead", "L0")])) == Person.of([("lead", "L0"), ("customer", "C1")])
    assert linked(workspace, Person.of([("lead", "L2")])) == Person.of([("lead", "L2")])


def test_the_list_has_no_id_in_clear_is_known_to_who_holds_it_and_is_missed_when_damaged(workspace: Workspace) -> None:
    told = Forgotten(workspace)
    assert not len(told) and not told.holds("lead", "L0")
    Forgotten(workspace).add(Person.of([("lead", "L0")]))
    Forgotten(workspace).add(Person.of([("customer", "ü 1")]))
    assert told.holds("lead", "L0") and told.holds("customer", "ü 1") and len(told) == 2
    assert not told.holds("customer", "L0") and told.among("lead", ["L0", "L00", None]) == {"L0"}
    path = folder(workspace) / "forgotten.json"
    assert "L0" not in path.read_text(encoding="utf-8") and path.stat().st_mode & 0o077 == 0
    path.write_text("{", encoding="utf-8")
    with pytest.raises(WorkspaceError, match="cut off"):
        Forgotten(workspace).holds("lead", "L0")


@pytest.mark.parametrize(
    ("entity_id", "tells"), [("42", False), ("C100", False), ("C1000", True), ("1234567", False), ("12345678", True)]
)
def test_short_ids_are_told_from_chance(entity_id: str, tells: bool) -> None:
    assert is_telling(entity_id) is tells
