"""What a look found as plain values, for a pager: `monitor/NAME.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from features.finding import Finding, Health
from features.settings import Workspace
from serving.monitor.alerts.alarms import Alarm
from serving.monitor.figures import Figures
from serving.monitor.monitor import Monitored, Watched
from serving.monitor.performance import Performance

Status = Literal["ok", "warning", "alarm", "unknown"]


def document(workspace: Workspace, found: Monitored, name: str) -> dict[str, Any]:
    """One propensity: its status, what is open since when, and every figure."""
    watched, health = found.watched.get(name), found.health[name]
    failure = found.failures.get(name)
    settings = workspace.settings.monitor
    told: dict[str, Any] = {
        "propensity": name,
        "as_of": found.as_of,
        "status": status(found, name),
        "version": health.version,
        "owner": settings.owners.get(name, settings.owner),
        "observed_until": found.observed_until,
        "matured_until": health.matured_until,
        "alarms": [_alarm(alarm) for alarm in found.open(name)],
        "findings": [{"key": one.key, **one.model_dump()} for one in health.findings],
        "failed": failure.as_dict() if failure else None,
        **(_performance(watched) if watched else {}),
    }
    plain: dict[str, Any] = _plain(told)
    return plain


def status(found: Monitored, name: str) -> Status:
    """`unknown` where it could not be computed, or too few outcomes are known and nothing else was found."""
    health = found.health[name]
    if name in found.failures:
        return "unknown"
    if found.open(name) or health.alarms:
        return "alarm"
    if any(one.severity == "warning" for one in health.findings):
        return "warning"
    return "unknown" if untold(health) else "ok"


def untold(health: Health) -> tuple[Finding, ...]:
    """What cannot be told yet."""
    return tuple(one for one in health.findings if one.severity == "note" and one.kind in ("performance", "estimate"))


def _alarm(alarm: Alarm) -> dict[str, Any]:
    one = alarm.finding
    return {
        "key": alarm.key, "kind": one.kind, "where": one.where, "sentence": one.sentence, "repair": one.repair,
        "since": one.since, "opened_at": alarm.opened_at, "last_seen": alarm.last_seen, "figures": one.figures,
    }  # fmt: skip


def _performance(watched: Watched) -> dict[str, Any]:
    found: Performance = watched.performance
    return {
        "question": watched.propensity.question,
        "promise": dict(found.promise.figures) if found.promise else None,
        "newest": {"since": found.window.since, "weeks": found.window.weeks, **_figures(found.window.figures)}
        if found.window
        else None,
        "all": _figures(found.whole) if found.whole else None,
        "versions": {name: _figures(one) for name, one in found.versions.items()},
        "roads": {name: _figures(one) for name, one in found.roads.items()},
        "weeks": [{"monday": one.monday, "version": one.version, **_figures(one.figures)} for one in found.weeks],
        "slices": [{**asdict(part.slice), "promised_auc": part.promised} for part in watched.parts],
        "coverage": [week.model_dump(exclude={"question", "made_from"}) for week in found.coverage],
        "drift": watched.ahead.drift.document() if watched.ahead.drift else None,
        "estimate": watched.ahead.estimate.model_dump() if watched.ahead.estimate else None,
        "estimates_checked": {"sentence": watched.ahead.checked.sentence, **watched.ahead.checked.model_dump(exclude={"weeks"})},
        "worth": watched.worth.document(),
    }


def _figures(found: Figures) -> dict[str, Any]:
    counted = {"rows": found.rows, "positives": found.positives, "entities": found.entities}
    bounds = {name: asdict(figure) for name, figure in found.figures.items()}
    return {**counted, **bounds, "chance_calibration_error": found.chance_calibration_error}


def _plain(value: Any) -> Any:
    """What JSON can hold: instants as ISO text, null for what is no number."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
