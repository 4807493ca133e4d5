"""Snapshots: one row per entity per as_of, what was known before that instant; one Parquet file per view and as_of.

A snapshot is built once, and again only if the view's SQL, or something that was known before its as_of, changed (`manifest`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet

from features.catalog import Catalog
from features.compile import view_sql
from features.console import Tick
from features.database import connect, quote
from features.engine import MEMORY, DuckdbEngine, Engine, Folder, Name, file, label
from features.errors import CallError, SnapshotError
from features.feature import View
from features.lock import waited
from features.manifest import Manifest, digest
from features.settings import Workspace
from features.tables import ENTITIES, ENTITY_TABLES, TABLES
from features.views import view_of, views

ROWS_PER_STATEMENT = 2_000_000
EXTERNAL_FILE = "table.parquet"


@dataclass(frozen=True)
class Built:
    """What a build did: snapshot files built, found up to date, and rows written."""

    built: int
    kept: int
    rows: int

    def __add__(self, other: Built) -> Built:
        return Built(self.built + other.built, self.kept + other.kept, self.rows + other.rows)


def build(
    workspace: Workspace, as_ofs: Sequence[datetime], tick: Tick = lambda _: None, entities: Sequence[str] = ENTITIES,
    *, beyond: bool = False, engine: Name = "duckdb",
) -> Built:  # fmt: skip
    """Build the snapshots of every view at these instants, leaving what is up to date.

    Args:
        workspace: with ingested tables.
        as_ofs: instants in UTC.
        tick: called with 1 for every view and as_of that is done; `to_build` tells how many there are.
        entities: only the views of these.
        beyond: whether an as_of may lie after everything that the tables tell: what is known then is what they told last.
        engine: what runs the SQL; both build the same rows.

    Raises:
        TableError: nothing has been ingested.
        FeatureError: a declaration cannot be compiled.
        CallError: an as_of lies after everything that the tables tell, or Spark cannot be started.
    """
    total = Built(0, 0, 0)
    catalog = Catalog.load(workspace)
    if not beyond:
        _require_known(catalog, as_ofs)
    with alone(workspace), _opened(workspace, catalog, engine) as opened:
        builder = _Builder(catalog, opened, sorted(set(as_ofs)))
        for view in _views(workspace, catalog, entities):
            total = total + builder.build(view, tick)
    return total


def remove(workspace: Workspace, as_ofs: Sequence[datetime]) -> int:
    """Remove the snapshots of every view at these instants; a build makes them again. Returns how many files that were."""
    folders = [folder for folder in workspace.snapshots.glob("*/*") if folder.is_dir()]
    there = {folder: [path for as_of in as_ofs for path in files(folder, as_of)] for folder in folders}
    if any(there.values()):
        with alone(workspace):
            for folder, paths in there.items():
                if paths:
                    Manifest(folder).forget([file(as_of) for as_of in as_ofs])
                for path in paths:
                    path.unlink()
    return sum(map(len, there.values()))


def to_build(workspace: Workspace, as_ofs: Sequence[datetime], entities: Sequence[str] = ENTITIES) -> int:
    """How many views and as_ofs a build goes through."""
    return len(set(as_ofs)) * len(_views(workspace, Catalog.load(workspace), entities))


def held(workspace: Workspace, as_of: datetime) -> dict[str, tuple[str, int] | None]:
    """For every view, what its file of an as_of was built from and how many rows it has; None where there is no such file."""
    found: dict[str, tuple[str, int] | None] = {}
    for view in _views(workspace, Catalog.load(workspace), ENTITIES):
        target = folder(workspace, view)
        known, size = Manifest(target).digest_of(file(as_of)), rows(target, as_of)
        found[view.name] = None if known is None or size is None else (known, size)
    return found


def read(workspace: Workspace, entity: str, as_ofs: Sequence[datetime], columns: Sequence[str]) -> pd.DataFrame:
    """Snapshot columns of every entity known at these instants.

    Returns:
        One row per entity per as_of, sorted by as_of and entity_id: `entity_id` (str), `as_of` (datetime64[us, UTC]) and the
        columns; numbers float64 with NaN for missing, categories str with None for missing.

    Raises:
        SnapshotError: a snapshot has not been built.
        FeatureError: no view of this entity has a column of that name.
    """
    with connect(workspace) as connection:
        frame = connection.execute(f"{select_sql(workspace, entity, as_ofs, columns)} order by as_of, entity_id").df()
    frame["as_of"] = frame["as_of"].astype("datetime64[us, UTC]")
    return frame


def select_sql(workspace: Workspace, entity: str, as_ofs: Sequence[datetime], columns: Sequence[str]) -> str:
    """SQL for the same rows as `read`, to be filtered or counted further.

    Raises:
        SnapshotError: a snapshot has not been built.
        FeatureError: no view of this entity has a column of that name.
    """
    present = views(workspace, Catalog.load(workspace))
    profile = next((view for view in present if view.entity == entity and view.is_profile), None)
    if profile is None:
        raise SnapshotError(
            f"snapshots of {entity}",
            expected=f"the table {ENTITY_TABLES[entity].name}",
            received="it was not in the export",
            repair=f"deliver {ENTITY_TABLES[entity].name} through the adapter and ingest again",
        )
    holders = [view for view in dict.fromkeys([view_of(present, entity, name) for name in columns]) if view != profile]
    _require_same_rows(workspace, [profile, *(view for view in holders if not view.external)], as_ofs)
    joins = "".join(_joined(workspace, profile, view, as_ofs) for view in holders)
    wanted = "".join(f', {view_of(present, entity, name).name}."{name}"' for name in dict.fromkeys(columns))
    name, files = profile.name, relation(workspace, profile, as_ofs)
    return f"select {name}.entity_id, {name}.event_timestamp as as_of{wanted} from {files} {name}{joins}"


def folder(workspace: Workspace, view: View) -> Path:
    """Where the snapshot files of a view lie: one Parquet file per as_of."""
    return workspace.snapshots / view.entity / view.name


def files(folder: Folder, as_of: datetime) -> list[Folder]:
    """The files of a snapshot that are there: one, or several of a large one."""
    whole = folder / file(as_of)
    return [whole, *folder.glob(f"{label(as_of)}-*.parquet")] if whole.is_file() else []


def instants(workspace: Workspace, entity: str) -> list[datetime]:
    """The as_ofs at which there is a snapshot of an entity's own table, oldest first."""
    profiles = [view for view in _views(workspace, Catalog.load(workspace), [entity]) if view.is_profile]
    stems = [path.stem for view in profiles for path in folder(workspace, view).glob("*.parquet") if "-" not in path.stem]
    return sorted(datetime.strptime(stem, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=UTC) for stem in stems)


