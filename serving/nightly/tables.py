"""The steps that see to the tables: ingest, check, and whether anything is late."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from features import ingest, quality
from features.adapter import Adapter, adapter_folder
from features.catalog import CATALOG_FILE, Catalog
from features.console import Watch
from features.database import connect, quote
from features.errors import ForesellError, QualityError, SourceError, TableError
from features.export import Export
from features.settings import Workspace, parse_instant
from features.sources.pull import pull
from features.usability import Usability
from serving.nightly.index import digests
from serving.nightly.step import Facts, Made, release
from serving.partition import digest

INDEX = "export.json"


def reads_export(workspace: Workspace) -> bool:
    """Whether there is an export to ingest: pulled, or its folder is named in foresell.toml, or has the name by default."""
    return bool(workspace.settings.pull) or "source" in workspace.settings.model_fields_set or workspace.source.is_dir()


def newest_as_of(workspace: Workspace, now: datetime) -> datetime:
    """The as_of of a night that is not told one: the newest midnight, in UTC, up to which the tables tell, or will tell.

    Raises:
        TableError: there is no export, and nothing has been ingested.
        WorkspaceError: the adapter is wrong.
    """
    if not reads_export(workspace):
        return Catalog.load(workspace).midnight
    told = _declared_now(workspace) or now.astimezone(UTC)
    return told.replace(hour=0, minute=0, second=0, microsecond=0)


def _declared_now(workspace: Workspace) -> datetime | None:
    text = workspace.settings.now or Adapter.find(workspace.root, workspace.settings).file.now
    return parse_instant(text) if text else None


@dataclass(frozen=True)
class Pull:
    """What changed at a source is put into the export, once a night."""

    workspace: Workspace
    source: str
    as_of: datetime
    now: datetime
    stops: bool = True

    @property
    def name(self) -> str:
        return f"pull {self.source}"

    def inputs(self) -> Facts:
        settings = self.workspace.settings.pull[self.source].model_dump(mode="json")
        return {"as_of": self.as_of.isoformat(), "settings": settings, "release": release()}

    def is_there(self, outputs: Facts) -> bool:
        return self.workspace.source.is_dir()

    def run(self, progress: Watch) -> Made:
        """Pull; if the settings say to score with what is there, the export of before does where the source does not answer."""
        try:
            found = pull(self.workspace, self.source, self.now, time.monotonic, time.sleep, progress)
        except SourceError as error:
            if self.workspace.settings.nightly.late == "refuse" or not _has_tables(self.workspace):
                raise
            late = f"nothing new of {self.source} ({error.where}: {error.received}); what was pulled before is used"
            return Made(0, {}, "nothing pulled", (late,), {self.name: error})
        records, new = sum(one.records for one in found), sum(one.versions or 0 for one in found)
        return Made(records, {}, f"{records:,} records pulled, {new:,} new versions")


@dataclass(frozen=True)
class Ingest:
    """The export becomes tables. `now` is up to when it tells, unless the settings or the adapter say so."""

    workspace: Workspace
    as_of: datetime
    now: datetime
    name: str = "ingest"
    stops: bool = True

    def inputs(self) -> Facts:
        settings = self.workspace.settings.model_dump(mode="json", include={"adapter", "source", "now", "ingest", "attributes"})
        adapter = adapter_folder(self.workspace.root, self.workspace.settings)
        return {"export": self._export(), "adapter": _digests(adapter.rglob("*")), "settings": settings, "release": release()}

    def is_there(self, outputs: Facts) -> bool:
        """The same tables are in force, and tell as far as is asked; with a "now" that is not declared a new export is needed."""
        if not _has_tables(self.workspace):
            return False
        catalog = Catalog.load(self.workspace)
        files = all(catalog.path(self.workspace, name).is_file() for name in catalog.tables)
        reaches = catalog.now >= self.as_of or _declared_now(self.workspace) is not None
        return catalog.version == outputs["version"] and files and reaches

    def run(self, progress: Watch) -> Made:
        """Ingest; if the settings say to score with what is there, tables of before do where the export does not."""
        try:
            Export.open(self.workspace.source)
        except TableError as missing:
            return self._without(missing, {})
        try:
            with progress("ingest", len(Adapter.find(self.workspace.root, self.workspace.settings).scripts())) as tick:
                catalog = ingest.run(self.workspace, self.now, tick)
        except TableError as wrong:
            return self._without(wrong, {self.name: wrong})
        rows = sum(table.rows for table in catalog.tables.values())
        return Made(rows, {"version": catalog.version}, f"{rows:,} rows in {len(catalog.tables)} tables, {catalog.version}")

    def _without(self, error: TableError, failures: dict[str, ForesellError]) -> Made:
        if self.workspace.settings.nightly.late == "refuse" or not _has_tables(self.workspace):
            raise error
        catalog = Catalog.load(self.workspace)
        late = f"no new export ({error.where}: {error.received}); the tables of the last one are used"
        return Made(0, {"version": catalog.version}, f"no new export; tables {catalog.version} stay", (late,), failures)

    def _export(self) -> dict[str, str]:
        folder = self.workspace.source
        files = [path for path in sorted(folder.iterdir()) if path.is_file()] if folder.is_dir() else []
        return digests(files, self.workspace.nightly / INDEX, self.now)


@dataclass(frozen=True)
class Check:
    """The tables may be used."""

    workspace: Workspace
    name: str = "check"
    stops: bool = True

    def inputs(self) -> Facts:
        catalog = Catalog.load(self.workspace)
        return {"catalog": catalog.version, "now": catalog.observed_until, "release": release()}

    def is_there(self, outputs: Facts) -> bool:
        """The last check was of all that the catalog says now, also of the row counts of before."""
        last, present = Usability.last(self.workspace), Catalog.load(self.workspace).digest
        return last is not None and last.usable and last.catalog == present and Path(last.docs).is_file()

    def run(self, progress: Watch) -> Made:
        catalog = Catalog.load(self.workspace)
        with progress("check", len(catalog.tables)) as tick:
            usability = quality.check(self.workspace, catalog.now)
            tick(len(catalog.tables))
        if not usability.usable:
            raise usability.refuse(self.workspace)
        rows, warnings = sum(usability.tables.values()), len(usability.warnings)
        return Made(rows, {}, f"usable, {warnings} warning{'s' * (warnings != 1)}")


@dataclass(frozen=True)
class Freshness:
    """No table is older at the as_of than the settings allow."""

    workspace: Workspace
    as_of: datetime
    name: str = "freshness"
    stops: bool = True

    def inputs(self) -> Facts:
        settings = self.workspace.settings.nightly.model_dump(mode="json", include={"late_after", "late_after_of", "late"})
        catalog = Catalog.load(self.workspace)
        return {
            "catalog": catalog.version,
            "now": catalog.observed_until,
            "as_of": self.as_of.isoformat(),
            "settings": settings,
            "release": release(),
        }

    def is_there(self, outputs: Facts) -> bool:
        return True

    def run(self, progress: Watch) -> Made:
        newest, until = self._newest(), Catalog.load(self.workspace).now
        late = [_sentence(table, at, self.as_of) for table, at in newest.items() if self._is_late(table, at)]
        told = f"{len(late)} of {len(newest)} tables late" if late else f"no table of {len(newest)} is late"
        if late and self.workspace.settings.nightly.late == "refuse":
            raise self._refusal(late)
        if self.as_of > until:  # where that is to be refused, building the snapshot does
            late.append(f"every table: they tell up to {until:%Y-%m-%d %H:%M} UTC, {_age(self.as_of - until)} before the as_of")
        outputs = {"newest": {table: at and at.isoformat() for table, at in newest.items()}}
        return Made(len(newest), outputs, told, tuple(late))

    def _newest(self) -> dict[str, datetime | None]:
        """For each table, when the newest row that was known before the as_of became known."""
        catalog, found = Catalog.load(self.workspace), {}
        with connect(self.workspace) as connection:
            for name in catalog.tables:
                path = quote(str(catalog.path(self.workspace, name)))
                query = f"select max(known_at) from read_parquet('{path}') where known_at < ?"
                row = connection.execute(query, [self.as_of.astimezone(UTC).replace(tzinfo=None)]).fetchone()
                found[name] = row[0].replace(tzinfo=UTC) if row and row[0] else None
        return found

    def _is_late(self, table: str, newest: datetime | None) -> bool:
        age = self.workspace.settings.nightly.age(table)
        return age is not None and (newest is None or self.as_of - newest > age)

    def _refusal(self, late: list[str]) -> QualityError:
        again = (
            f"run `foresell nightly --as-of {self.as_of:%Y-%m-%dT%H:%M:%S} --workspace {shlex.quote(str(self.workspace.root))}`"
        )
        return QualityError(
            f"workspace {self.workspace.root}",
            expected="tables as new as `late_after` in [nightly] of foresell.toml demands",
            received="; ".join(late),
            repair=f'deliver them and {again} again, or set `late = "score"` to score with what is there',
        )


def _sentence(table: str, newest: datetime | None, as_of: datetime) -> str:
    if newest is None:
        return f"{table}: nothing was known"
    return f"{table}: the newest row became known {newest:%Y-%m-%d %H:%M} UTC, {_age(as_of - newest)} before the as_of"


def _age(age: timedelta) -> str:
    hours = age / timedelta(hours=1)
    return f"{hours:.0f} hours" if hours < 72 else f"{age.days} days"


def _has_tables(workspace: Workspace) -> bool:
    return (workspace.tables / CATALOG_FILE).is_file()


def _digests(paths: Iterator[Path]) -> dict[str, str]:
    return {path.name: digest(path) for path in sorted(paths) if path.is_file() and "__pycache__" not in path.parts}
