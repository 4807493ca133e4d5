"""Moving the champion: forward through the gates, back by one step, and what the history tells of both.

A move is written down first, and that is what counts; then the alias `champion` follows in MLflow, and that it has is written
down too. Whoever finds a move whose alias has not followed waits a little for its writer, and then finishes it: the writer was
killed. Whoever finds an alias that no event explains writes down that it was moved in MLflow itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from features.errors import CallError, ForesellError, GateError, RegistryError
from features.settings import Workspace
from training.registry.door import exists, insist, leave_if_absent, open_client
from training.registry.event import Entry, Event, Evidence, History, Kind, Signature, evidence
from training.registry.ledger import Ledger
from training.registry.version import CHALLENGER, CHAMPION, alias, figures, newest_version, no_version

LONGEST_REASON = 500
PATIENCE, PAUSE = 100, 0.05  # looks at a move that another has begun, and seconds between them
Decide = Callable[[History], Event | None]


def promote(workspace: Workspace, name: str, signature: Signature, version: str | None = None, reason: str = "") -> Entry:
    """Make a version the champion; without one, the newest, if it has never served. Returns its entry in the history.

    Args:
        workspace: where the version is registered.
        name: of the propensity.
        signature: who does it, and when.
        version: the one to promote.
        reason: why it may serve although it failed a gate; without a reason such a version is refused.

    Raises:
        RegistryError: there is no such version, or none waits.
        GateError: the version failed a gate and no reason was given; each is named with its sentence.
        CallError: the reason is too long.
    """
    _require_short(reason)
    chosen = version or _waiting(workspace, name)
    found = evidence(figures(workspace, name, chosen))
    chosen = str(int(chosen))  # as MLflow counts; "03" is version 3
    if found.failed and not reason:
        raise GateError(
            f"{name} version {chosen}",
            expected="every gate of the propensity file passed",
            received=" ".join(found.failed),
            repair=f"`foresell report {name}` shows the figures; bring better data, reconsider `[gates]` and train again, "
            'or promote with --force "why it may serve"; the reason goes into the history',
        )

    def decide(history: History) -> Event | None:
        return None if history.alias == chosen else _event("promotion", history, chosen, signature, found, reason)

    return _move(workspace, name, signature.at, decide)


def rollback(workspace: Workspace, name: str, signature: Signature, reason: str = "") -> Entry:
    """Bring back the champion before the present one. Returns its entry in the history.

    Each rollback goes one step further back along the promotions, until the first.

    Raises:
        RegistryError: there was no champion before, or its version was deleted.
        CallError: the reason is too long.
    """
    _require_short(reason)
    if not exists(workspace):
        raise _no_previous(name, None)

    def decide(history: History) -> Event:
        previous = history.previous
        if previous is None:
            raise _no_previous(name, history.alias)
        found = evidence(figures(workspace, name, previous))
        return _event("rollback", history, previous, signature, found, reason)

    return _move(workspace, name, signature.at, decide)


def history(workspace: Workspace, name: str) -> History:
    """Everything that happened to the champion of a propensity; nothing is written.

    Raises:
        RegistryError: the history was deleted in MLflow.
    """
    if not exists(workspace):
        return History((), None)
    with open_client(workspace) as client:
        ledger = Ledger.find(client, name)
        return _look(client, ledger, name) if ledger else History((), alias(client, name, CHAMPION))


def _move(workspace: Workspace, name: str, at: datetime, decide: Decide) -> Entry:
    """Decide on the present history and write the decision down under the next number; if another was first, decide again."""
    with open_client(workspace) as client:
        ledger = Ledger.open(client, workspace, name)
        while True:
            present = _settled(workspace, client, ledger, name, at)
            event = decide(present)
            if event is None:
                return present.entries[-1]
            number = len(present.entries) + 1
            if ledger.append(number, event):
                _follow(client, ledger, name, at)
                return ledger.entries()[number - 1]


def _settled(workspace: Workspace, client: Any, ledger: Ledger, name: str, at: datetime) -> History:
    """The history once every move is finished and every alias explained."""
    number, looks = 0, 0
    while True:
        present = _look(client, ledger, name)
        if present.unfinished is not None:
            number, looks = present.unfinished.number, looks + 1 if present.unfinished.number == number else 1
            if looks > PATIENCE:
                _follow(client, ledger, name, at)
            else:
                time.sleep(PAUSE)
        elif present.moved:
            found = _evidence_if_any(workspace, name, present.alias)
            event = _event("outside", present, present.alias, Signature("", at), found, "")
            ledger.append(len(present.entries) + 1, event)
        else:
            return present


def _look(client: Any, ledger: Ledger, name: str) -> History:
    """The history and the alias as they were at one moment: no event was added while they were read."""
    while True:
        entries = ledger.entries()
        named = alias(client, name, CHAMPION)
        if ledger.entries() == entries:
            return History(entries, named)


def _follow(client: Any, ledger: Ledger, name: str, at: datetime) -> None:
    """Move the alias to what the last event says; if meanwhile there is a later one, to what that says."""
    number = 0
    while (last := ledger.entries()[-1]).number != number:
        _set_alias(client, name, last.event.version)
        number = last.number
    ledger.took_effect(number, at)


def _set_alias(client: Any, name: str, version: str | None) -> None:
    if version is None:
        client.delete_registered_model_alias(name, CHAMPION)
        return
    with leave_if_absent():  # a version that was deleted since; that its alias is not there is then found and written down
        insist(partial(client.set_registered_model_alias, name, CHAMPION, version))
    if alias(client, name, CHALLENGER) == version:
        client.delete_registered_model_alias(name, CHALLENGER)


def _event(kind: Kind, history: History, version: str | None, signature: Signature, found: Evidence | None, reason: str) -> Event:
    return Event(
        id=uuid4().hex,
        kind=kind,
        version=version,
        before=history.last.event.version if history.last else None,
        by=signature.by,
        at=signature.at,
        reason=reason,
        evidence=found,
    )


def _waiting(workspace: Workspace, name: str) -> str:
    """The newest version, if it has never served or serves now: one that was replaced is only brought back by name."""
    newest = newest_version(workspace, name)
    if newest is None:
        raise no_version(name, "any version", "no trained model", f"run `foresell train {name}`")
    present = history(workspace, name)
    if newest in present.ever and newest != present.alias:
        raise no_version(
            name,
            "a version that waits",
            f"version {newest}, the newest, has served and was replaced",
            f"train again, or name it: `foresell promote {name} --version {newest}`",
        )
    return newest


def _no_previous(name: str, present: str | None) -> RegistryError:
    received = f"version {present} is the first" if present else "there has been none"
    repair = f"`foresell history {name}` shows every champion; `foresell promote {name} --version N` takes another"
    return no_version(name, "a champion before the present one", received, repair)


def _evidence_if_any(workspace: Workspace, name: str, version: str | None) -> Evidence | None:
    """Of a version that somebody else made champion, who need not have registered it through Foresell."""
    try:
        return None if version is None else evidence(figures(workspace, name, version))
    except (ForesellError, KeyError, ValueError):
        return None


def _require_short(reason: str) -> None:
    if len(reason) > LONGEST_REASON:
        raise CallError(
            "the reason",
            expected=f"at most {LONGEST_REASON} characters",
            received=f"{len(reason)}",
            repair="say it in a sentence or two",
        )
