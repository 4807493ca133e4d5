"""Why one would train again: each reason, none of them, and what hinders it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from features.finding import Finding, Health
from features.monitoring import RetrainSettings
from tests.training.retraining.conftest import alarm
from training.retraining.standing import Serving
from training.retraining.trigger import incidents, triggers

BORN = datetime(2023, 10, 15, tzinfo=UTC)
NOW = datetime(2024, 1, 1, tzinfo=UTC)
ONE = Serving("1", BORN)
DRIFT = alarm("drift", "feature", "orders_count_30d has moved.")
WORSE = alarm("performance", "model", "AUC fell to 0.60.")


def health(*findings: Finding, version: str = "1") -> Health:
    return Health(propensity="churn", as_of=NOW, version=version, matured_until=None, findings=findings)


def causes(found: Health | None, at: datetime = NOW, because: str = "", **settings: object) -> list[str]:
    return [trigger.cause for trigger in triggers(RetrainSettings.model_validate(settings), found, ONE, at, because)]


def test_without_a_reason_there_is_none():
    assert causes(None) == causes(health()) == []


def test_a_champion_is_too_old_from_its_microsecond_on():
    edge = BORN + timedelta(days=28)
    assert causes(None, edge - timedelta(microseconds=1), every="28d") == []
    assert causes(None, edge, every="28d") == ["schedule"]
    assert triggers(RetrainSettings(every="28d"), None, Serving("1", None), NOW) == ()


@pytest.mark.parametrize("kind", ["drift", "base_rate", "score", "unseen"])
def test_what_drifted_is_a_reason_unless_the_settings_say_otherwise(kind):
    found = health(alarm(kind, "feature", "It moved."))
    assert causes(found) == ["drift"]
    assert causes(found, on_drift=False) == []


@pytest.mark.parametrize("kind", ["performance", "calibration", "estimate"])
def test_what_got_worse_is_a_reason_unless_the_settings_say_otherwise(kind):
    found = health(alarm(kind, "model", "It fell."))
    assert causes(found) == ["performance"]
    assert causes(found, on_performance=False) == []


def test_a_warning_is_no_reason_and_neither_is_what_was_said_of_another_version():
    assert causes(health(alarm("drift", "feature", "It moved a little.", "warning"))) == []
    assert causes(health(DRIFT, WORSE, version="7")) == []


def test_who_asks_comes_first_and_the_other_reasons_are_said_as_well():
    found = triggers(RetrainSettings(every="28d"), health(WORSE, DRIFT), ONE, NOW, "the board wants it")
    assert [trigger.cause for trigger in found] == ["asked", "schedule", "drift", "performance"]
    assert found[0].sentence == "the board wants it" and "is of 2023-10-15" in found[1].sentence
    assert [trigger.sentence for trigger in found[2:]] == [DRIFT.sentence, WORSE.sentence]


def test_alarms_about_the_data_are_incidents_whatever_version_serves_and_a_new_category_is_none():
    stopped, scale = alarm("stopped", "data", "orders stopped."), alarm("scale", "data", "hours, not days.")
    new, late = alarm("category", "data", "A new channel."), alarm("late", "data", "A day late.", "warning")
    assert incidents(health(stopped, scale, new, late, DRIFT, version="9")) == (stopped, scale)
    assert incidents(None) == ()
    assert causes(health(alarm("drift", "data", "The table moved."))) == [], "data that broke is no drift"
