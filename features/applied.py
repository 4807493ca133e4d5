"""What Feast was told last, so that it is not told again what it knows: importing it and asking its registry takes seconds.

`data/store/applied.json` holds a digest of what was declared, one of every row of the registry as that left it, how the tables
for records were made, and which as_ofs it was told are online. Whoever writes to the registry, restores or deletes it, or is
killed while telling leaves other rows, and Feast is told again. Only a registry in SQLite is looked at: one in PostgreSQL is told
every time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Set
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from features import storage
from features.catalog import Catalog, write_atomically
from features.database import identifier
from features.lock import waited
from features.propensity import load_all
from features.settings import Workspace
from features.snapshot import label
from features.views import views
from features.wire import sqlite_table

FILE = "applied.json"
KEPT = {"declared", "registry", "online", "places"}
HERE = Path(__file__).parent
TOLD_BY = (HERE / "repo" / "schema.py", HERE / "feature.py", HERE / "wire.py")  # a checkout is pulled without a new release


def declared(workspace: Workspace) -> str:
    """A digest of everything that Feast is told of a workspace, and of what tells it.

    Raises:
        TableError: nothing has been ingested.
        FeatureError, PropensityError, WorkspaceError: a declaration or setting is wrong.
    """
    present = views(workspace, Catalog.load(workspace))
    questions = [one.model_dump_json() for one in load_all(workspace)]
    releases = [version("foresell"), version("feast"), *(sha256(path.read_bytes()).hexdigest() for path in TOLD_BY)]
    parts = [repr(present), questions, storage.config(workspace), str(workspace.snapshots), releases]
    return sha256(json.dumps(parts).encode()).hexdigest()


def holds(workspace: Workspace, declared: str, entities: Set[str]) -> bool:
    """Whether Feast was told just this, and the registry and the places for the records of entities are as that left them."""
    known, places = _known(workspace), _places(workspace, entities)
    return known is not None and known["declared"] == declared and known["places"] == places and entities <= places.keys()


def remember(workspace: Workspace, declared: str, entities: Set[str]) -> None:
    """Keep what Feast was just told; call it within `alone`."""
    _save(workspace, declared, {}, _places(workspace, entities))


def is_online(workspace: Workspace, entity: str, as_of: datetime) -> bool:
    """Whether Feast was told last that the records of an entity are those of an as_of."""
    known = _known(workspace)
    return known is not None and known["online"].get(entity) == label(as_of)


@contextmanager
def noting(workspace: Workspace, entity: str, as_of: datetime) -> Iterator[None]:
    """Within the block Feast is told that the records of an entity are those of an as_of; nothing else that it knows changes."""
    with alone(workspace):
        known = _known(workspace)
        yield
        if known is not None:
            _save(workspace, known["declared"], {**known["online"], entity: label(as_of)}, known["places"])


def alone(workspace: Workspace) -> AbstractContextManager[None]:
    """One of us at a time tells Feast something of a workspace; a second one waits."""
    return waited(workspace.store / ".lock")


def _known(workspace: Workspace) -> dict[str, Any] | None:
    """What was kept; None where nothing was that can be read, or the registry is not what it was then."""
    try:
        known = json.loads((workspace.store / FILE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    is_whole = isinstance(known, dict) and known.keys() == KEPT
    return known if is_whole and known["registry"] is not None and known["registry"] == _registry(workspace) else None


def _save(workspace: Workspace, declared: str, online: Mapping[str, str], places: Mapping[str, str]) -> None:
    content = {"declared": declared, "registry": _registry(workspace), "online": online, "places": places}
    write_atomically(workspace.store / FILE, (json.dumps(content, indent=1) + "\n").encode())


def _registry(workspace: Workspace) -> str | None:
    """A digest of every row of the registry; none where it is not SQLite's, not there, or cannot be read."""
    if workspace.settings.store.registry != "sqlite":
        return None
    digest = sha256()
    try:
        with closing(_opened(workspace.store / storage.REGISTRY_DB)) as connection:
            connection.execute("begin")
            for (table,) in connection.execute("select name from sqlite_master where type = 'table' order by name").fetchall():
                digest.update(repr((table, *connection.execute(f"select * from {identifier(table)}"))).encode())
    except sqlite3.Error:
        return None
    return digest.hexdigest()


def _places(workspace: Workspace, entities: Set[str]) -> dict[str, str]:
    """How the table for the records of each entity was made, where there is one; Redis makes a place for whoever comes."""
    if workspace.settings.store.online != "sqlite":
        return dict.fromkeys(entities, "")
    try:
        with closing(_opened(workspace.store / storage.ONLINE_DB)) as connection:
            tables = dict(connection.execute("select name, sql from sqlite_master where type = 'table'").fetchall())
    except sqlite3.Error:
        return {}
    names = {entity: sqlite_table(storage.project(workspace), entity) for entity in entities}
    return {entity: tables[name] for entity, name in names.items() if name in tables}


def _opened(path: Path) -> sqlite3.Connection:
    """For reading; a file that is not there is not made."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
