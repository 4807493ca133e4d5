"""A lead that nobody has seen is scored as a snapshot would have it at the instant it was created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest

from features import snapshot
from features.catalog import Catalog
from features.compile import view_sql
from features.condition import Condition
from features.database import connect
from features.feature import Feature, View, where
from features.lead import CAMPAIGNS, ENGAGEMENT, PROFILE
from features.settings import Attribute, Workspace
from features.views import views
from serving.newcomer import Given, attributes, newcomer, overridden, said
from tests.worlds import make_workspace

NOW = datetime(2018, 5, 15, 14, 30, tzinfo=UTC)  # a Tuesday
FIXED = (
    Feature("lead_origin", "attribute", "origin", dtype="category", meaning="origin"),
    Feature("lead_budget", "attribute", "budget"),
    Feature("lead_wanted_days", "age", "wanted", unit="days"),
)
STATUS = Feature("lead_status", "latest", "value", (Condition.parse("field = 'status'"),), dtype="category")
VIEWS: tuple[View, ...] = (
    replace(PROFILE, features=(*PROFILE.features, *FIXED)),
    ENGAGEMENT,
    CAMPAIGNS,
    View("lead_attributes", "lead", "attribute_history", (STATUS,)),
    View("lead_web", "lead", "web", (Feature("web_pages", "external"),), external=True),
)


def test_everything_is_as_if_the_lead_had_just_come_in() -> None:
    values = newcomer(VIEWS, "lead", {}, NOW)
    assert values["lead_age_days"] == 0.0 and values["lead_is_open"] == 1.0 and values["lead_is_customer"] == 0.0
    assert values["lead_created_weekday"] == 2.0 and values["lead_created_hour"] == 14.0
    assert values["interactions_count_30d"] == 0.0 and values["channels_distinct_90d"] == 0.0
    assert values["interactions_days_since_last"] is None and values["channel_latest"] is None
    assert values["web_visits_change_30d"] is None and values["emails_opened_ratio_90d"] is None
    assert values["lead_origin"] is None and values["web_pages"] is None


def test_every_feature_has_a_value_or_is_missing_and_none_is_hidden() -> None:
    names = [feature.name for view in VIEWS for feature in view.columns]
    assert sorted(newcomer(VIEWS, "lead", {}, NOW)) == sorted(names)


@pytest.mark.parametrize("names", [("lead_origin", "lead_budget", "lead_status"), ("origin", "budget", "status")])
def test_attributes_go_by_the_features_name_or_the_columns(names: tuple[str, str, str]) -> None:
    values = newcomer(VIEWS, "lead", dict(zip(names, ("web", 12_000.0, "warm"), strict=True)), NOW)
    assert (values["lead_origin"], values["lead_budget"], values["lead_status"]) == ("web", 12_000.0, "warm")


def test_a_time_is_given_as_a_time_and_becomes_days() -> None:
    assert newcomer(VIEWS, "lead", {"wanted": NOW - timedelta(days=2)}, NOW)["lead_wanted_days"] == 2.0
    naive_is_utc = {"wanted": datetime(2018, 5, 14, 14, 30)}
    assert newcomer(VIEWS, "lead", naive_is_utc, NOW)["lead_wanted_days"] == 1.0


def test_what_is_given_goes_over_what_is_stored_and_null_means_not_known() -> None:
    stored = {"lead_origin": "web", "lead_budget": 5.0, "interactions_count_30d": 7.0}
    given = {"origin": None, "budget": True}
    assert overridden(stored, VIEWS, "lead", given, NOW) == {
        "lead_origin": None, "lead_budget": 1.0, "interactions_count_30d": 7.0,
    }  # fmt: skip


OWN = (
    Feature("lead_from_web", "holds", where=where("origin = 'web'", "budget >= 10000")),
    Feature("lead_wanted_weekday", "weekday", "wanted"),
    Feature("lead_wanted_hour", "hour", "wanted"),
)
OWN_VIEW = replace(PROFILE, features=(*PROFILE.features, *FIXED, *OWN))
WANTED = datetime(2018, 1, 1, 3, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=-7)))


def test_what_is_given_reaches_every_feature_of_the_row_of_a_stored_lead() -> None:
    stored = {"lead_origin": "web", "lead_budget": 5.0, "lead_from_web": 0.0, "lead_is_open": 1.0, "lead_created_hour": 4.0}
    values = overridden(stored, (OWN_VIEW,), "lead", {"budget": 10_000.0, "wanted": WANTED}, NOW)
    assert values["lead_from_web"] == 1.0 and values["lead_wanted_weekday"] == 1.0 and values["lead_wanted_hour"] == 10.0
    assert values["lead_is_open"] == 1.0 and values["lead_created_hour"] == 4.0  # what is given says nothing about these
    assert overridden(stored, (OWN_VIEW,), "lead", {"origin": "tv", "budget": 10_000.0}, NOW)["lead_from_web"] == 0.0


@pytest.mark.parametrize(
    "given",
    [
        {"origin": "web", "budget": 12_000.5, "wanted": WANTED},
        {"lead_origin": "web", "lead_budget": 9_999.0, "wanted": datetime(2014, 3, 3, 18, 43, 12, 221_258)},
        {"origin": "tv", "wanted": NOW + timedelta(days=1, microseconds=1)},
        {"budget": 10_000.0, "wanted": datetime(1971, 1, 1, 0, 0, 0, 1)},
        {},
    ],
)
def test_a_newcomers_features_are_those_of_the_compiled_sql_to_the_bit(tmp_path: Path, given: dict[str, Given]) -> None:
    as_of = NOW + timedelta(microseconds=1)  # the first instant at which a lead created now is seen
    row = {name.removeprefix("lead_"): value for name, value in given.items()}
    if isinstance(row.get("wanted"), datetime):
        row["wanted"] = pd.to_datetime(row["wanted"], utc=True).tz_localize(None)  # type: ignore[call-overload]
    types = {"origin": Attribute(fixed=True), "budget": Attribute(type="number", fixed=True),
             "wanted": Attribute(type="timestamp", fixed=True)}  # fmt: skip
    lead = {"lead_id": "a", "created_at": NOW.replace(tzinfo=None), **row}
    workspace = make_workspace(tmp_path, {"leads": [lead], "interactions": []}, attributes={"leads": types})
    present = (OWN_VIEW, *(view for view in views(workspace, Catalog.load(workspace)) if not view.is_profile))
    want = compiled(workspace, present, as_of)
    got = newcomer(present, "lead", given, as_of)
    assert len(want) > 50 and got.pop("lead_age_days") == 0.0 and want.pop("lead_age_days") == 1 / 86_400e6
    assert {name: bits(value) for name, value in got.items()} == {name: bits(value) for name, value in want.items()}


def compiled(workspace: Workspace, present: Sequence[View], as_of: datetime) -> dict[str, float | str | None]:
    """The features of the only lead there is, by the SQL of the views."""
    catalog, row = Catalog.load(workspace), {}
    relations = {name: f"read_parquet('{catalog.path(workspace, name)}')" for name in catalog.tables}
    with connect(workspace) as connection:
        for view in present:
            found = connection.execute(view_sql(view, relations, catalog.tables[view.table].columns, [as_of]))
            names = [column[0] for column in found.description]
            (values,) = found.fetchall()
            row.update(dict(zip(names[2:], values[2:], strict=True)))
    return row


def bits(value: float | str | None) -> str | None:
    return value.hex() if isinstance(value, float) else value


def test_counts_and_ages_cannot_be_given() -> None:
    names = [name for attribute in attributes(VIEWS, "lead") for name in attribute.names]
    assert names == ["lead_origin", "origin", "lead_budget", "budget", "wanted", "lead_status", "status"]


def test_another_entity_has_nothing_here() -> None:
    assert newcomer(VIEWS, "customer", {}, NOW) == {} and attributes(VIEWS, "customer") == ()


TYPES = {
    "region": Attribute(fixed=True),
    "employees": Attribute(type="number", fixed=True),
    "founded": Attribute(type="timestamp", fixed=True),
    "segment": Attribute(),
}
EMPTY = ("subscriptions", "orders", "interactions", "cases", "surveys", "loyalty_events", "campaign_members")


@pytest.mark.parametrize("entity", ["lead", "customer"])
@pytest.mark.parametrize(
    "given",
    [
        {"region": "north", "employees": 12.5, "founded": WANTED, "segment": "small"},
        {"region": None, "employees": 0.1, "founded": datetime(1999, 12, 31, 23, 59, 59, 999_999)},
        {"segment": "small"},
        {},
    ],
)
def test_a_newcomers_features_are_those_of_a_snapshot_in_which_it_exists(
    tmp_path: Path, entity: str, given: dict[str, Given]
) -> None:
    as_of, table, key = NOW + timedelta(microseconds=1), f"{entity}s", f"{entity}_id"
    created = NOW.replace(tzinfo=None)
    row = {name: value for name, value in given.items() if name != "segment"}
    if isinstance(row.get("founded"), datetime):
        row["founded"] = pd.to_datetime(row["founded"], utc=True).tz_localize(None)  # type: ignore[call-overload]
    history = [
        {"entity": entity, "entity_id": "a", "field": "segment", "value": given["segment"], "valid_from": created}
        for _ in range("segment" in given)
    ]
    tables = {table: [{key: "a", "created_at": created, **row}], "attribute_history": history, **{name: [] for name in EMPTY}}
    workspace = make_workspace(tmp_path, tables, attributes={table: TYPES})
    present = views(workspace, Catalog.load(workspace))
    snapshot.build(workspace, [as_of])
    got = newcomer(present, entity, given, as_of)
    (want,) = snapshot.read(workspace, entity, [as_of], list(got)).to_dict("records")
    age = {"lead": "lead_age_days", "customer": "customer_age_days"}[entity]
    changed = {name for name in got if name.startswith("attributes_changed")}  # of a history; a request tells no history
    assert got.pop(age) == 0.0 and want.pop(age) == 1 / 86_400e6 and len(got) > 30
    for name in set(got) - changed:
        assert bits(got[name]) == bits(None if want[name] != want[name] else want[name]), name
    assert {got[name] for name in changed} == {0.0}


def test_what_a_request_says_is_all_that_it_tells() -> None:
    assert said((OWN_VIEW,), "lead", {}, NOW) == {}
    assert said((OWN_VIEW,), "lead", {"budget": 1.0}, NOW) == {"lead_budget": 1.0}
    assert said((OWN_VIEW,), "lead", {"budget": 10_000.0, "origin": "web"}, NOW) == {
        "lead_budget": 10_000.0, "lead_origin": "web", "lead_from_web": 1.0,
    }  # fmt: skip
