"""Forgetting: a person is put on the list of the forgotten, goes from every place, and is searched for until nothing is left.

The list comes first, so that nobody brings the person back meanwhile; then the tables, from which everything else is made.
Whoever is killed runs it again: what is done has nothing left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from features.adapter import Adapter
from features.catalog import sweep
from features.errors import CallError, ForesellError
from features.forgetting import stores, tables
from features.forgetting.forgotten import Forgotten
from features.forgetting.person import Person, is_telling, linked
from features.forgetting.place import Place
from features.propensity import load, propensity_files
from features.settings import Workspace
from features.tables import ENTITIES
from serving.forgetting import receipt, scores
from serving.forgetting.elsewhere import elsewhere
from serving.forgetting.papers import Desk
from serving.forgetting.receipt import Begun, Receipt
from serving.forgetting.search import left
from serving.forgetting.trained import trained_on
from serving.ledger import Ledger

ROUNDS = 2  # whoever answered a request just before may store the answer just after
LEDGER_MS = 60_000  # a ledger that is written anew may be long about it
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Everywhere:
    """Every place of a workspace in which a person may be.

    Attributes:
        workspace: which.
        entities: whose each propensity is.
        sources: whose records each webhook brings.
    """

    workspace: Workspace
    entities: Mapping[str, str]
    sources: Mapping[str, str]

    @classmethod
    def of(cls, workspace: Workspace) -> Everywhere:
        """Of a workspace; a propensity whose file cannot be read is taken for one of either kind of entity."""
        entities = {}
        for name in propensity_files(workspace.root, workspace.settings):
            with suppress(ForesellError):
                entities[name] = str(load(workspace, name).entity)
        hooks = Adapter.find(workspace.root, workspace.settings).hooks(workspace.settings)
        return cls(workspace, entities, {source: str(hook.entity) for source, hook in hooks.items()})

    def places(self, person: Person, *, remove: bool, tell: Tell = lambda what: None) -> list[Place]:
        """Where the person is; or was, if they are to be removed.

        Raises:
            StoreError: the online store or the ledger does not answer.
            WorkspaceError: an ingest is at work.
        """
        workspace, found = self.workspace, list[Place]()
        for what, look in {
            "tables": lambda: tables.forget(workspace, person, remove=remove),
            "snapshots": lambda: stores.snapshots(workspace, person, remove=remove),
            "online store": lambda: stores.online(workspace, person, remove=remove),
            "scores": lambda: scores.forget(workspace, person, self.entities, remove=remove),
            "ledger": lambda: self._ledger(person, remove),
            "files": lambda: Desk(workspace, person, self.entities).forget(remove=remove),
        }.items():
            here = look()
            tell(f"{what}: {sum(place.rows for place in here):,} {'removed' if remove else 'found'}")
            found += here
        return found

    def _ledger(self, person: Person, remove: bool) -> list[Place]:
        with closing(Ledger.open(self.workspace, LEDGER_MS)) as ledger:
            found = ledger.about(person, self.entities, self.sources, remove=remove)
        return [Place("ledger", f"table {table}", rows) for table, rows in found.items()]


def asked_for(workspace: Workspace, entity_id: str, entity: str | None, *, anyway: bool) -> Person:
    """Whom an id means.

    Raises:
        CallError: nobody has it, or a lead and a customer have it.
    """
    if entity:
        return Person.of([(entity, entity_id)])
    every, kinds = Everywhere.of(workspace), {one: Person.of([(one, entity_id)]) for one in ENTITIES}
    both = kinds["lead"] | kinds["customer"]
    if begun := receipt.pending(workspace, both):
        return begun[0]
    found = [one for one in kinds.values() if tables.forget(workspace, one, remove=False)]
    found = found or [one for one in kinds.values() if every.places(one, remove=False)]
    if len(found) > 1:
        raise CallError(
            "foresell forget",
            expected="whose id it is",
            received="an id that a lead has and a customer, too",
            repair="add --entity lead or --entity customer",
        )
    if not found and not anyway and not _is_known(workspace, both):
        raise _nowhere()
    return found[0] if found else both


def begin(workspace: Workspace, asked: Person, links: bool | None, now: datetime, by: str, tell: Tell) -> tuple[Person, Begun]:
    """What there is of a person, before anything is removed; of one whose forgetting did not end, what there was then.

    Args:
        workspace: which.
        asked: whom the command named.
        links: whether those are meant, too, whom the tables link to them; None asks back where there are any.
        now, by: when, and on whose behalf.
        tell: called with a sentence for each kind of place.

    Raises:
        CallError: there are linked ids, and nothing was said of them.
    """
    if before := receipt.pending(workspace, asked):
        return before
    every, person = Everywhere.of(workspace), linked(workspace, asked)
    if person != asked and links is None:
        raise _are_linked(person, asked)
    person = person if links else asked
    found = every.places(person, remove=False, tell=tell)
    ids = {entity: len(person.ids(entity)) for entity in ENTITIES}
    models, others = trained_on(workspace, person), elsewhere(workspace, person)
    return person, Begun("", ids, receipt.iso(now), by, tuple(found), models, others)


def forget(workspace: Workspace, person: Person, begun: Begun, clock: Callable[[], datetime], tell: Tell) -> tuple[Receipt, Path]:
    """Forget a person, search for what is left, and write the receipt.

    Args:
        workspace: which; nothing else writes to it but its service.
        person, begun: from `begin`.
        clock: tells when it ended.
        tell: called with a sentence for each kind of place.

    Raises:
        StoreError: a store does not answer; run again, it goes on where it was.
        WorkspaceError: an ingest is at work.
    """
    told, every = Forgotten(workspace), Everywhere.of(workspace)
    told.add(person)
    begun = replace(begun, person=told.name(person))  # the key of the list is made with its first entry
    receipt.begin(workspace, person, begun)
    for _ in range(ROUNDS):
        _sweep(workspace)
        every.places(person, remove=True, tell=tell)
        found = [*every.places(person, remove=False), *left(workspace, person)]
        if not found:
            break
    done = Receipt(begun, receipt.iso(clock()), _searched(person), tuple(found))
    return done, receipt.end(workspace, done)


def _sweep(workspace: Workspace) -> None:
    """Remove what killed processes left half written beside its place."""
    for root in (workspace.root / "data", workspace.scores, workspace.latest, workspace.monitor, workspace.reports):
        for path in root.rglob(".*"):
            if path.is_file() and path.suffix[1:].isdecimal():
                sweep(path.parent, path.name[1:].removesuffix(path.suffix))


def _searched(person: Person) -> str:
    short = sum(not is_telling(one) for one in person.every)
    rest = f"; {short} of the ids are too short to be told from chance, and were looked for where ids belong" if short else ""
    return f"every file below the workspace but the CRM's own export, the online store and the ledger{rest}"


def _is_known(workspace: Workspace, person: Person) -> bool:
    told = Forgotten(workspace)
    return any(told.holds(*pair) for pair in person.pairs)


def _nowhere() -> CallError:
    return CallError(
        "foresell forget",
        expected="the id of a lead or customer, exactly as the CRM has it",
        received="one that is nowhere in this workspace",
        repair="look it up in the CRM; --anyway puts it on the list of the forgotten, so that it never comes in",
    )


def _are_linked(person: Person, asked: Person) -> CallError:
    others = [f"{entity} {one}" for entity, one in person.pairs if (entity, one) not in asked.pairs]
    named = ", ".join(others[:10]) + (f" and {len(others) - 10:,} more" if len(others) > 10 else "")
    return CallError(
        "foresell forget",
        expected="whether they are one person",
        received=f"an id that the tables link to {named}",
        repair="add --linked if all of them are this person, or --alone to forget only the id that was named",
    )
