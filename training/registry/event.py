"""What happened to a champion: promotions, rollbacks, and moves that somebody made in MLflow itself.

Pure: events come in and answers go out. The order of events is that of their numbers; times say when an event took effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from features.strict import Strict
from training.registry.record import described

Kind = Literal["promotion", "rollback", "outside"]
LONGEST_SENTENCE = 240
CONTRACT_GATE = "contract"  # of the workspace, not of the report: whether it gives what the model was trained on


@dataclass(frozen=True)
class Signature:
    """Who does something to the registry, and when (UTC).

    Attributes:
        by: a name.
        at: when it began.
        clock: tells the time while it goes on; without one, everything happens at `at`.
    """

    by: str
    at: datetime
    clock: Callable[[], datetime] | None = None

    @property
    def now(self) -> datetime:
        return self.clock() if self.clock else self.at


class Judged(Strict):
    """One gate: its name, whether it was passed, and the sentence, cut where it is very long."""

    gate: str
    passed: bool
    sentence: str


class Evidence(Strict):
    """What was known of a version when it became champion; None where its report does not say.

    `summary` is the line that describes the version in MLflow; `auc` is on the test rows, with its 95 % interval.
    """

    summary: str
    verdict: str | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    gates: tuple[Judged, ...] = ()
    data_fingerprint: str | None = None
    trained_at: str | None = None

    def with_gate(self, gate: Judged) -> Evidence:
        """With a gate that was judged only now."""
        return self.model_copy(update={"gates": (*self.gates, gate)})

    @property
    def failed(self) -> tuple[str, ...]:
        """The sentence of each failed gate."""
        return tuple(gate.sentence for gate in self.gates if not gate.passed)


class Event(Strict):
    """One change of the champion.

    Attributes:
        id: tells apart two events that are alike in all else.
        kind: `outside` is a move that was made in MLflow itself; `at` is then when it was noticed.
        version: the champion from here on; None if there is none.
        before: the champion until here; None if there was none.
        by: who did it; empty where nobody knows.
        at: when it was decided (UTC).
        reason: why failed gates were passed over, or what was given as a reason anyway.
        evidence: of `version`.
    """

    id: str
    kind: Kind
    version: str | None
    before: str | None
    by: str
    at: datetime
    reason: str = ""
    evidence: Evidence | None = None

    @property
    def forced(self) -> bool:
        """Whether the version came in past a failed gate; those of its report do not stop a rollback."""
        gates = self.evidence.gates if self.evidence else ()
        held = [gate for gate in gates if self.kind == "promotion" or gate.gate == CONTRACT_GATE]
        return not all(gate.passed for gate in held)


@dataclass(frozen=True)
class Entry:
    """An event in its place: its number, and since when its version served.

    `since` is None until it is written down that the alias in MLflow has followed; of a move made in MLflow itself it is when
    that was noticed. It is never before that of an earlier entry. `written`: whether the call that returned the entry wrote it.
    """

    number: int
    event: Event
    since: datetime | None
    written: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Served:
    """Which version served at an instant.

    Attributes:
        version: None if none did.
        entry: what made it so; None before the first event.
        until: when the next event took effect; None if none has.
        doubt: why the answer is not certain; empty where it is.
    """

    version: str | None
    entry: Entry | None
    until: datetime | None
    doubt: str = ""


@dataclass(frozen=True)
class History:
    """Everything that happened to one champion.

    Attributes:
        entries: in the order in which they happened.
        alias: the version that MLflow itself calls champion now.
    """

    entries: tuple[Entry, ...]
    alias: str | None

    @property
    def last(self) -> Entry | None:
        return self.entries[-1] if self.entries else None

    @property
    def unfinished(self) -> Entry | None:
        """The last event if nobody wrote down that the alias has followed: its writer is at work, or was killed."""
        return self.last if self.last is not None and self.last.since is None else None

    @property
    def moved(self) -> bool:
        """Whether the alias was moved in MLflow itself and no event tells of it yet."""
        recorded = self.last.event.version if self.last else None
        return self.unfinished is None and self.alias != recorded

    @property
    def ever(self) -> frozenset[str]:
        """Every version that has been champion."""
        return frozenset(entry.event.version for entry in self.entries if entry.event.version is not None)

    def line(self) -> list[str | None]:
        """The champions that a rollback goes back along, the present one last: each rollback has taken one away."""
        line: list[str | None] = []
        for event in (entry.event for entry in self.entries):
            if event.kind != "rollback":
                line.append(event.version)
                continue
            line.pop()
            while line and line[-1] is None:  # nobody goes back to having no champion
                line.pop()
        return line

    @property
    def previous(self) -> str | None:
        """The version that one rollback brings back; None if there is none."""
        return next((version for version in reversed(self.line()[:-1]) if version is not None), None)

    def at(self, instant: datetime) -> Served:
        """The version that served at an instant; one that was promoted at T serves from T on."""
        entries = self._begun()
        begun = [entry for entry in entries if entry.since is not None and entry.since <= instant]
        entry = begun[-1] if begun else None
        later = next((other for other in entries[entry.number if entry else 0 :] if other.since is not None), None)
        version = entry.event.version if entry else None
        return Served(version, entry, later.since if later else None, self._doubt(instant, later))

    def _begun(self) -> tuple[Entry, ...]:
        """The entries; an unfinished one whose version the alias names is taken to be in effect since it was decided."""
        last = self.unfinished
        if last is None or last.event.version != self.alias:
            return self.entries
        return (*self.entries[:-1], replace(last, since=last.event.at))

    def _doubt(self, instant: datetime, later: Entry | None) -> str:
        pending = self.unfinished
        if pending is not None and instant >= pending.event.at:
            return (
                f"event {pending.number} ({words(pending.event)}) was not finished, and nobody knows when it took effect; "
                f"MLflow calls {named(self.alias)} the champion"
            )
        if later is not None and later.event.kind == "outside":
            return f"by {later.event.at:%Y-%m-%d %H:%M:%S} UTC the champion had been moved in MLflow itself, nobody knows when"
        if later is None and self.moved:
            return f"MLflow calls {named(self.alias)} the champion: it was moved there, nobody knows when"
        return ""


def evidence(report: Mapping[str, Any]) -> Evidence:
    """What a version's report says for or against it."""
    test = report.get("test", {})
    return Evidence(
        summary=described(report),
        verdict=report.get("verdict"),
        auc=test.get("auc"),
        auc_low=test.get("auc_low"),
        auc_high=test.get("auc_high"),
        gates=tuple(_judged(gate) for gate in report["gates"]),
        data_fingerprint=report.get("data_fingerprint"),
        trained_at=report.get("trained_at"),
    )


def judged(gate: str, passed: bool, sentence: str) -> Judged:
    """A gate as an event keeps it."""
    cut = sentence if len(sentence) <= LONGEST_SENTENCE else f"{sentence[: LONGEST_SENTENCE - 3]}..."
    return Judged(gate=gate, passed=passed, sentence=cut)


def _judged(gate: Mapping[str, Any]) -> Judged:
    return judged(gate["gate"], gate["passed"], gate["sentence"])


def words(event: Event) -> str:
    """What happened, in a few words, such as "version 3 promoted, version 2 demoted"."""
    verb = {"promotion": "promoted", "rollback": "brought back", "outside": "made champion in MLflow itself"}[event.kind]
    before = f"{named(event.before)} demoted" if event.before else ""
    if event.version is None:
        return f"{before} in MLflow itself"
    return ", ".join(filter(None, (f"{named(event.version)} {verb}", before)))


def named(version: str | None) -> str:
    """Such as "version 3"."""
    return f"version {version}" if version else "no version"
