"""A message: what one owner is told of after a look, in one text, and where it still has to go.

It waits as `data/monitor/alerts/ID.json` until every way has taken it. It names tables, columns, features, models and figures; no
entity is ever in it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from features.catalog import write_atomically
from features.finding import Finding
from features.settings import Workspace
from features.strict import Strict
from serving.monitor.alerts.alarms import Alarm, Alarms

Way = Literal["mail", "webhook"]


class Message(Strict):
    """One message.

    Attributes:
        id: the same for the same alarms, so that who gets it twice can tell.
        owner: who is written to; empty where the settings name nobody.
        as_of: the look after which it was written (UTC).
        new, ended: what was found, and what is no longer found.
        events: a digest for each of them and the owner.
        waits: the ways that have not taken it.
        is_test: whether it says nothing but that messages arrive.
    """

    id: str
    owner: str
    as_of: datetime
    new: tuple[Finding, ...] = ()
    ended: tuple[Finding, ...] = ()
    events: tuple[str, ...] = ()
    waits: tuple[Way, ...] = ()
    is_test: bool = False

    @property
    def subject(self) -> str:
        if self.is_test:
            return "Foresell: a test, nothing is wrong"
        said = [f"{number} {word}" for number, word in ((len(self.new), "new"), (len(self.ended), "ended")) if number]
        first = (self.new or self.ended)[0]
        return f"Foresell: {' and '.join(said)}: {first.where}" + (" and others" if len(self.new + self.ended) > 1 else "")

    def text(self, workspace: Workspace) -> str:
        """What a person reads."""
        if self.is_test:
            return f"This is a test of the alarms of {workspace.root}. Nothing is wrong.\n"
        parts = [f"Foresell looked at {workspace.root} as of {self.as_of:%Y-%m-%d %H:%M} UTC."]
        parts += [_told("NEW", finding) for finding in self.new]
        parts += [_told("ENDED", finding) for finding in self.ended]
        again = f"foresell monitor --workspace {shlex.quote(str(workspace.root))}"
        parts.append(f"The whole page: {workspace.monitor}\nTo look again: {again}")
        return "\n\n".join(parts) + "\n"

    def document(self, workspace: Workspace) -> dict[str, Any]:
        """What a pager reads."""
        return {
            "id": self.id,
            "workspace": workspace.root.name,
            "as_of": self.as_of.isoformat(),
            "owner": self.owner,
            "test": self.is_test,
            "subject": self.subject,
            "new": [_plain(finding) for finding in self.new],
            "ended": [_plain(finding) for finding in self.ended],
            "page": str(workspace.monitor),
        }


def messages(workspace: Workspace, alarms: Alarms, ways: Sequence[Way], waiting: Iterable[Message]) -> list[Message]:
    """One message for each owner, of what nobody was told; what is in a message that waits is not told in another."""
    known = {event for message in waiting for event in message.events}
    new, ended = _by_owner(workspace, alarms.untold), _by_owner(workspace, alarms.untold_ends)
    found = []
    for owner in sorted({*new, *ended}):
        opened = [alarm for alarm in new.get(owner, []) if _event(owner, alarm) not in known]
        closed = [alarm for alarm in ended.get(owner, []) if _event(owner, alarm) not in known]
        events = tuple(_event(owner, alarm) for alarm in (*opened, *closed))
        if events:
            found.append(
                Message(
                    id=_digest(*events),
                    owner=owner,
                    as_of=alarms.as_of,
                    new=tuple(alarm.finding for alarm in opened),
                    ended=tuple(alarm.finding for alarm in closed),
                    events=events,
                    waits=tuple(ways),
                )
            )
    return found


def owners(workspace: Workspace, propensities: Iterable[str]) -> list[str]:
    """Who is told about these propensities; about none of them, whoever is told about everything else."""
    settings = workspace.settings.monitor
    return sorted({settings.owners.get(name, settings.owner) for name in propensities} or {settings.owner})


def keep(workspace: Workspace, message: Message) -> None:
    """Let a message wait."""
    write_atomically(_path(workspace, message), (message.model_dump_json(indent=1) + "\n").encode())


def drop(workspace: Workspace, message: Message) -> None:
    """Forget a message that every way has taken."""
    _path(workspace, message).unlink(missing_ok=True)


def kept(workspace: Workspace) -> list[Message]:
    """The messages that wait, oldest first; a file that is none is left alone."""
    found = []
    for path in _folder(workspace).glob("[!.]*.json"):
        try:
            found.append(Message.model_validate_json(path.read_bytes()))
        except (FileNotFoundError, ValidationError):
            continue
    return sorted(found, key=lambda message: (message.as_of, message.id))


def _plain(finding: Finding) -> dict[str, Any]:
    """A finding with its key, by which a pager closes what it opened."""
    return {"key": finding.key, **finding.model_dump(mode="json")}


def _told(word: str, finding: Finding) -> str:
    touches = f"\nTouches: {', '.join(finding.propensities)}" if finding.propensities else ""
    since = f"\nSince: {finding.since:%Y-%m-%d %H:%M} UTC" if finding.since else ""
    repair = f"\nWhat to do: {finding.repair}" if finding.repair and word == "NEW" else ""
    return f"{word}: {finding.sentence}{touches}{since}{repair}"


def _by_owner(workspace: Workspace, alarms: Iterable[Alarm]) -> dict[str, list[Alarm]]:
    found: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        for owner in owners(workspace, alarm.finding.propensities):
            found.setdefault(owner, []).append(alarm)
    return found


def _event(owner: str, alarm: Alarm) -> str:
    return _digest(owner, alarm.key, alarm.opened_at.isoformat(), alarm.ended_at.isoformat() if alarm.ended_at else "open")


def _digest(*parts: str) -> str:
    return sha256("\n".join(parts).encode()).hexdigest()[:32]


def _folder(workspace: Workspace) -> Path:
    return workspace.watch / "alerts"


def _path(workspace: Workspace, message: Message) -> Path:
    return _folder(workspace) / f"{message.id}.json"
