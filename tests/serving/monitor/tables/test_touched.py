"""An incident names the propensities whose champions read the table or the column, and no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from features import propensity
from features.catalog import Catalog
from features.settings import SETTINGS_FILE, Attribute, Workspace
from features.views import views
from serving.monitor.tables.incident import Incident
from serving.monitor.tables.incidents import incidents
from serving.monitor.tables.touched import touched, use_of, uses
from tests.serving.monitor.tables.quiet import NOW as LATER
from tests.serving.monitor.tables.quiet import before, changed, quiet, workspace_of
from tests.serving.shop import NOW
from tests.worlds import make_workspace, random_world
from training import registry

INCIDENT = Incident("stopped", "orders", "orders", "orders brings nothing.", "Ask.", None, {})


def column(table: str, name: str) -> Incident:
    return replace(INCIDENT, where=f"{table}.{name}", table=table, column=name)


def test_tables_and_columns_touch_the_champions_that_read_them(shop: Workspace) -> None:
    used = uses(shop, Catalog.load(shop))
    told = {
        "orders": touched(INCIDENT, used),
        "interactions": touched(replace(INCIDENT, where="interactions", table="interactions"), used),
        "surveys": touched(replace(INCIDENT, where="surveys", table="surveys"), used),
        "orders.amount": touched(column("orders", "amount"), used),
        "orders.category": touched(column("orders", "category"), used),
        "interactions.channel": touched(column("interactions", "channel"), used),
        "interactions.campaign": touched(column("interactions", "campaign"), used),
        "leads.budget": touched(column("leads", "budget"), used),
        "leads.converted_at": touched(column("leads", "converted_at"), used),
        "subscriptions.ended_at": touched(column("subscriptions", "ended_at"), used),
    }
    lead, churn = ("lead-conversion",), ("churn",)
    assert told == {
        "orders": churn, "interactions": lead, "surveys": (), "orders.amount": churn, "orders.category": (),
        "interactions.channel": lead, "interactions.campaign": (), "leads.budget": lead, "leads.converted_at": lead,
        "subscriptions.ended_at": churn,
    }  # fmt: skip


def test_a_value_that_stops_takes_rows_from_every_feature_of_the_table(shop: Workspace) -> None:
    incident = replace(INCIDENT, where="interactions.campaign=K1", table="interactions")
    assert touched(incident, uses(shop, Catalog.load(shop))) == ("lead-conversion",)


def test_an_attribute_touches_those_that_read_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, random_world(1), attributes={"customers": {"segment": Attribute(), "size": Attribute()}})
    fed = views(workspace, Catalog.load(workspace))
    use = use_of(propensity.load(workspace, "churn"), ["customer_segment"], fed)
    of = {
        name: replace(INCIDENT, where=f"attribute_history.customer.{name}", table="attribute_history")
        for name in ("segment", "size")
    }
    assert touched(of["segment"], [use]) == ("churn",) and touched(of["size"], [use]) == ()


def test_where_it_cannot_be_told_everything_touches(shop: Workspace) -> None:
    fed = views(shop, Catalog.load(shop))
    use = use_of(propensity.load(shop, "churn"), ["a_feature_of_yesterday"], fed)
    assert touched(replace(INCIDENT, where="surveys", table="surveys"), [use]) == ("churn",)


def test_features_of_a_table_that_is_gone_are_still_known(shop: Workspace) -> None:
    fed = [view for view in views(shop, Catalog.load(shop)) if view.table != "orders"]
    use = use_of(propensity.load(shop, "churn"), ["orders_count_90d"], fed)
    assert use.is_known and touched(INCIDENT, [use]) == ("churn",)


@pytest.mark.usefixtures("impatient")
def test_a_registry_that_is_away_makes_everything_touch(own: Workspace) -> None:
    (own.root / SETTINGS_FILE).write_text(
        'adapter = "canonical"\n[mlflow]\ntracking_uri = "http://127.0.0.1:9"\n', encoding="utf-8"
    )
    away = Workspace.open(own.root)
    assert {use.propensity for use in uses(away, Catalog.load(away)) if not use.is_known} == {
        "churn",
        "lead-conversion",
        "upsell",
    }


def test_what_touches_no_propensity_is_no_alarm() -> None:
    assert INCIDENT.finding(()).severity == "warning" and INCIDENT.finding(("churn",)).severity == "alarm"


def test_a_column_that_is_gone_is_an_alarm_of_whom_it_touches_until_it_is_back(own: Workspace) -> None:
    def schema(workspace: Workspace, nights: int) -> list[tuple[str, str, tuple[str, ...]]]:
        found = incidents(workspace, NOW + timedelta(days=nights))
        return [(one.where, one.severity, one.propensities) for one in found if one.kind == "schema"]

    whole = Catalog.load(own)
    assert schema(own, 0) == []
    orders = whole.tables["orders"]
    without = {name: kind for name, kind in orders.columns.items() if name not in ("amount", "discount")}
    cut = replace(whole, tables={**whole.tables, "orders": replace(orders, columns={**without, "new": "VARCHAR"})})
    cut.save(own)
    gone = [("orders.amount", "alarm", ("churn",)), ("orders.discount", "warning", ()), ("orders.new", "note", ())]
    assert schema(own, 1) == schema(own, 1) == schema(own, 2) == gone
    whole.save(own)
    assert [where for where, severity, _ in schema(own, 3) if severity != "note"] == ["orders.new"]


def test_a_type_that_changes_and_a_table_that_is_gone_are_named(own: Workspace) -> None:
    whole = Catalog.load(own)
    incidents(own, NOW)
    leads = whole.tables["leads"]
    tables = {**whole.tables, "leads": replace(leads, columns={**leads.columns, "budget": "VARCHAR"})}
    del tables["interactions"]
    replace(whole, tables=tables).save(own)
    found = {one.where: one for one in incidents(own, NOW + timedelta(days=1)) if one.kind == "schema"}
    assert {where: one.severity for where, one in found.items()} == {"leads.budget": "alarm", "interactions": "alarm"}
    assert found["interactions"].propensities == ("lead-conversion",)
    assert found["leads.budget"].sentence == "leads.budget is of type VARCHAR, and was of type DOUBLE."


def test_incidents_of_rows_name_the_champions_that_read_them(shop: Workspace, tmp_path: Path) -> None:
    world = {**quiet(), "leads": [{"lead_id": "L1", "created_at": before(200).replace(tzinfo=None)}]}
    world = changed(world, "orders", before(7), lambda row, chance: {**row, "amount": row["amount"] * 100})
    world = changed(world, "interactions", before(2), lambda row, chance: None if row["channel"] == "app" else row)
    world = changed(world, "subscriptions", before(28), lambda row, chance: {**row, "price": row["price"] / 24})
    attributes = {"leads": {"origin": Attribute(fixed=True), "budget": Attribute(type="number", fixed=True)}}
    settings = {"mlflow": {"tracking_uri": registry.store_uri(shop)}}
    workspace = workspace_of(tmp_path, world, attributes=attributes, settings=settings)
    assert [(one.kind, one.where, one.severity, one.propensities) for one in incidents(workspace, LATER)] == [
        ("stopped", "interactions.channel=app", "alarm", ("lead-conversion",)),
        ("scale", "orders.amount", "alarm", ("churn",)),
        ("scale", "subscriptions.price", "alarm", ("churn",)),
    ]
