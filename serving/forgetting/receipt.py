"""The receipt of a forgetting: what lay where, when it went, who had it done, and what only others can do; no id is in clear.

`data/forgotten/RECEIPT-NAME-AT.json`. Until nothing is left there is a `pending-NAME.json` beside it, which does hold the ids:
the tables that link them may be gone by then. Whoever runs the command again ends what was begun.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from features.catalog import write_atomically
from features.forgetting.forgotten import RECEIPT, folder
from features.forgetting.person import Person
from features.forgetting.place import Place
from features.settings import Workspace


@dataclass(frozen=True)
class Trained:
    """A version that was trained on rows of the person, or may have been where nobody can tell any more.

    Attributes:
        propensity, version, is_champion: which, and whether it is the one that answers.
        rows: on how many rows; None where that cannot be told: a snapshot or the report of the version is gone.
        advice: what may be done.
    """

    propensity: str
    version: str
    is_champion: bool
    rows: int | None
    advice: str


@dataclass(frozen=True)
class Begun:
    """What was found before anything was removed.

    Attributes:
        person: the digest by which receipts call them.
        ids: how many ids of each kind of entity.
        at, by: when it was begun, ISO in UTC, and by whom.
        places: what lay where.
        models: what was trained on it.
        elsewhere: in sentences, what the command cannot reach.
    """

    person: str
    ids: dict[str, int]
    at: str
    by: str
    places: tuple[Place, ...]
    models: tuple[Trained, ...]
    elsewhere: tuple[str, ...]


@dataclass(frozen=True)
class Receipt:
    """What was begun, when it ended, how it was searched for, and what was left then; nothing, or it has to be run again."""

    begun: Begun
    ended: str
    searched: str
    left: tuple[Place, ...]

    def as_dict(self) -> dict[str, Any]:
        """As the file has it."""
        found = {**asdict(self.begun), "ended": self.ended, "searched": self.searched, "left": [asdict(one) for one in self.left]}
        return {**found, "rows": sum(place.rows for place in self.begun.places)}


def pending(workspace: Workspace, asked: Person) -> tuple[Person, Begun] | None:
    """What was begun of a person and has not ended; None if nothing was."""
    for path in sorted(folder(workspace).glob("pending-*.json")):
        raw = json.loads(path.read_text(encoding="utf-8"))
        person = Person.of((entity, one) for entity, one in raw["ids"])
        if set(asked.pairs) & set(person.pairs):
            return person, _begun(raw["begun"])
    return None


def begin(workspace: Workspace, person: Person, begun: Begun) -> None:
    """Note what is begun."""
    document = {"ids": person.pairs, "begun": asdict(begun)}
    write_atomically(_pending(workspace, begun), (json.dumps(document, indent=1) + "\n").encode(), 0o600)


def end(workspace: Workspace, receipt: Receipt) -> Path:
    """Write the receipt, and if nothing is left forget what was noted. Returns where the receipt is."""
    at = "".join(letter for letter in receipt.begun.at[:19] if letter.isalnum())
    path = folder(workspace) / f"{RECEIPT}-{receipt.begun.person}-{at}.json"
    write_atomically(path, (json.dumps(receipt.as_dict(), indent=1) + "\n").encode(), 0o600)
    if not receipt.left:
        _pending(workspace, receipt.begun).unlink(missing_ok=True)
    return path


def iso(at: datetime) -> str:
    """An instant as receipts have it."""
    return at.isoformat(timespec="seconds")


def _pending(workspace: Workspace, begun: Begun) -> Path:
    return folder(workspace) / f"pending-{begun.person}.json"


def _begun(raw: dict[str, Any]) -> Begun:
    places: Sequence[dict[str, Any]] = raw["places"]
    trained = tuple(Trained(**one) for one in raw["models"])
    kept = {"places": tuple(Place(**one) for one in places), "models": trained, "elsewhere": tuple(raw["elsewhere"])}
    return Begun(**{**raw, **kept})
