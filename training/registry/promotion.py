"""Moving the champion: forward through the gates, back by one step, and what the history tells of both.

A move is written down first, and that is what counts; then the alias `champion` follows in MLflow, and that it has is written
down too. Whoever finds a move that is not finished waits a little for its writer, and then finishes it: the writer was killed.
Whoever finds an alias that no event explains writes down that it was moved in MLflow itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

from features.errors import CallError, ForesellError, GateError, RegistryError
from features.settings import Workspace
from training.registry.door import exists, insist, leave_if_absent, open_client
from training.registry.event import Entry, Event, Evidence, History, Judged, Kind, Signature, evidence, named
from training.registry.ledger import Ledger
from training.registry.version import CHALLENGER, CHAMPION, alias, figures, newest_version, no_version

LONGEST_REASON, LONGEST_NAME = 500, 100
PATIENCE, PAUSE = 100, 0.05  # looks at a move that another has begun, and seconds between them
Decide = Callable[[History], Event | None]
Check = Callable[[str], Judged]  # whether the workspace can feed a version


def promote(
    workspace: Workspace,
    name: str,
    signature: Signature,
    version: str | None = None,
    reason: str = "",
    check: Check | None = None,
    because: str = "",
    over: str | None = None,
) -> Entry:
    """Make a version the champion; without one, the newest, if it has never served. Returns its entry in the history.

    Nothing is written where it is the champion already.

    Args:
        workspace: where the version is registered.
        name: of the propensity.
        signature: who does it, and when.
        version: the one to promote.
        reason: why it may serve although it failed a gate; without a reason such a version is refused.
        check: judges one more gate of exactly the version that is promoted; it stands in the history with those of the report.
        because: what it was trained for; it stands in the history as the reason, and lets nothing pass.
        over: the champion that it was held against, the only one that it may replace; None: whichever serves.

    Raises:
        RegistryError: there is no such version, or none waits, or somebody else moved the champion meanwhile.
        GateError: the version failed a gate and no reason was given; each is named with its sentence.
        CallError: the reason or the name is too long.
    """
    _require_short(reason or because, signature)
    chosen = version or _waiting(workspace, name)
    document = figures(workspace, name, chosen)
    chosen = str(int(chosen))  # as MLflow counts; "03" is version 3
    found = _judged(document, chosen, check)
    if found.failed and not reason:
        raise GateError(
            f"{name} version {chosen}",
            expected="every gate of the propensity file passed",
            received=" ".join(found.failed),
            repair=f"`foresell report {name}` shows the figures; bring better data, reconsider `[gates]` and train again, "
            'or promote with --force "why it may serve"; the reason goes into the history',
        )

    def decide(history: History) -> Event | None:
        if over is not None and history.alias != over:
            raise _moved_meanwhile(name, over, history.alias)
        return None if history.alias == chosen else _event("promotion", history, chosen, signature, found, reason or because)

    return _move(workspace, name, signature, decide)


def rollback(
    workspace: Workspace,
    name: str,
    signature: Signature,
    reason: str = "",
    check: Check | None = None,
    over: str | None = None,
) -> Entry:
    """Bring back the champion before the one that serves when this is called. Returns its entry in the history.

    Each rollback goes one step further back along the promotions, until the first.

    Args:
        workspace: where the versions are registered.
        name: of the propensity.
        signature: who does it, and when.
        reason: why; it goes into the history.
        check: judges one more gate of exactly the version that is brought back, or raises.
        over: the champion that is taken away; None: the one that serves when this is called.

    Raises:
        RegistryError: there was no champion before, or its version was deleted, or somebody else moved the champion meanwhile.
        CallError: the reason or the name is too long.
    """
    _require_short(reason, signature)
    seen = over or history(workspace, name).alias
    if not exists(workspace):
        raise _no_previous(name, None)

    def decide(present: History) -> Event:
        if present.alias != seen:  # of two who roll back at once, the second would go a step further than it meant
            raise _moved_meanwhile(name, seen, present.alias)
        previous = present.previous
        if previous is None:
            raise _no_previous(name, present.alias)
        found = _judged(figures(workspace, name, previous), previous, check)
        return _event("rollback", present, previous, signature, found, reason)

    return _move(workspace, name, signature, decide)


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


def finish(workspace: Workspace, name: str, signature: Signature) -> History:
    """Finish a move whose writer was killed, as every move does before its own. Returns the history."""
    with open_client(workspace) as client:
        return _settled(workspace, client, Ledger.open(client, workspace, name), name, signature)


def _move(workspace: Workspace, name: str, signature: Signature, decide: Decide) -> Entry:
    """Decide on the present history and write the decision down under the next number; if another was first, decide again."""
    with open_client(workspace) as client:
        ledger = Ledger.open(client, workspace, name)
        while True:
            present = _settled(workspace, client, ledger, name, signature)
            event = decide(present)
            if event is None:
                return present.entries[-1]
            number = len(present.entries) + 1
            if ledger.append(number, event):
                _follow(client, ledger, name, signature)
                return replace(ledger.entries()[number - 1], written=True)


def _settled(workspace: Workspace, client: Any, ledger: Ledger, name: str, signature: Signature) -> History:
    """The history once every move is finished and every alias explained."""
    number, looks = 0, 0
    while True:
        present = _look(client, ledger, name)
        if present.unfinished is not None:
            number, looks = present.unfinished.number, looks + 1 if present.unfinished.number == number else 1
            if looks > PATIENCE:
                _follow(client, ledger, name, signature)
            else:
                time.sleep(PAUSE)
        elif present.moved:
            found = _evidence_if_any(workspace, name, present.alias)
            event = _event("outside", present, present.alias, Signature("", signature.now), found, "")
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


def _follow(client: Any, ledger: Ledger, name: str, signature: Signature) -> None:
    """Move the alias to what the last event says; if meanwhile there is a later one, to what that says.

    Where it is there already, a writer who was killed has moved it, soon after the decision.
    """
    number = 0
    while (last := ledger.entries()[-1]).number != number:
        followed = alias(client, name, CHAMPION) == last.event.version
        _set_alias(client, name, last.event.version)
        number = last.number
    ledger.took_effect(number, last.event.at if followed else signature.now)


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
        at=signature.now,
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


def _judged(report: Mapping[str, Any], version: str, check: Check | None) -> Evidence:
    found = evidence(report)
    return found.with_gate(check(version)) if check else found


def _moved_meanwhile(name: str, seen: str | None, present: str | None) -> RegistryError:
    return RegistryError(
        f"propensity {name!r}",
        expected=f"{named(seen)} as champion, as when this began",
        received=f"{named(present)}: somebody else, or an earlier move that was not finished, came first",
        repair=f"`foresell history {name}` shows who; what they did stands, and this may be done again if it is still wanted",
    )


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


def _require_short(reason: str, signature: Signature) -> None:
    """Refuse what would not fit into an event; MLflow cuts a long one without a word."""
    bounds = (
        ("the reason", reason, LONGEST_REASON, "say it in a sentence or two"),
        ("the name of who does it", signature.by, LONGEST_NAME, "give a name with --by or FORESELL_USER"),
    )
    for where, text, longest, repair in bounds:
        if len(text) > longest:
            raise CallError(where, expected=f"at most {longest} characters", received=f"{len(text):,}", repair=repair)
