"""Why one would train again now: the age of the champion, what monitoring says of it, or that somebody asks.

And why one would not: data that is broken teaches nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from features.finding import Finding, Health, Kind
from features.monitoring import RetrainSettings
from training.retraining.standing import Serving

Cause = Literal["asked", "schedule", "drift", "performance"]
DRIFT: frozenset[Kind] = frozenset({"drift", "base_rate", "score", "unseen"})
PERFORMANCE: frozenset[Kind] = frozenset({"performance", "calibration", "estimate"})
HARMLESS: frozenset[Kind] = frozenset({"category"})  # something new that is worth learning, not something broken


@dataclass(frozen=True)
class Trigger:
    """One reason to train again, and what it says."""

    cause: Cause
    sentence: str


def triggers(
    settings: RetrainSettings, health: Health | None, serving: Serving, at: datetime, because: str = ""
) -> tuple[Trigger, ...]:
    """Every reason to train again, the one that somebody gave first.

    Args:
        settings: what counts as one.
        health: what monitoring said last; what it said of another version than the one that serves is none.
        serving: the champion.
        at: now.
        because: why somebody asks for it; empty: nobody does.
    """
    found = [Trigger("asked", because)] if because else []
    found += _old(settings, serving, at)
    if health is not None and health.version == serving.version:
        found += _alarmed(health, "drift", DRIFT) if settings.on_drift else []
        found += _alarmed(health, "performance", PERFORMANCE) if settings.on_performance else []
    return tuple(found)


def incidents(health: Health | None) -> tuple[Finding, ...]:
    """The alarms about the data itself, whatever version serves."""
    alarms = health.alarms if health else ()
    return tuple(alarm for alarm in alarms if alarm.subject == "data" and alarm.kind not in HARMLESS)


def _old(settings: RetrainSettings, serving: Serving, at: datetime) -> list[Trigger]:
    if settings.age is None or serving.born is None or at < serving.born + settings.age:
        return []
    sentence = f"Version {serving.version} is of {serving.born:%Y-%m-%d}, which is {settings.every} or more ago."
    return [Trigger("schedule", sentence)]


def _alarmed(health: Health, cause: Cause, kinds: frozenset[Kind]) -> list[Trigger]:
    alarms = (alarm for alarm in health.alarms if alarm.subject != "data" and alarm.kind in kinds)
    return [Trigger(cause, alarm.sentence) for alarm in alarms]
