"""Ingest: an export becomes tables that keep their contracts, all of them at once or none of them.

The same export gives the same version, whatever the order of its rows. Whatever goes wrong, and a kill at any moment, leaves the
last catalog and its tables as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from features import publication, versions
from features.adapter import Adapter, Script
from features.catalog import Catalog, StoredTable
from features.console import Tick
from features.database import connect, quote
from features.delivery import Delivery
from features.errors import TableError, WorkspaceError
from features.export import Export
from features.forgetting.forgotten import Forgotten
from features.forgetting.tables import leave_out
from features.reading import readings
from features.settings import Attribute, IngestSettings, Workspace, parse_instant
from features.tables import ENTITY_TABLES

Attributes = Mapping[str, Mapping[str, Attribute]]


def run(workspace: Workspace, now: datetime, tick: Tick = lambda units: None) -> Catalog:
    """Read the workspace's export through its adapter, check it, store it, and return the new catalog.

    Args:
        workspace: its settings name the adapter and the export.
        now: up to when outcomes are recorded, unless foresell.toml or adapter.toml says so.
        tick: called with 1 for each of the adapter's scripts, whether it ran or was left out.

    Raises:
        TableError: the export does not fit the contract of a table.
        WorkspaceError: the adapter or the settings are wrong, or another ingest is at work.
    """
    adapter = Adapter.find(workspace.root, workspace.settings)
    attributes, rules = adapter.attributes(workspace.settings), adapter.rules(workspace.settings)
    export = Export.open(workspace.source, adapter.file.files)
    every = adapter.scripts()
    scripts, notes = ready(adapter, every, export)
    tick(len(every) - len(scripts))
    with publication.building(workspace) as folder, _connected(workspace, rules) as connection:
        stored = {}
        for script in scripts:
            declared, raw = attributes.get(script.table, {}), folder / f"{script.table}.raw"
            delivery = Delivery(connection, export, script, declared, rules, raw)
            delivery.extract()
            if script.may_be_empty and not delivery.count("true"):
                notes.append(f"{script.table}: left out, because no row of {export.names(script.stems)} belongs in it")
            else:
                stored[script.table], said = _store(delivery, folder)
                notes += said
            raw.unlink()
            tick(1)
        if not _entities(stored):
            raise _nobody(export, scripts)
        stored, left_out = _without_forgotten(workspace, connection, stored, folder)
        notes += left_out + _without_history(connection, attributes, stored, folder)
        catalog = Catalog(
            version=publication.digest(connection, stored, folder),
            adapter=adapter.name,
            observed_until=_observed_until(workspace, adapter, now).isoformat(),
            tables=stored,
            attributes={table: dict(attributes[table]) for table in stored if attributes.get(table)},
            notes=(*notes, *export.unended(stem for script in scripts for stem in script.stems)),
        )
        return publication.publish(workspace, folder, catalog)


def ready(adapter: Adapter, scripts: list[Script], export: Export) -> tuple[list[Script], list[str]]:
    """The scripts whose files are all there, and notes about optional tables and files that are left out.

    Raises:
        TableError: a required table misses a file, a file is nearly named as a missing one, or no entity's table is there.
    """
    taken = {stem for script in scripts for stem in script.stems}
    notes = []
    for script in scripts:
        for stem in export.missing(script.needed):
            near = export.near(stem, taken)
            if near is not None or script.table in adapter.file.required:
                raise _no_file(export, script, stem, near)
        if lacking := _lacking(script, export):
            notes.append(f"{script.table}: left out, because the export has no {', '.join(lacking)}")
        elif export.missing(script.stems):
            notes.append(f"{script.table}: filled without {', '.join(export.missing(script.stems))}, which the export has not")
    unread = set(export.files) - taken
    if unread:
        notes.append(f"not read by any script: {export.names(unread)}")
    found = [script for script in scripts if not _lacking(script, export)]
    if not _entities(script.table for script in found):
        raise _no_entity(adapter, export, scripts)
    return found, notes


def _lacking(script: Script, export: Export) -> list[str]:
    """The files for want of which a script cannot run: those it needs, and all of them if it needs none and there is none."""
    lacking = export.missing(script.stems)
    return lacking if len(lacking) == len(script.stems) else export.missing(script.needed)


def _entities(tables: Iterable[str]) -> set[str]:
    """Those of the tables that hold leads or customers."""
    return {*tables} & {table.name for table in ENTITY_TABLES.values()}


@contextmanager
def _connected(workspace: Workspace, rules: IngestSettings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection for which a time without a zone is local to the export."""
    with connect(workspace) as connection:
        try:
            connection.execute(f"set TimeZone = '{quote(rules.timezone)}'")
        except duckdb.Error as problem:
            raise WorkspaceError(
                "[ingest], key `timezone`",
                expected="the name of a time zone, such as Europe/Berlin",
                received=repr(rules.timezone),
                repair=str(problem).rpartition("\n")[2] or "check the spelling",
            ) from None
        yield connection


