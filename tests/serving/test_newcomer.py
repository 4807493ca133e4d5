"""A lead that nobody has seen is scored as a snapshot would have it at the instant it was created."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from features.condition import Condition
from features.feature import Feature, View
from features.lead import CAMPAIGNS, ENGAGEMENT, PROFILE
from serving.newcomer import attributes, newcomer, overridden

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
    assert overridden(stored, attributes(VIEWS, "lead"), given, NOW) == {
        "lead_origin": None, "lead_budget": 1.0, "interactions_count_30d": 7.0,
    }  # fmt: skip


def test_counts_and_ages_cannot_be_given() -> None:
    names = [name for attribute in attributes(VIEWS, "lead") for name in attribute.names]
    assert names == ["lead_origin", "origin", "lead_budget", "budget", "wanted", "lead_status", "status"]


def test_another_entity_has_nothing_here() -> None:
    assert newcomer(VIEWS, "customer", {}, NOW) == {} and attributes(VIEWS, "customer") == ()
