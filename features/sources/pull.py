"""The pull: what changed at a source since the last time becomes files of the export, one file a kind of record.

No tool such as dlt does this: it brings thirteen packages more for what is one loop here, and its cursor would lie elsewhere than
what it is the cursor of. No vendor's client either: the write-back says why.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import duckdb

from features.adapter import Adapter
from features.console import Watch
from features.database import connect
from features.errors import BusyError, WorkspaceError, nearest
from features.forgetting.forgotten import Forgotten
from features.forgetting.person import is_telling
from features.remote.pace import Clock, Sleep
from features.settings import Workspace
from features.sources.opening import open_source
from features.sources.patience import Patience
from features.sources.pulled import Pulled
from features.sources.settings import AnySource, HttpSource, SqlSource, digest
from features.sources.source import Kind, Record, Row, Source, Window, instant, pages
from features.tables import ENTITIES

FOLDER, LOCK = "pulled", ".lock"
ADDRESSES = ("postgresql://", "postgresql+psycopg://", "postgres://", "sqlite://")


@dataclass(frozen=True)
class Found:
    """What a source has of one kind, or what was pulled of it.

    Attributes:
        stem: the export's file.
        name: what the source calls the records.
        since: the time of change from which on they were asked for; None for all there is.
        records: how many changed since; deleted ones come on top.
        versions: how many of them said something new; None where nothing was pulled.
    """

    stem: str
    name: str
    since: datetime | None
    records: int
    versions: int | None = None

    @property
    def told(self) -> str:
        """In words."""
        since = f"changed since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else "from the beginning"
        if self.versions is None:
            return f"{self.name}: {self.records:,} to pull into {self.stem}, {since}"
        return f"{self.name}: {self.records:,} pulled into {self.stem}, {since}; {self.versions:,} say something new"


def source_settings(workspace: Workspace, name: str) -> tuple[str, AnySource]:
    """The settings of a source by its name in `[pull]`, or of a database by its address; and what it is called.

    Raises:
        WorkspaceError: there is none of that name.
    """
    known = workspace.settings.pull
    if name in known:
        return name, known[name]
    if name.startswith(ADDRESSES):
        return "sql", SqlSource(of="sql", database=name)
    near, scheme = nearest(name, known), name.partition("://")[0]
    if scheme != name:
        raise WorkspaceError(
            f"source {scheme}://***",  # it may hold a password
            expected=f"an address that begins with one of {', '.join(ADDRESSES)}",
            received=f"{scheme}://",
            repair="put what it has into one of these, or into files of the export",
        )
    raise WorkspaceError(
        f"source {name!r}",
        expected=f"a `[pull.NAME]` of foresell.toml ({', '.join(known) or 'there is none'}), or the address of a database",
        received="no such source",
        repair=f"write `{near}`" if near else f'add [pull.{name}] with `of = "odoo"`, "hubspot", "salesforce" or "sql"',
    )


def pull(
    workspace: Workspace, name: str, now: datetime, clock: Clock, sleep: Sleep, progress: Watch, *, dry_run: bool = False
) -> list[Found]:
    """Pull what changed at a source into the export's folder; with `dry_run` only say what there is.

    Args:
        workspace: its settings name the source and the adapter, which says what is needed.
        name: of the source, or the address of a database.
        now: when the pull begins; a later time of change says nothing about how far the source has come.
        clock: seconds that only grow.
        sleep: waits so many seconds.
        progress: opens a progress bar.
        dry_run: nothing is pulled.

    Raises:
        SourceError: the source refuses, lets nobody in, or stays busy; what was pulled so far is kept.
        WorkspaceError: the settings are wrong, or name another source than the one that was pulled before.
        BusyError: another pull from it is at work.
    """
    called, settings = source_settings(workspace, name)
    where = f"[pull.{called}]"
    attempts = settings.attempts if isinstance(settings, HttpSource) else 1
    patience = Patience(where, attempts, sleep)
    stems = frozenset(stem for script in Adapter.find(workspace.root, workspace.settings).scripts() for stem in script.stems)
    folder = workspace.root / "data" / FOLDER / called
    with closing(open_source(workspace, where, settings, clock, sleep)) as source:
        kinds = patience.ask("its records", lambda: source.kinds(stems))
        if dry_run:
            return [_Kind(workspace, folder, where, settings, source, kind, patience, now).found() for kind in kinds]
        with _alone(folder, where), connect(workspace) as connection:
            return [
                _Kind(workspace, folder, where, settings, source, kind, patience, now).pull(connection, progress)
                for kind in kinds
            ]


class _Kind:
    """The pull of one kind of record with its children."""

    def __init__(
        self,
        workspace: Workspace,
        folder: Path,
        where: str,
        settings: AnySource,
        source: Source,
        kind: Kind,
        patience: Patience,
        now: datetime,
    ) -> None:
        self._export, self._source, self._kind, self._patience = workspace.source, source, kind, patience
        self._forgotten = Forgotten(workspace)
        place, columns = digest(settings.place), digest(kind)
        self._pulled = {one.stem: Pulled(folder, one, place, columns, now) for one in (kind, *kind.children)}
        own = self._pulled[kind.stem]
        if own.state.place not in ("", place):
            raise _another_place(where, own.file, folder)
        for one in self._pulled.values():
            if not one.owns(self._file(one.kind.stem)):
                raise _not_ours(where, self._file(one.kind.stem))
        reached = own.reached() or own.cursor
        self._since = reached and reached - settings.overlap

    def found(self) -> Found:
        """What there is."""
        counted = self._patience.ask(self._kind.name, lambda: self._source.count(self._kind, self._since))
        return Found(self._kind.stem, self._kind.name, self._since, counted)

    def pull(self, connection: duckdb.DuckDBPyConnection, progress: Watch) -> Found:
        """Put every page aside, then merge them all."""
        found, records = self.found(), 0
        with progress(f"pull {self._kind.name}", found.records) as tick:
            for page, gone in self._pages():
                self._put(page, gone=gone)
                tick(len(page))
                records += len(page)
        self._export.mkdir(parents=True, exist_ok=True)
        new = 0
        for stem in [*(child.stem for child in self._kind.children), self._kind.stem]:
            new = self._pulled[stem].publish(connection, self._file(stem), versions=self._source.versions)
        return Found(found.stem, found.name, found.since, records, new)

    def _file(self, stem: str) -> Path:
        return self._export / f"{stem}.parquet"

    def _pages(self) -> Iterator[tuple[list[Record], bool]]:
        """Pages of records, and whether they are gone."""
        source, kind = self._source, self._kind
        for page in pages(partial(_asked, source, kind, self._patience), source.limit, source.unit, self._since):
            yield page, False
        after: str | None = None
        more = True
        while more:
            gone, after = self._patience.ask(kind.name, partial(source.gone, kind, after))
            if gone:
                yield gone, True
            more = after is not None

    def _put(self, page: list[Record], *, gone: bool) -> None:
        """Children first: what has come so far is told by the records themselves."""
        for child in self._kind.children:
            rows = [row for record in page for row in record.children.get(child.stem, ()) if not self._is_forgotten(row)]
            if rows:
                self._pulled[child.stem].add(((row, instant(row[child.modified])) for row in rows), gone=gone)
        kept = [record for record in page if not self._is_forgotten(record.row)]
        self._pulled[self._kind.stem].add(((record.row, record.modified) for record in kept), gone=gone)

    def _is_forgotten(self, row: Row) -> bool:
        """Whether a row names somebody who is forgotten: what a source calls its ids only the adapter knows, so any text counts.

        An id that is too short to be told from other numbers is left to ingest.
        """
        if not len(self._forgotten):
            return False
        texts = [text for text in row.values() if text is not None and is_telling(text)]
        return any(self._forgotten.among(entity, texts) for entity in ENTITIES)


def _asked(source: Source, kind: Kind, patience: Patience, window: Window) -> list[Record]:
    return patience.ask(kind.name, partial(source.page, kind, window))


@contextmanager
def _alone(folder: Path, where: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(
                where, expected="one pull at a time", received="another one at work", repair="wait until it has finished"
            ) from None
        yield


def _another_place(where: str, file: Path, folder: Path) -> WorkspaceError:
    return WorkspaceError(
        where,
        expected="the source that was pulled before",
        received=f"another address or database than that of {file}",
        repair=f"give the other source another name, or remove {folder} and its files in the export, to begin anew",
    )


def _not_ours(where: str, file: Path) -> WorkspaceError:
    return WorkspaceError(
        where,
        expected="an export of its own: files that it wrote, or none",
        received=f"{file}, which it did not write",
        repair=f"move it away, name another `source`, or add `{file.stem}` to `skip`",
    )