def present(workspace: Workspace, entity: str, as_ofs: Sequence[datetime]) -> list[datetime]:
    """Those of some instants of which every view of an entity has a snapshot."""
    mine = _views(workspace, Catalog.load(workspace), [entity])
    return [as_of for as_of in as_ofs if all(files(folder(workspace, view), as_of) for view in mine)]


def history_start(workspace: Workspace, entity: str) -> datetime:
    """The first instant at which an entity was known; no snapshot before it has a row.

    Raises:
        SnapshotError: the entity's table is absent or empty.
    """
    catalog, table = Catalog.load(workspace), ENTITY_TABLES[entity]
    first = None
    if catalog.has(table.name):
        with connect(workspace) as connection:
            path = quote(str(catalog.path(workspace, table.name)))
            row = connection.execute(f"select min(greatest(known_at, {table.time})) from read_parquet('{path}')").fetchone()
            first = row[0] if row else None
    if first is None:
        raise SnapshotError(
            f"history of {entity}",
            expected=f"rows in {table.name}",
            received="none",
            repair=f"deliver {table.name} through the adapter and ingest again",
        )
    return first.replace(tzinfo=UTC)


def _joined(workspace: Workspace, profile: View, view: View, as_ofs: Sequence[datetime]) -> str:
    """A view's columns beside the profile's: those of the same as_of, or of an external table the newest before it."""
    left, right = profile.name, view.name
    if not view.external:
        return f" join {relation(workspace, view, as_ofs)} {right} using (entity_id, event_timestamp)"
    path = folder(workspace, view) / EXTERNAL_FILE
    if not path.is_file():
        raise _missing(workspace, view, "1 file", f"no {path.name}")
    # the copy is stamped one microsecond late, so that `>=` finds only what was known before the as_of
    return (
        f" asof left join read_parquet('{quote(str(path))}') {right} on {right}.entity_id = {left}.entity_id "
        f"and {left}.event_timestamp >= {right}.event_timestamp"
    )


def _require_same_rows(workspace: Workspace, holders: Sequence[View], as_ofs: Sequence[datetime]) -> None:
    """Every view has as many rows as the profile; a build that was killed half-way may have left fewer."""
    for as_of in dict.fromkeys(as_ofs):
        sizes = {view.name: rows(folder(workspace, view), as_of) for view in holders}
        if len(set(sizes.values()) - {None}) > 1:
            raise _missing(workspace, holders[0], f"as many rows in every view of {label(as_of)}", f"{sizes}")


def rows(folder: Folder, as_of: datetime) -> int | None:
    """How many rows a snapshot has; None where there is none."""
    return sum(map(_rows_of, found)) if (found := files(folder, as_of)) else None


