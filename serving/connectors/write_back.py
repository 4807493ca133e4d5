"""Write-back: what of the last nights' scores has changed is taken to one target, and a receipt says what became of it.

It may be killed anywhere and run again: what was sent is not sent again, what was under way is, and nothing is left out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, fields
from datetime import datetime
from itertools import islice

from features.catalog import write_atomically
from features.console import Watch
from features.errors import ForesellError, StoreError, WorkspaceError, nearest
from features.propensity import load, propensity_files
from features.remote.pace import Clock, Sleep
from features.settings import Workspace
from features.target import HttpTarget, Target
from serving.connectors import dead_letter
from serving.connectors.change import Night, Partition, changes, newest
from serving.connectors.connector import Call, Connector, Record
from serving.connectors.delivery import Delivery, Refusing, Stopped
from serving.connectors.lock import alone, alone_anywhere
from serving.connectors.opening import open_connector
from serving.connectors.record import mapping, own_names, record
from serving.ledger import Ledger
from serving.objection import told_since

RECEIPT = "receipt.json"
ATTEMPTS = 3  # for targets without a setting of it
SHOWN = 3  # calls of a dry run, rejections of a receipt's summary


@dataclass
class Outcome:
    """What a run did.

    Attributes:
        target: its name.
        at: when.
        as_of: by propensity, the night whose scores were written.
        looked_at: rows of those nights.
        changed: how many of them were to be written, and of those who are no longer eligible.
        sent, rejected, waiting: what became of them; a dry run leaves all of them 0.
        dead_letters: records that the target has rejected, in this run or earlier ones, and that nobody has given up.
        rejections: the first ones: propensity, id, error.
        stopped: why the run went no further; None if it went to the end.
        failures: by propensity, why it was not written, or written no further.
        dry_run: whether nothing was sent.
        calls: of a dry run, the first calls.
    """

    target: str
    at: datetime
    dry_run: bool
    as_of: dict[str, datetime] = field(default_factory=dict)
    looked_at: int = 0
    changed: int = 0
    sent: int = 0
    rejected: int = 0
    waiting: int = 0
    dead_letters: int = 0
    rejections: list[tuple[str, str, str]] = field(default_factory=list)
    stopped: str | None = None
    failures: dict[str, ForesellError] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether everything that was to be written was, in earlier runs, too."""
        return not (self.dead_letters or self.waiting or self.stopped or self.failures)

    def as_dict(self) -> dict[str, object]:
        """For `--json` and the receipt."""
        told = {one.name: getattr(self, one.name) for one in fields(self)}
        failures = {name: error.as_dict() for name, error in self.failures.items()}
        calls = [call._asdict() for call in self.calls]
        return {**told, "failures": failures, "calls": calls, "complete": self.is_complete}


def every_target(workspace: Workspace) -> list[str]:
    """The names of all targets.

    Raises:
        WorkspaceError: there is none.
    """
    if not workspace.settings.write_back:
        raise WorkspaceError(
            f"workspace {workspace.root}",
            expected="a [write_back.NAME] in foresell.toml",
            received="none",
            repair="docs/reference.md lists what a target needs",
        )
    return sorted(workspace.settings.write_back)


def target_of(workspace: Workspace, name: str) -> Target:
    """The settings of a target.

    Raises:
        WorkspaceError: there is no target of that name.
    """
    targets = workspace.settings.write_back
    if name not in targets:
        near = nearest(name, targets)
        raise WorkspaceError(
            f"target {name!r}",
            expected=f"one of {', '.join(sorted(targets))}" if targets else "a [write_back.NAME] in foresell.toml",
            received="no such target",
            repair=f"write `{near}`" if near else "docs/reference.md lists what a target needs",
        )
    return targets[name]


