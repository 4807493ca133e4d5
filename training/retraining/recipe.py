"""The recipe: judge a new champion's first week, see whether there is a reason to train again and whether one may, and do so.

A model that is not worse than the champion is promoted although it may be no better: it has learned from newer data, and the
gates of the propensity file are what decides. One that failed a gate waits in the registry, and the champion stays.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal
from uuid import uuid4

from features.console import Watch
from features.engine import Name
from features.errors import ForesellError, GateError, RegistryError
from features.finding import Health, read_health
from features.propensity import Propensity, load
from features.settings import Workspace
from training import dataset, registry
from training.compatibility import contract_check
from training.registry import History, Signature
from training.retraining.attempts import Attempt, Begun, End, Ended, Log, next_possible
from training.retraining.relapse import Relapse, judge, on_trial, roll_back
from training.retraining.standing import BY, Serving, serving, short
from training.retraining.trigger import Trigger, incidents, triggers
from training.train import Trained, train

Outcome = Literal[
    "rolled back",  # the champion's first week was worse; the version before serves again
    "would roll back",  # were this not a dry run
    "idle",  # there is no champion, or no reason to train again
    "blocked",  # the data is broken
    "nothing new",  # no outcome has become known since the last training
    "exhausted",  # it was tried as often as it may be
    "would train",  # were this not a dry run
    "refused",  # a gate was not passed; the champion stays
    "promoted",  # the new version serves
]
COMPARED = "not_worse_than_champion"


@dataclass(frozen=True)
class Call:
    """What is asked.

    Attributes:
        workspace: with ingested tables, and what `foresell monitor` left.
        signature: who does it, and when.
        watch: opens a progress bar for a step of so many units.
        because: why somebody asks for it, which goes over an open incident and over there being nothing new; empty: nobody does.
        dry: only say what would be done; nothing is trained, moved or logged.
        engine: where snapshots are built and rows are joined.
    """

    workspace: Workspace
    signature: Signature
    watch: Watch
    because: str = ""
    dry: bool = False
    engine: Name = "duckdb"


@dataclass(frozen=True)
class Case:
    """What is known of a propensity that has a champion: its question, its log, who serves and what monitoring said last."""

    propensity: Propensity
    log: Log
    serving: Serving
    health: Health | None


@dataclass(frozen=True)
class Retrained:
    """What was done for one propensity, and why.

    Attributes:
        propensity: which question.
        outcome: what came of it.
        champion: the version that serves now; None where none does.
        version: the one that was trained; None where none was.
        triggers: the reasons there were.
        sentences: what there is to say, in order.
        relapse: of the champion's first week, where it stood trial.
        next_at: when another attempt is possible, where there were too many.
    """

    propensity: str
    outcome: Outcome
    champion: str | None
    version: str | None = None
    triggers: tuple[Trigger, ...] = ()
    sentences: tuple[str, ...] = ()
    relapse: Relapse | None = None
    next_at: datetime | None = None


def retrain(call: Call, name: str) -> Retrained:
    """Train one propensity again where there is a reason to, through the gates. Whoever calls it holds the lock.

    Raises:
        PropensityError: there is no such propensity.
        RegistryError: MLflow does not answer, or somebody moved the champion meanwhile.
        GateError: the version that a relapse would bring back lacks a feature in the workspace.
        DataFloorError, LeakageError, QualityError, ...: as `training.train.train`; the attempt counts, and is logged as failed.
    """
    propensity, log = load(call.workspace, name), Log(call.workspace, name)
    history = _history(call, name)
    cut = () if call.dry else log.settle(lambda begun: _promoted(history, begun))
    champion = serving(history)
    if champion is None:
        return Retrained(name, "idle", None, sentences=(_no_champion(name),))
    case = Case(propensity, log, champion, read_health(call.workspace, name))
    relapse = _judged(call, case, history)
    told = (*map(_broken_off, cut), *([relapse.sentence] if relapse else []))
    back = relapse is not None and relapse.judgement == "rolled back"
    done = _rolled_back(call, case, relapse) if relapse and back else _retrained(call, case)
    return replace(done, relapse=relapse, sentences=told + done.sentences)


def _history(call: Call, name: str) -> History:
    """What happened to the champion; a move that a kill cut off is finished first, for else nobody would."""
    history = registry.history(call.workspace, name)
    return registry.finish(call.workspace, name, call.signature) if history.unfinished and not call.dry else history


def _promoted(history: History, begun: Begun) -> str | None:
    """The version that an attempt without an end had promoted before it was killed; None: it had not come so far."""
    moves = (entry.event for entry in history.entries if entry.event.kind == "promotion" and entry.event.by == BY)
    mine = (event for event in moves if event.at >= begun.at and event.before == begun.before)
    return next((event.version for event in mine if event.reason == _reason(begun.why)), None)


def _reason(why: tuple[str, ...]) -> str:
    """Why it was trained, as the history keeps it."""
    return short(" ".join(why))


def _judged(call: Call, case: Case, history: History) -> Relapse | None:
    """The trial of the champion, if it stands one; one that did no harm is written down."""
    trial = on_trial(history, case.log.judged())
    if trial is None:
        return None
    relapse = judge(call.workspace, case.propensity, trial, call.watch, call.engine)
    if relapse.judgement not in (None, "rolled back"):
        _note(call, case, relapse)
    return relapse


def _note(call: Call, case: Case, relapse: Relapse) -> None:
    line = relapse.line(call.signature.now)
    if line is not None and not call.dry:
        case.log.add(line)


def _rolled_back(call: Call, case: Case, relapse: Relapse) -> Retrained:
    name, trial = case.propensity.name, relapse.trial
    if call.dry:
        return Retrained(name, "would roll back", trial.version, sentences=(f"Version {trial.against} would be brought back.",))
    roll_back(call.workspace, name, relapse, call.signature)
    _note(call, case, relapse)
    return Retrained(name, "rolled back", trial.against, sentences=(f"Version {trial.against} serves again.",))


def _retrained(call: Call, case: Case) -> Retrained:
    """Look for a reason, then for what hinders, then train."""
    at = call.signature.now
    found = triggers(call.workspace.settings.retrain, case.health, case.serving, at, call.because)
    nothing = Retrained(case.propensity.name, "idle", case.serving.version, triggers=found)
    if not found:
        return replace(nothing, sentences=(_no_reason(case),))
    if incidents(case.health) and not call.because:
        return replace(nothing, outcome="blocked", sentences=_blocked(case))
    next_at = next_possible(case.log.attempts(), call.workspace.settings.retrain, at)
    if next_at is not None:
        return replace(nothing, outcome="exhausted", sentences=(_exhausted(call, next_at),), next_at=next_at)
    return _learning(call, case, nothing)


def _learning(call: Call, case: Case, nothing: Retrained) -> Retrained:
    """Train if there is something new to learn from."""
    newest, learned = dataset.as_ofs(call.workspace, case.propensity)[-1], _learned(call.workspace, case)
    if learned is not None and newest <= learned and not call.because:
        return replace(nothing, outcome="nothing new", sentences=(_nothing_new(case, learned),))
    if call.dry:
        would = f"It would be trained again, from outcomes of scores up to {newest:%Y-%m-%d}."
        return replace(nothing, outcome="would train", sentences=(would,))
    return _attempt(call, case, nothing.triggers, newest)


def _attempt(call: Call, case: Case, found: tuple[Trigger, ...], newest: datetime) -> Retrained:
    """Train, and promote what passes; the attempt counts from its first line on."""
    spite = tuple(f"In spite of: {incident.sentence}" for incident in incidents(case.health))
    why = (*(f"{trigger.cause}: {trigger.sentence}" for trigger in found), *spite)
    begun = Begun(id=uuid4().hex, at=call.signature.now, why=why, before=case.serving.version, newest=newest)
    case.log.add(begun)
    started = time.monotonic()
    try:
        trained = train(call.workspace, case.propensity, begun.at, call.watch, call.engine)
        end, sentences = _through_the_gates(call, case, trained, why)
    except ForesellError as problem:
        told = (f"{type(problem).__name__}: {problem.where}: {problem.received}",)
        case.log.add(Ended(id=begun.id, end="failed", sentences=told, seconds=_since(started)))
        raise
    case.log.add(Ended(id=begun.id, end=end, version=trained.version, sentences=sentences, seconds=_since(started)))
    outcome: Outcome = "promoted" if end == "promoted" else "refused"
    champion = trained.version if end == "promoted" else case.serving.version
    return Retrained(case.propensity.name, outcome, champion, trained.version, found, sentences)


def _through_the_gates(call: Call, case: Case, trained: Trained, why: tuple[str, ...]) -> tuple[End, tuple[str, ...]]:
    """Promote a version that passed every gate, in place of the champion that it was compared with."""
    name, version, before = case.propensity.name, trained.version, case.serving.version
    stays = f"Version {version} is refused and version {before} stays."
    if not trained.verdict.passed:
        return "refused", (stays, *(gate.sentence for gate in trained.verdict.gates if not gate.passed))
    check = contract_check(call.workspace, name, forced=False)
    try:
        registry.promote(call.workspace, name, call.signature, version, check=check, because=_reason(why), over=before)
    except GateError as refused:
        return "refused", (stays, refused.received)
    compared = (gate.sentence for gate in trained.verdict.gates if gate.gate == COMPARED)
    return "promoted", (f"Version {version} serves, in place of version {before}.", *compared)


def _learned(workspace: Workspace, case: Case) -> datetime | None:
    """The newest as_of that the champion, or an attempt that came to its end, has learned from; None where nobody knows."""
    dates: list[datetime] = []
    with suppress(RegistryError):  # it was made champion in MLflow itself, or by an older release
        report = registry.figures(workspace, case.propensity.name, case.serving.version)
        dates = [datetime.fromisoformat(date) for date in report.get("provenance", {}).get("as_ofs", ())]
    ended = (attempt for attempt in case.log.attempts() if attempt.ended and attempt.ended.end in ("promoted", "refused"))
    return max([*dates, *(attempt.begun.newest for attempt in ended)], default=None)


def _exhausted(call: Call, next_at: datetime) -> str:
    settings = call.workspace.settings.retrain
    times = f"It was tried {settings.attempts} times within {settings.within}"
    return f"{times}; the next attempt is possible at {next_at:%Y-%m-%d %H:%M:%S} UTC."


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def _broken_off(attempt: Attempt) -> str:
    so_far = f" once version {attempt.ended.version} served" if attempt.ended and attempt.ended.version else ""
    return f"The attempt of {attempt.begun.at:%Y-%m-%d %H:%M:%S} UTC was broken off{so_far}; it counts."


def _no_champion(name: str) -> str:
    return f"There is no champion to train again: `foresell train {name}`, then `foresell promote {name}`."


def _no_reason(case: Case) -> str:
    looked, version = "`foresell monitor` has not looked at it yet", case.serving.version
    if case.health and case.health.version == version:
        looked = f"monitoring of {case.health.as_of:%Y-%m-%d} has no alarm that calls for it"
    elif case.health:
        looked = f"monitoring of {case.health.as_of:%Y-%m-%d} looked at version {case.health.version}"
    return f"No reason to train again: {looked}, and version {version} is not too old."


def _blocked(case: Case) -> tuple[str, ...]:
    told = tuple(f"{alarm.sentence} {alarm.repair}".strip() for alarm in incidents(case.health))
    mend = 'Mend it, run `foresell monitor`, and train again; or insist with --because "why".'
    return ("One does not learn from broken data:", *told, mend)


def _nothing_new(case: Case, learned: datetime) -> str:
    known = learned + case.propensity.every + case.propensity.horizon
    return (
        f"Nothing new to learn from: outcomes of scores up to {learned:%Y-%m-%d} are learned; the next are known from "
        f'{known:%Y-%m-%d} on. If rows were mended since, insist with --because "why".'
    )