def _rows_of(path: Folder) -> int:
    with path.open("rb") as opened:
        return int(pyarrow.parquet.read_metadata(opened).num_rows)


def relation(workspace: Workspace, view: View, as_ofs: Sequence[datetime]) -> str:
    """The snapshots of a view at these instants, as what stands after `from`.

    Raises:
        SnapshotError: a snapshot has not been built.
    """
    paths = {as_of: files(folder(workspace, view), as_of) for as_of in as_ofs}
    missing = [as_of for as_of, found in paths.items() if not found]
    if missing or not paths:
        received = f"{len(missing)} missing, for example {label(missing[0])}" if missing else "no as_of was asked for"
        raise _missing(workspace, view, f"{len(paths)} files", received, missing if len(missing) == 1 else ())
    return "read_parquet([" + ", ".join(f"'{quote(str(path))}'" for found in paths.values() for path in found) + "])"


def _missing(workspace: Workspace, view: View, expected: str, received: str, as_ofs: Sequence[datetime] = ()) -> SnapshotError:
    at = "".join(f" --as-of {as_of.astimezone(UTC):%Y-%m-%dT%H:%M:%S}" for as_of in as_ofs)
    repair = f"run `foresell snapshot{at} --workspace {workspace.root}`"
    return SnapshotError(f"snapshots of {view.name}", expected=expected, received=received, repair=repair)


def _require_known(catalog: Catalog, as_ofs: Sequence[datetime]) -> None:
    later = [as_of for as_of in as_ofs if as_of > catalog.now]
    if later:
        raise CallError(
            f"as_of {max(later):%Y-%m-%d %H:%M:%S} UTC",
            expected=f"an instant up to {catalog.now:%Y-%m-%d %H:%M:%S} UTC, where the tables end",
            received="a later one, of which nothing is known",
            repair="ask about an earlier instant, or ingest a newer export",
        )


def alone(workspace: Workspace) -> AbstractContextManager[None]:
    """One build at a time in a workspace; a second one waits, and then finds its snapshots up to date."""
    return waited(workspace.snapshots / ".lock")


@contextmanager
def _opened(workspace: Workspace, catalog: Catalog, name: Name) -> Iterator[Engine]:
    if name == "spark":
        from features.spark.engine import SparkEngine

        yield SparkEngine(workspace, catalog)
        return
    with connect(workspace, MEMORY) as connection:
        yield DuckdbEngine(workspace, catalog, connection)


def _views(workspace: Workspace, catalog: Catalog, entities: Sequence[str]) -> list[View]:
    return [view for view in views(workspace, catalog) if view.entity in entities and not view.external]


class _Builder:
    """One build: the engine, the tables and what was known of them before each as_of."""

    def __init__(self, catalog: Catalog, engine: Engine, as_ofs: Sequence[datetime]) -> None:
        self.catalog, self.engine, self.as_ofs = catalog, engine, as_ofs

    @cached_property
    def known(self) -> dict[str, list[str]]:
        """For each table and as_of, a digest of what was known."""
        return {name: self.engine.digests(name, self.as_ofs) if self.as_ofs else [] for name in self.catalog.tables}

    def build(self, view: View, tick: Tick) -> Built:
        """Build the files of one view that are missing or no longer right."""
        target = self.engine.snapshots / view.entity / view.name
        target.mkdir(parents=True, exist_ok=True)
        manifest, columns = Manifest(target), self.catalog.tables[view.table].columns
        manifest.drop_others(digest(duckdb.__version__, view_sql(view, dict.fromkeys(TABLES, ""), columns, [])))
        spine, version = ENTITY_TABLES[view.entity].name, [self.engine.version] if self.engine.version else []
        known = zip(self.known[view.table], self.known[spine], strict=True)
        wanted = {as_of: digest(*version, *pair) for as_of, pair in zip(self.as_ofs, known, strict=True)}
        stale = [as_of for as_of in self.as_ofs if not manifest.holds(file(as_of), wanted[as_of])]
        tick(len(wanted) - len(stale))
        manifest.forget([file(as_of) for as_of in stale])
        written, size = 0, max(1, ROWS_PER_STATEMENT // max(1, self.catalog.tables[spine].rows))
        for start in range(0, len(stale), size):
            chunk = stale[start : start + size]
            for part in (part for as_of in chunk for part in target.glob(f"{label(as_of)}-*.parquet")):
                part.unlink()
            for as_of in self.engine.write(view_sql(view, self.engine.relations, columns, chunk), target, chunk):
                written += rows(target, as_of) or 0
                manifest.add(file(as_of), wanted[as_of])
                tick(1)
            manifest.save()
        return Built(len(stale), len(wanted) - len(stale), written)
