"""The forgotten: who must never come back, as digests under a key of the workspace's own; no id is kept in clear.

`data/forgotten/forgotten.json`. Whoever reads an export, answers a request or a webhook asks here. The file is looked at each
time, so a service that runs knows within the same moment.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable
from hashlib import blake2b
from pathlib import Path

from features.catalog import write_atomically
from features.errors import WorkspaceError
from features.forgetting.person import Person
from features.settings import Workspace
from features.tables import ENTITIES

FILE = "forgotten.json"
RECEIPT = "RECEIPT"
KEY_BYTES = 32


class Forgotten:
    """The list of a workspace. One instance serves many threads."""

    def __init__(self, workspace: Workspace) -> None:
        """Name the file; it need not be there."""
        self._path = folder(workspace) / FILE
        self._stamp: tuple[int, int, int] | None = None
        self._key = b""
        self._digests: dict[str, frozenset[str]] = {}

    def holds(self, entity: str, entity_id: str | None) -> bool:
        """Whether somebody is forgotten.

        Raises:
            WorkspaceError: the list is damaged.
        """
        known = self._of(entity)
        return bool(known) and entity_id is not None and self._digest(entity, entity_id) in known

    def among(self, entity: str, ids: Iterable[str | None]) -> set[str]:
        """Those of some ids that are forgotten.

        Raises:
            WorkspaceError: the list is damaged.
        """
        known = self._of(entity)
        return {one for one in ids if one is not None and self._digest(entity, one) in known} if known else set()

    def person(self, entity: str, ids: Iterable[str | None]) -> Person:
        """As `among`, as a person."""
        return Person.of((entity, one) for one in self.among(entity, ids))

    def add(self, person: Person) -> None:
        """Forget a person from now on; doing it again changes nothing."""
        self._look()
        key = self._key or secrets.token_bytes(KEY_BYTES)
        held = {entity: set(self._digests.get(entity, ())) for entity in ENTITIES}
        for entity, one in person.pairs:
            held[entity].add(digest(key, entity, one))
        document = {"key": key.hex(), **{entity: sorted(found) for entity, found in held.items()}}
        write_atomically(self._path, (json.dumps(document, indent=1) + "\n").encode(), 0o600)

    def name(self, person: Person) -> str:
        """What a person is called where no id may stand: the digest of their ids; call it once they were added."""
        self._look()
        return digest(self._key, "person", json.dumps(person.pairs))[:16]

    def __len__(self) -> int:
        """How many ids are forgotten."""
        self._look()
        return sum(map(len, self._digests.values()))

    def _of(self, entity: str) -> Collection[str]:
        self._look()
        return self._digests.get(entity, ())

    def _digest(self, entity: str, entity_id: str) -> str:
        return digest(self._key, entity, entity_id)

    def _look(self) -> None:
        """Read the file if it is another one than the last time."""
        try:
            told = self._path.stat()
        except FileNotFoundError:
            return
        stamp = (told.st_mtime_ns, told.st_ino, told.st_size)
        if stamp == self._stamp:
            return
        try:
            raw = json.loads(self._path.read_text(encoding="utf-8"))
            key, digests = bytes.fromhex(raw["key"]), {entity: frozenset(raw[entity]) for entity in ENTITIES}
        except (ValueError, KeyError, TypeError):
            raise _damaged(self._path) from None
        self._key, self._digests = key, digests
        self._stamp = stamp


def folder(workspace: Workspace) -> Path:
    """Where the list and the receipts lie."""
    return workspace.root / "data" / "forgotten"


def trained_on(workspace: Workspace, propensity: str, version: str) -> int:
    """How many people were forgotten since whose rows a version was trained on, or may have been, as the receipts tell."""
    receipts = (json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder(workspace).glob(f"{RECEIPT}-*.json")))
    told = {one["person"]: {(model["propensity"], model["version"]) for model in one["models"]} for one in receipts}
    return sum((propensity, version) in models for models in told.values())


def digest(key: bytes, entity: str, entity_id: str) -> str:
    """An id as the list has it: 32 hexadecimal digits that tell nothing without the key."""
    return blake2b(f"{entity}\0{entity_id}".encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


def _damaged(path: Path) -> WorkspaceError:
    return WorkspaceError(
        str(path),
        expected="the list of those who are forgotten",
        received="a file that is cut off, or was edited",
        repair="take it from a backup: without it the forgotten would come back with the next export",
    )