def write_back(
    workspace: Workspace,
    name: str,
    as_of: datetime | None,
    now: datetime,
    dry_run: bool = False,
    watch: Watch | None = None,
    *,
    replay: bool = False,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> Outcome:
    """Write to one target what has changed since it was last written to.

    Args:
        workspace: with scores of at least one night.
        name: the target's.
        as_of: the newest night of this instant or before it; None is the newest.
        now: what ledger and receipt say of the time.
        dry_run: show the first calls and send nothing.
        watch: opens a progress bar, as `features.console.progress` does.
        replay: also send again what the file of dead letters names.
        clock, sleep: by which calls are paced.

    Raises:
        WorkspaceError: there is no such target, or its settings are wrong.
        BusyError: another run is writing to it.
        StoreError: there are no scores, or the ledger does not answer; what was sent is known all the same.
        CallError: the file of dead letters is not one.
    """
    target = target_of(workspace, name)
    own = mapping(target, name)
    outcome = Outcome(name, now, dry_run)
    partitions = _partitions(workspace, name, target, as_of, outcome)
    forced = dead_letter.dug_up(workspace, name) if replay else {}
    with (
        nullcontext() if dry_run else alone(workspace, name),
        closing(Ledger.open(workspace)) as ledger,
        nullcontext() if dry_run else alone_anywhere(ledger, name),
        closing(open_connector(workspace, name, target, clock, sleep)) as connector,
    ):
        limit, attempts = _limit(connector, target), _attempts(target)
        delivery = Delivery(name, target.digest, connector, ledger, now, limit, attempts, sleep)
        try:
            for partition in partitions:
                outcome.as_of[partition.propensity] = partition.as_of
                names = own_names(own, partition.propensity)
                objections = told_since(workspace, target.entity, partition.as_of)
                night = Night(workspace, partition, target.entity, set(names.values()), objections)
                found = _records(night, target, names, ledger, forced, outcome, watch)
                _write(found, delivery, connector, outcome)
        finally:
            if not dry_run:
                _close_books(workspace, name, ledger, delivery, outcome)
    return outcome


def give_up(workspace: Workspace, name: str, now: datetime) -> int:
    """Let go of what a target's file of dead letters names. Returns how many records that are.

    Raises:
        WorkspaceError: there is no such target.
        BusyError: a run is writing to it.
        CallError: the file of dead letters is not one.
        StoreError: the ledger does not answer.
    """
    target_of(workspace, name)
    with alone(workspace, name), closing(Ledger.open(workspace)) as ledger, alone_anywhere(ledger, name):
        return dead_letter.give_up(workspace, name, ledger, now)


def questions(workspace: Workspace, name: str, target: Target) -> dict[str, ForesellError | None]:
    """The propensities whose scores are written, by name, and what is wrong with the file of each.

    Raises:
        WorkspaceError: the target names a propensity that there is not.
    """
    known = propensity_files(workspace.root, workspace.settings)
    for one in target.propensities:
        if one not in known:
            near = nearest(one, known)
            raise WorkspaceError(
                f"[write_back.{name}] propensities",
                expected=f"one of {', '.join(sorted(known))}",
                received=f"`{one}`",
                repair=f"write `{near}`" if near else "remove it",
            )
    found: dict[str, ForesellError | None] = {}
    for one in target.propensities or sorted(known):
        try:
            if load(workspace, one).entity == target.entity:
                found[one] = None
        except ForesellError as error:
            found[one] = error
    return found


def _partitions(
    workspace: Workspace, name: str, target: Target, as_of: datetime | None, outcome: Outcome
) -> list[Partition]:  # fmt: skip
    found: list[Partition] = []
    for one, error in questions(workspace, name, target).items():
        partition = newest(workspace, one, as_of)
        if partition is None:
            continue
        if error is None:
            found.append(partition)
        else:
            outcome.failures[one] = error
    if not found and not outcome.failures:
        raise StoreError(
            f"scores in {workspace.scores}",
            expected=f"a night of a propensity of {target.entity}s" + (f", {as_of:%Y-%m-%d} or before" if as_of else ""),
            received="none",
            repair="run `foresell score`",
        )
    return found


def _records(
    night: Night,
    target: Target,
    fields: Mapping[str, str],
    ledger: Ledger,
    forced: Mapping[str, Collection[str]],
    outcome: Outcome,
    watch: Watch | None,
) -> Iterator[Record]:
    """What is to be written of one night, as it is read."""
    name, partition = outcome.target, night.partition
    with watch(f"{name}: {partition.propensity}", partition.rows) if watch else nullcontext(_nothing) as tick:
        for found, rows in changes(night, target, name, ledger, forced.get(partition.propensity, ())):
            outcome.looked_at += rows
            outcome.changed += len(found)
            yield from (record(change, fields, target) for change in found)
            tick(rows)


def _write(records: Iterator[Record], delivery: Delivery, connector: Connector, outcome: Outcome) -> None:
    """Write them, or once a run was stopped only count them."""
    while window := list(islice(records, delivery.window)):
        for chunk in delivery.chunks(window):
            if outcome.dry_run:
                outcome.calls += connector.show(chunk)[: SHOWN - len(outcome.calls)] if len(outcome.calls) < SHOWN else []
            elif outcome.stopped is None and chunk[0].propensity not in outcome.failures:
                try:
                    delivery.deliver(chunk)
                except Stopped as stopped:
                    outcome.stopped = str(stopped)
                except Refusing as refusing:
                    outcome.failures[chunk[0].propensity] = _refused(outcome.target, chunk[0].propensity, refusing)


def _refused(name: str, propensity: str, refusing: Refusing) -> StoreError:
    return StoreError(
        f"[write_back.{name}], {propensity}",
        expected="a target that takes some records of the propensity",
        received=str(refusing),
        repair=f"mend `fields`, or the rights of Foresell's user; then run `foresell write-back {name}`: nobody was given up",
    )


def _close_books(workspace: Workspace, name: str, ledger: Ledger, delivery: Delivery, outcome: Outcome) -> None:
    outcome.sent, outcome.rejected = delivery.sent, len(delivery.rejected)
    outcome.waiting = outcome.changed - outcome.sent - outcome.rejected
    outcome.rejections = [(propensity, one.id, one.error) for propensity, one in delivery.rejected[:SHOWN]]
    try:
        outcome.dead_letters = dead_letter.bury(workspace, name, ledger)
        receipt = (json.dumps(outcome.as_dict(), indent=1, default=str) + "\n").encode()
        write_atomically(dead_letter.folder(workspace, name) / RECEIPT, receipt, 0o600)
    except OSError as problem:  # of a full disk; the ledger knows what was sent
        outcome.stopped = outcome.stopped or f"its receipt could not be written: {problem.strerror}"


def _limit(connector: Connector, target: Target) -> int:
    return min(connector.limit, target.chunk or connector.limit)


def _attempts(target: Target) -> int:
    return target.attempts if isinstance(target, HttpTarget) else ATTEMPTS


def _nothing(rows: int) -> None:
    """For a run that nobody watches."""
