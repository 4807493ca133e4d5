"""Monitoring: what was served held against what happened, what is to be expected before that, what moved, and who is told.

A recipe: every step is a module of its own. One propensity that fails does not stop the others; what was found of it before
stands. Killed anywhere and run again it ends the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import duckdb
import pandas as pd

from features.catalog import Catalog
from features.console import Watch
from features.disk import broken
from features.errors import ContractError, FeatureError, ForesellError, RegistryError
from features.finding import Finding, Health, read_health, write_health
from features.propensity import Propensity, load, propensity_files
from features.settings import Workspace
from features.tables import TABLES
from serving.monitor import matured
from serving.monitor.alerts import alarms, alert
from serving.monitor.alerts.alarms import Alarm, Alarms
from serving.monitor.alerts.alert import Alerts
from serving.monitor.drift.drift import Drift, drift
from serving.monitor.drift.reference import reference
from serving.monitor.estimate import Check, Estimate, weekly
from serving.monitor.estimate import finding as expected
from serving.monitor.known import earned
from serving.monitor.parts import Part, parts
from serving.monitor.performance import SHOWN_WEEKS, Performance, performance
from serving.monitor.promise import WINDOWS, Promise
from serving.monitor.served import WEEK
from serving.monitor.tables import incidents
from serving.monitor.worth.worth import Worth, worth
from training import registry

GRAVITY = {"alarm": 0, "warning": 1, "note": 2}
AHEAD = ("drift", "missing", "unseen", "score", "estimate")  # kinds that are found before outcomes are
OF_TABLES = "tables"  # what fails besides the propensities


@dataclass(frozen=True)
class Ahead:
    """What is known of a version before the outcomes of its newest scores are.

    Attributes:
        drift: the day held against what the version was trained on; None where that is not known.
        estimate: the performance to be expected on it; None of nobody.
        checked: earlier estimates held against what came.
        findings: of both.
    """

    drift: Drift | None
    estimate: Estimate | None
    checked: Check
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Watched:
    """What was found of one propensity.

    Attributes:
        propensity, version: the question, and the version that serves.
        performance, parts: matured outcomes.
        ahead: what is known before outcomes are.
        worth: what acting on the scores was worth.
        findings: of its scores and models; those of the tables are not among them.
    """

    propensity: Propensity
    version: str
    performance: Performance
    parts: tuple[Part, ...]
    ahead: Ahead
    worth: Worth
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Monitored:
    """What a look found.

    Attributes:
        as_of: the day that was looked at.
        observed_until: outcomes have been recorded up to this instant.
        watched: by name.
        health: of every propensity with a champion, by name.
        alarms: the open ones, and those that this look ended.
        alerts: who was told.
        untouched: what is wrong with tables and touches no propensity that is watched.
        failures: what could not be computed, by the name of the propensity or `tables`.
    """

    as_of: datetime
    observed_until: datetime
    watched: dict[str, Watched]
    health: dict[str, Health]
    alarms: Alarms
    alerts: Alerts
    untouched: tuple[Finding, ...] = ()
    failures: dict[str, ForesellError] = field(default_factory=dict)

    def open(self, propensity: str) -> tuple[Alarm, ...]:
        """The open alarms that touch a propensity."""
        return tuple(alarm for alarm in self.alarms.open if propensity in alarm.finding.propensities)


def monitor(workspace: Workspace, as_of: datetime, watch: Watch, names: Sequence[str] = ()) -> Monitored:
    """Look at every propensity that has a champion, or at those named, and tell the owners of what is new.

    Args:
        workspace: with ingested tables and at least one champion.
        as_of: the day that is looked at.
        watch: opens a progress bar.
        names: only these; what was found of the others before stands.

    Raises:
        TableError: nothing has been ingested.
        PropensityError: there is no propensity of that name.
        RegistryError: no propensity has a champion.
        WorkspaceError: the state of alarms cannot be read.
    """
    catalog = Catalog.load(workspace)
    champions = _champions(workspace, names)
    failures: dict[str, ForesellError] = {}
    watched: dict[str, Watched] = {}
    before = {name: read_health(workspace, name) for name in champions}
    of_tables = _of_tables(workspace, as_of, failures, before)
    for name, version in champions.items():
        if names and name not in names:
            continue
        try:
            recorded_until = _recorded_until(load(workspace, name), of_tables, catalog.now)
            watched[name] = _watched(workspace, name, version, as_of, recorded_until, watch)
        except (ForesellError, OSError, duckdb.Error) as problem:
            failures[name] = problem if isinstance(problem, ForesellError) else broken(f"monitoring of {name}", problem)
    health = {
        name: _health(name, version, as_of, watched.get(name), of_tables, before[name]) for name, version in champions.items()
    }
    _keep(workspace, health, before)
    with alarms.alone(workspace):
        state = alarms.update(workspace, _every(health), as_of)
        alerts = alert.send(workspace, state)
    if alerts.error is not None:
        failures["alerts"] = alerts.error
    untouched = tuple(one for one in of_tables if not set(one.propensities) & set(health))
    return Monitored(as_of, catalog.now, watched, health, state, alerts, untouched, failures)


def _champions(workspace: Workspace, names: Sequence[str]) -> dict[str, str]:
    """The version that answers for each propensity: the pinned one, else the champion."""
    for name in names:
        load(workspace, name)
    standing = registry.standing(workspace, sorted(propensity_files(workspace.root, workspace.settings)))
    pin = workspace.settings.serving.pin
    found = {name: pin.get(name, one.champion.version) for name, one in standing.items() if one.champion}
    lacking = [name for name in names if name not in found]
    if lacking or not found:
        raise RegistryError(
            f"propensity {lacking[0]!r}" if lacking else f"workspace {workspace.root}",
            expected="a champion whose scores can be watched",
            received="none",
            repair="run `foresell train --all`, then `foresell promote NAME` for those that passed their gates",
        )
    return found


def _recorded_until(question: Propensity, of_tables: Sequence[Finding], now: datetime) -> datetime:
    """Until when outcomes are recorded: where their source brings nothing any more, that none came tells nothing."""
    contract, at = TABLES[question.outcome.source], question.outcome.at
    place = contract.name if at in (None, contract.time) else f"{contract.name}.{at}"
    silent = [one.since for one in of_tables if one.kind == "stopped" and one.where == place and one.since is not None]
    return min([now, *silent])


def _watched(
    workspace: Workspace, name: str, version: str, as_of: datetime, observed_until: datetime, watch: Watch
) -> Watched:  # fmt: skip
    question = load(workspace, name)
    coverage = matured.update(workspace, name, observed_until, watch)
    report = _report(workspace, name, version)
    since = coverage[-1].monday - (SHOWN_WEEKS - 1) * WEEK if coverage else None
    rows = matured.read(workspace, name, since)
    newest = _newest(rows, version)
    brought = earned(workspace, question.entity, question.value, newest) if question.value and len(newest) else None
    promise = Promise.of(report) if report.get("horizon", "") == f"{question.horizon.days}d" else None
    shown = performance(name, version, promise, rows, coverage, question.horizon, observed_until, brought)
    ahead = _ahead(workspace, name, version, as_of, promise, rows, watch)
    return Watched(
        propensity=question,
        version=version,
        performance=shown,
        parts=parts(workspace, question.entity, newest, report),
        ahead=ahead,
        worth=worth(workspace, name, observed_until),
        findings=(*shown.findings, *ahead.findings),
    )


def _ahead(
    workspace: Workspace, name: str, version: str, as_of: datetime, promise: Promise | None, rows: pd.DataFrame, watch: Watch
) -> Ahead:  # fmt: skip
    """What is known before outcomes are; a version whose report does not say what it was trained on cannot be held against it."""
    try:
        registered = registry.load(workspace, name, version)
        moved = drift(workspace, registered, as_of, watch)
        ordinary = reference(workspace, registered, watch).ordinary_aucs
    except (RegistryError, FeatureError, ContractError) as error:
        return Ahead(None, None, Check(), (_unknown(name, version, error),))
    made, checked = weekly(workspace, name, version, as_of, moved.probability, rows)
    enough = made is not None and made.rows >= workspace.settings.monitor.least_rows
    told = expected(made, name, version, promise.ranking, ordinary) if made and enough and promise else None
    return Ahead(moved, made, checked, (*moved.findings, *((told,) if told else ())))


def _unknown(name: str, version: str, error: ForesellError) -> Finding:
    sentence = f"Whether its features have moved cannot be told: {error.received}."
    return Finding(
        kind="drift", subject="model", severity="note", where=f"version {version}", propensities=(name,), sentence=sentence,
        repair=error.repair,
    )  # fmt: skip


def _report(workspace: Workspace, name: str, version: str) -> dict[str, Any]:
    """The stored report of a version; nothing where an older release left none."""
    try:
        return registry.report(workspace, name, version)[0]
    except RegistryError:
        return {}


def _newest(rows: pd.DataFrame, version: str) -> pd.DataFrame:
    """The rows of a version in the newest weeks that are judged together."""
    mine = rows[rows["model_version"] == version]
    return mine[mine["scored_at"] > mine["scored_at"].max() - WINDOWS[-1] * timedelta(days=7)]


def _of_tables(
    workspace: Workspace, as_of: datetime, failures: dict[str, ForesellError], before: dict[str, Health | None]
) -> tuple[Finding, ...]:  # fmt: skip
    """What is wrong with the tables; if that cannot be told, what was found of them before."""
    try:
        return incidents.incidents(workspace, as_of)
    except (ForesellError, OSError, duckdb.Error) as problem:
        failures[OF_TABLES] = problem if isinstance(problem, ForesellError) else broken("monitoring of the tables", problem)
        return tuple({one.key: one for one in _every(before) if one.subject == "data"}.values())


def _health(
    name: str, version: str, as_of: datetime, watched: Watched | None, of_tables: Sequence[Finding], before: Health | None
) -> Health:  # fmt: skip
    """What is known now; of what was not looked at, or could not be, what was known of the same version before."""
    stood = before.findings if before and before.version == version else ()
    mine = [one for one in stood if one.subject != "data" and _is_unseen(one, watched)]
    mine += watched.findings if watched else ()
    found = sorted([*mine, *(one for one in of_tables if name in one.propensities)], key=lambda one: GRAVITY[one.severity])
    until = watched.performance.matured_until if watched else before.matured_until if before else None
    return Health(propensity=name, as_of=as_of, version=version, matured_until=until, findings=tuple(found))


def _keep(workspace: Workspace, health: dict[str, Health], before: dict[str, Health | None]) -> None:
    """Write what is known now; what a look at a later day found stands."""
    for name, one in health.items():
        stood = before[name]
        if stood is None or stood.as_of <= one.as_of:
            write_health(workspace, one)


def _is_unseen(finding: Finding, watched: Watched | None) -> bool:
    """Whether a look could not have found it: there was none, or none ahead."""
    return watched is None or (watched.ahead.drift is None and finding.kind in AHEAD and finding.severity != "note")


def _every(health: dict[str, Any]) -> list[Finding]:
    """Every finding once."""
    found = (one for health_of in health.values() if health_of is not None for one in health_of.findings)
    return list({one.key: one for one in found}.values())