def _store(delivery: Delivery, folder: Path) -> tuple[StoredTable, list[str]]:
    """Check and write one table; what was stored, and notes."""
    name = delivery.table
    left_out = delivery.check_columns()
    columns, decided = readings(delivery)
    target = folder / f"{name}.parquet"
    merged = versions.store(delivery, columns, target)
    source = f"read_parquet('{quote(str(target))}')"
    types = {row[0]: row[1] for row in delivery.connection.execute(f"describe from {source}").fetchall()}
    rows = delivery.connection.execute(f"select count(*) from {source}").fetchone() or (0,)
    stored = StoredTable(name, target.name, rows[0], types, merged.rows)
    return stored, left_out + decided + ([merged.note(name)] if merged.rows else [])


def _without_forgotten(
    workspace: Workspace, connection: duckdb.DuckDBPyConnection, stored: Mapping[str, StoredTable], folder: Path
) -> tuple[dict[str, StoredTable], list[str]]:
    """The tables without the rows of whom `foresell forget` was told to forget, and a note for each that had some."""
    files = {name: folder / table.file for name, table in stored.items()}
    touched = leave_out(connection, files, Forgotten(workspace))
    counts = {name: connection.execute(f"select count(*) from '{quote(str(files[name]))}'").fetchone() for name in touched}
    kept = {name: replace(table, rows=(counts.get(name) or (table.rows,))[0]) for name, table in stored.items()}
    return kept, [f"{name}: {rows:,} rows of people who are forgotten were left out" for name, rows in touched.items()]


def _without_history(
    connection: duckdb.DuckDBPyConnection, attributes: Attributes, stored: Mapping[str, StoredTable], folder: Path
) -> list[str]:
    """A note for each attribute that cannot become a feature, because it may change and no history says when."""
    history = set()
    if "attribute_history" in stored:
        source = f"read_parquet('{quote(str(folder / stored['attribute_history'].file))}')"
        history = set(connection.execute(f"select distinct entity, field from {source}").fetchall())
    return [
        f"{table}.{name}: no feature, because it is not declared `fixed` and attribute_history has no values of it"
        for entity, table in ((entity, contract.name) for entity, contract in ENTITY_TABLES.items())
        if table in stored
        for name, attribute in attributes.get(table, {}).items()
        if not attribute.fixed and (entity, name) not in history
    ]


def _observed_until(workspace: Workspace, adapter: Adapter, now: datetime) -> datetime:
    declared = workspace.settings.now or adapter.file.now
    return parse_instant(declared) if declared else now.astimezone(UTC)


def _no_file(export: Export, script: Script, stem: str, near: Path | None) -> TableError:
    return TableError(
        f"export {export.folder}, table {script.table}",
        expected=f"a file `{stem}` in any format, which {script.name} reads",
        received=f"{near.name}, which nothing reads" if near else f"files {export.names(export.files)}",
        repair=f"rename {near.name} to {stem} if that is what it is, otherwise remove it" if near else "add it to the export",
    )


def _no_entity(adapter: Adapter, export: Export, scripts: list[Script]) -> TableError:
    wanted = {script.table: sorted(script.stems) for script in scripts}
    needs = "; ".join(f"{table} from {', '.join(wanted[table])}" for table in ("leads", "customers") if table in wanted)
    return TableError(
        f"export {export.folder}",
        expected=f"leads or customers ({needs})",
        received=f"files {export.names(export.files)}",
        repair=f"correct `source` in foresell.toml, choose another adapter than {adapter.name}, or rename the files",
    )


def _nobody(export: Export, scripts: list[Script]) -> TableError:
    read = {stem for script in scripts if _entities([script.table]) for stem in script.stems}
    return TableError(
        f"export {export.folder}",
        expected=f"at least one lead or customer in {export.names(read)}",
        received="none: there is no row, or every one is deleted or merged into another",
        repair="look into these files, and export them again",
    )
