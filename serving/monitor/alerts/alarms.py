"""The state of alarms: which are open, which are new and which have ended; nobody is told the same thing every night.

`data/monitor/alarms.json` holds them between two looks. A finding of severity `alarm` opens one under its key. It goes on while
the finding is there, be it as a warning; it ends when two looks in a row did not find it. One that comes back within a week goes
on as if it had not ended, and nobody hears of it again, unless it has come to touch another propensity. A second look at an
as_of, such as one that could see more, opens what it finds and ends nothing; one at an earlier as_of changes nothing. Of a table
that has stopped nothing ends but that: what else was wrong with it is not known to be over.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from features.catalog import write_atomically
from features.errors import WorkspaceError
from features.finding import Finding
from features.lock import waited
from features.settings import Workspace
from features.strict import Strict

LOOKS_UNTIL_ENDED = 2
FLAPPING = timedelta(days=7)


class Alarm(Strict):
    """One alarm. Instants are as_ofs of looks (UTC).

    Attributes:
        finding: what was found when it was last seen.
        opened_at, last_seen: the first and the last look that found it.
        told_at: the look whose messages told of it; None while none has.
        unseen: how many looks in a row did not find it.
        ended_at: the look that ended it; None while it is open.
        end_told_at: the look whose messages told of its end; None while none has.
    """

    finding: Finding
    opened_at: datetime
    last_seen: datetime
    told_at: datetime | None = None
    unseen: int = 0
    ended_at: datetime | None = None
    end_told_at: datetime | None = None

    @property
    def key(self) -> str:
        return self.finding.key

    @property
    def sentence(self) -> str:
        return self.finding.sentence


class _State(Strict):
    """The file: the newest look, and the alarms that are open or have ended not too long ago, as they opened."""

    as_of: datetime | None = None
    alarms: tuple[Alarm, ...] = ()


@dataclass(frozen=True)
class Alarms:
    """The alarms after a look at `as_of`: the open ones, and those that have ended."""

    as_of: datetime
    open: tuple[Alarm, ...]
    past: tuple[Alarm, ...]

    @property
    def new(self) -> tuple[Alarm, ...]:
        """Those that this look opened."""
        return tuple(alarm for alarm in self.open if alarm.opened_at == self.as_of)

    @property
    def going_on(self) -> tuple[Alarm, ...]:
        """Those that an earlier look opened."""
        return tuple(alarm for alarm in self.open if alarm.opened_at != self.as_of)

    @property
    def ended(self) -> tuple[Alarm, ...]:
        """Those that this look ended."""
        return tuple(alarm for alarm in self.past if alarm.ended_at == self.as_of)

    @property
    def untold(self) -> tuple[Alarm, ...]:
        """Open ones of which nobody was told yet: usually the new ones; after a run that was killed, those of before as well."""
        return tuple(alarm for alarm in self.open if alarm.told_at is None)

    @property
    def untold_ends(self) -> tuple[Alarm, ...]:
        """Ended ones that were told of, but not their end."""
        return tuple(alarm for alarm in self.past if alarm.told_at is not None and alarm.end_told_at is None)


def alone(workspace: Workspace) -> AbstractContextManager[None]:
    """One look at a time is held against the alarms and told; a second one waits, and then finds what the first has told."""
    path = path_of(workspace)
    return waited(path.with_name(f".{path.name}.lock"))


def update(workspace: Workspace, findings: Sequence[Finding], as_of: datetime) -> Alarms:
    """Hold what a look found against what is open, and keep the outcome.

    Raises:
        WorkspaceError: the file is there and cannot be read; forgetting what was told would tell it all again.
    """
    state = _read(workspace)
    if state.as_of is None or as_of >= state.as_of:
        keep = timedelta(days=workspace.settings.nightly.keep_partitions_days)
        looked = _looked(state.alarms, findings, as_of, is_again=as_of == state.as_of)
        state = _State(as_of=as_of, alarms=_forget(looked, as_of - keep))
        _write(workspace, state)
    return _alarms(state, as_of)


def read(workspace: Workspace) -> Alarms | None:
    """The alarms after the newest look; None where nobody has looked yet.

    Raises:
        WorkspaceError: as `update`.
    """
    state = _read(workspace)
    return None if state.as_of is None else _alarms(state, state.as_of)


def tell(workspace: Workspace, told: Alarms) -> Alarms:
    """Note that messages tell of every alarm and every end that these alarms hold untold.

    Raises:
        WorkspaceError: as `update`.
    """
    opened = {(alarm.key, alarm.opened_at) for alarm in told.untold}
    ended = {(alarm.key, alarm.opened_at) for alarm in told.untold_ends}
    state = _read(workspace)
    marked = []
    for alarm in state.alarms:
        which = (alarm.key, alarm.opened_at)
        marks = {"told_at": told.as_of} if which in opened else {"end_told_at": told.as_of} if which in ended else {}
        marked.append(alarm.model_copy(update=marks))
    state = _State(as_of=state.as_of, alarms=tuple(marked))
    _write(workspace, state)
    return _alarms(state, told.as_of)


def path_of(workspace: Workspace) -> Path:
    """Where the state lies."""
    return workspace.watch / "alarms.json"


def _looked(alarms: Sequence[Alarm], findings: Sequence[Finding], as_of: datetime, is_again: bool) -> list[Alarm]:
    """The alarms after a look; one again at the same as_of does not count what it does not see."""
    found = {finding.key: finding for finding in findings if finding.severity != "note"}
    silent = {one.where for one in found.values() if one.kind == "stopped"}
    continued = [
        _continued(alarm, found.get(alarm.key), as_of, is_again or _is_hidden(alarm.finding, silent)) for alarm in alarms
    ]
    known = {alarm.key for alarm in continued if alarm.ended_at is None}
    opened = [Alarm(finding=one, opened_at=as_of, last_seen=as_of)
              for one in found.values() if one.severity == "alarm" and one.key not in known]  # fmt: skip
    return [*continued, *opened]


def _continued(alarm: Alarm, finding: Finding | None, as_of: datetime, is_blind: bool) -> Alarm:
    """One alarm after a look that had this finding under its key, or none; what a blind one does not find is not over."""
    if alarm.ended_at is not None:
        is_back = finding is not None and finding.severity == "alarm" and as_of - alarm.ended_at <= FLAPPING
        if not is_back:
            return alarm
    if finding is not None:
        return _seen(alarm, finding, as_of)
    unseen = alarm.unseen + (0 if is_blind else 1)
    return alarm.model_copy(update={"unseen": unseen, "ended_at": as_of if unseen >= LOOKS_UNTIL_ENDED else None})


def _is_hidden(finding: Finding, silent: Set[str]) -> bool:
    """Whether it is of something that brings no rows in which it could be found."""
    is_of = any(finding.where == where or finding.where.startswith((f"{where}.", f"{where}=")) for where in silent)
    return finding.subject == "data" and finding.kind not in ("stopped", "late") and is_of


def _seen(alarm: Alarm, finding: Finding, as_of: datetime) -> Alarm:
    """It goes on; that it touches a propensity that it did not touch is told."""
    told_at = alarm.told_at if set(finding.propensities) <= set(alarm.finding.propensities) else None
    return alarm.model_copy(update={"finding": finding, "last_seen": as_of, "unseen": 0, "ended_at": None, "told_at": told_at})


def _forget(alarms: Sequence[Alarm], before: datetime) -> tuple[Alarm, ...]:
    """Without those that ended too long ago."""
    return tuple(alarm for alarm in alarms if alarm.ended_at is None or alarm.ended_at >= before)


def _alarms(state: _State, as_of: datetime) -> Alarms:
    return Alarms(
        as_of,
        tuple(alarm for alarm in state.alarms if alarm.ended_at is None),
        tuple(alarm for alarm in state.alarms if alarm.ended_at is not None),
    )


def _read(workspace: Workspace) -> _State:
    path = path_of(workspace)
    try:
        return _State.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return _State()
    except ValidationError as problem:
        raise WorkspaceError(
            str(path),
            expected="the alarms as this release of Foresell keeps them",
            received=" ".join(str(problem).split())[:200],
            repair="mend it, or remove it: then whatever is found is told once more",
        ) from None


def _write(workspace: Workspace, state: _State) -> None:
    write_atomically(path_of(workspace), (state.model_dump_json(indent=1) + "\n").encode())
