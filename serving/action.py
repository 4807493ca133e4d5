"""An action: something that was done about an entity because of a propensity, checked before it is kept.

The CRM tells it over HTTP or in a file; both are checked here. What is told twice is kept once: by the CRM's own id, or by one
that is derived from what was done about whom and when.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal, cast

from features.errors import ForesellError, nearest
from features.forgetting.forgotten import Forgotten
from features.operation import PolicySettings
from features.propensity import load, propensity_files
from features.settings import Workspace
from serving.flaw import Flaw
from serving.ledger import Action, Ledger
from serving.policy import Policy

SKEW = timedelta(minutes=5)  # by so much a CRM's clock may be ahead of ours
LONGEST_CODE = 40
CODE = rf"^[A-Za-z][A-Za-z0-9_-]{{0,{LONGEST_CODE - 1}}}$"  # no room for a name, an address or a number
ID = r"^[A-Za-z0-9][A-Za-z0-9_.:/+=-]{0,99}$"


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one action: a known form, but nothing looked up. It has an `id` or an `at`, or both."""

    propensity: str
    entity_id: str
    kind: str
    id: str | None = None
    at: datetime | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Logged:
    """An action that is kept.

    Attributes:
        id: by which it is known: telling it again changes nothing but the outcome.
        propensity, entity_id: which question about whom.
        held_out: whether the entity is held out, so that nothing should have been done; it counts as a breach of the holdout.
        known: whether it had been told before.
    """

    id: str
    propensity: str
    entity_id: str
    held_out: bool
    known: bool


class Diary:
    """What may be told, and by whom an action is held to be a breach."""

    def __init__(self, entities: Mapping[str, str], settings: PolicySettings, forgotten: Forgotten) -> None:
        """Take the propensities, each with the kind of its entities, the policy, of which only the holdout counts here, and who
        was forgotten, of whom nothing is kept any more.
        """
        self._entities, self._forgotten = dict(entities), forgotten
        holdout = PolicySettings(holdout=settings.holdout)
        self._policies = {kind: Policy(holdout, kind_of(kind)) for kind in set(self._entities.values())}

    def action(self, told: Told, where: str, now: datetime, request_id: str, caller: str | None) -> Action | Flaw:
        """What is to be kept of one action, or what is wrong with it.

        Args:
            told: what was told.
            where: its place in the request or file, for a flaw.
            now: when it was told; also when it was done, where that was not told.
            request_id, caller: by whom.
        """
        if told.propensity not in self._entities:
            return self._unknown(told.propensity, where)
        at = told.at or now
        if at > now + SKEW:
            return _future(at, now, where)
        entity = self._entities[told.propensity]
        if self._forgotten.holds(entity, told.entity_id):
            return _gone(where)
        held_out = self._policies[entity].is_held_out(told.entity_id)
        identity = told.id or derived(told.propensity, told.entity_id, at, told.kind)
        return Action(
            identity, told.propensity, entity, told.entity_id, at, told.kind, told.outcome, held_out, now, request_id, caller
        )

    def _unknown(self, propensity: str, where: str) -> Flaw:
        names = sorted(self._entities)
        near = nearest(propensity[:100], names)
        return Flaw(
            where=f"{where}.propensity",
            expected=f"one of {', '.join(names)}" if names else "a propensity; there is none",
            received=ascii(propensity)[:80],
            repair=f"did you mean `{near}`?" if near else "name the propensity because of which it was done",
        )


def derived(propensity: str, entity_id: str, at: datetime, kind: str) -> str:
    """The id of an action that the CRM gave none: the same for the same action, in every process and release."""
    return sha256(json.dumps([propensity, entity_id, at.isoformat(), kind]).encode()).hexdigest()[:32]


def keep(ledger: Ledger, made: Sequence[Action | Flaw], wheres: Sequence[str]) -> list[Logged | Flaw]:
    """Keep the actions among some that were told; what was wrong with the others stays beside them.

    Args:
        ledger: where.
        made: what `Diary.action` made of each.
        wheres: their places, for a flaw.

    Raises:
        StoreError: the ledger does not answer, or is full; nothing was kept.
        CallError: a value is one that no database can hold; nothing was kept.
    """
    actions = [one for one in made if isinstance(one, Action)]
    known = ledger.known([one.id for one in actions])
    there, found = ledger.log(actions), list[Logged | Flaw]()
    for one, where in zip(made, wheres, strict=True):
        found.append(one if isinstance(one, Flaw) else _logged(one, there[one.id], one.id in known, where))
        known |= {one.id} if isinstance(one, Action) else set()
    return found


def _logged(told: Action, kept: Action, is_known: bool, where: str) -> Logged | Flaw:
    if (told.propensity, told.entity_id, told.kind) != (kept.propensity, kept.entity_id, kept.kind):
        return Flaw(
            where=f"{where}.id",
            expected="an id of its own for every action",
            received=f"{told.id}, which is that of a {kept.kind} of {kept.at:%Y-%m-%d %H:%M} UTC for {kept.propensity}",
            repair="put the name of the CRM or of its table before the id, such as `odoo-call:17`",
        )
    return Logged(kept.id, kept.propensity, kept.entity_id, kept.held_out, is_known or kept.request_id != told.request_id)


def entities(workspace: Workspace) -> dict[str, str]:
    """The propensities of a workspace whose files can be read, each with the kind of its entities."""
    found: dict[str, str] = {}
    for name in sorted(propensity_files(workspace.root, workspace.settings)):
        with suppress(ForesellError):
            found[name] = load(workspace, name).entity
    return found


def _future(at: datetime, now: datetime, where: str) -> Flaw:
    return Flaw(
        where=f"{where}.at",
        expected=f"an instant up to now, {now:%Y-%m-%dT%H:%M:%SZ}; a clock may be {SKEW // timedelta(minutes=1)} minutes ahead",
        received=f"{at.isoformat()}",
        repair="tell what was done after it was done; a time without a zone is taken as UTC",
    )


def _gone(where: str) -> Flaw:
    return Flaw(
        where=f"{where}.entity_id",
        expected="somebody of whom something may be kept",
        received="somebody who was forgotten",
        repair="forget this person in the CRM, too, and tell nothing more of them",
    )


def kind_of(entity: str) -> Literal["lead", "customer"]:
    """The kind of entity that a propensity names."""
    return cast(Literal["lead", "customer"], entity)
