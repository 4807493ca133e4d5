"""The commands of this room; heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from features.console import (
    Instant,
    emit,
    engine_option,
    json_option,
    note,
    progress,
    results,
    step,
    work_option,
    workspace_option,
)
from features.engine import Name
from features.settings import Workspace


@click.command()
@click.option("--adapter", default="canonical", show_default=True, help="A shipped adapter, or a folder of your own.")
@click.option("--from", "source", type=click.Path(path_type=Path), help="The folder of the CRM's export, if there is one yet.")
@click.option("--workspace", "root", type=click.Path(path_type=Path), default=".", show_default=True, help="The folder to begin.")
def init(adapter: str, source: Path | None, root: Path) -> None:
    """Begin a workspace: write its foresell.toml, a tour of every setting.

    \b
    Example:
      foresell init --adapter olist --from exports/olist --workspace W
      foresell init --adapter odoo --workspace W
    """
    from features.tour import init as write_settings

    step(f"wrote {write_settings(root, adapter, source)}; next: foresell ingest --workspace {root}")


@click.command()
@work_option
@click.option("--from", "sources", multiple=True, metavar="SOURCE", help="Pull what changed there first; may be given again.")
@click.option("--dry-run", is_flag=True, help="Only say what would be pulled.")
@json_option
def ingest(workspace: Workspace, sources: Sequence[str], dry_run: bool, as_json: bool) -> None:
    """Read the CRM's export into tables that keep their contracts: all of them, or none.

    With --from, records that changed at a source since the last pull are put into the export before: at a [pull.NAME] of
    foresell.toml, or in the tables of a database whose address is given.

    \b
    Example:
      foresell ingest --workspace W
      foresell ingest --from odoo --dry-run --workspace W
      foresell ingest --from odoo --workspace W
      foresell ingest --from 'postgresql://crm:${PASSWORD}@db/shop' --workspace W
    """
    from features.adapter import Adapter
    from features.ingest import run

    now = datetime.now(UTC)
    pulled = {name: _pull(workspace, name, now, dry_run=dry_run) for name in sources}
    if dry_run:
        if not sources:
            raise click.UsageError("--dry-run says what --from would pull; name a source")
        if as_json:
            emit({"would_pull": pulled})
        return
    with progress("ingest", len(Adapter.find(workspace.root, workspace.settings).scripts())) as tick:
        catalog = run(workspace, now, tick)
    for table in catalog.tables.values():
        before = "" if table.previous_rows is None else f", {table.previous_rows:,} last time"
        merged = f", {table.merged:,} duplicates merged" if table.merged else ""
        step(f"{table.name}: {table.rows:,} rows{before}{merged}")
    for fact in catalog.notes:
        note(fact)
    step(f"version {catalog.version}, observed until {catalog.now:%Y-%m-%d %H:%M} UTC")
    if as_json:
        told = {**asdict(catalog), "attributes": {table: sorted(names) for table, names in catalog.attributes.items()}}
        emit({**told, **({"pulled": pulled} if pulled else {})})


def _pull(workspace: Workspace, name: str, now: datetime, *, dry_run: bool) -> list[dict[str, Any]]:
    """Pull from a source, and say what came of it."""
    from features.sources.pull import pull

    found = pull(workspace, name, now, time.monotonic, time.sleep, progress, dry_run=dry_run)
    for one in found:
        step(one.told)
    return [asdict(one) for one in found]


@click.command()
@work_option
@click.option("--as-of", "as_ofs", type=Instant(), multiple=True, help="Only these instants; may be given several times.")
@engine_option
@json_option
def snapshot(workspace: Workspace, as_ofs: Sequence[datetime], engine: Name, as_json: bool) -> None:
    """Build what was known before each as_of, and tell Feast.

    Without --as-of: every instant that training needs, and the newest one for scoring. What is up to date is left as it is.
    The newest snapshot is then put into the online store, unless it lies in a store of Spark's own.

    \b
    Example:
      foresell snapshot --workspace W
      foresell snapshot --workspace W --as-of 2018-05-15
    """
    from features import store
    from features.cohort import snapshot_as_ofs
    from features.snapshot import Built, build, to_build

    needed = snapshot_as_ofs(workspace)
    wanted = {entity: list(as_ofs) or instants for entity, instants in needed.items()}
    built = Built(0, 0, 0)
    with progress("snapshots", sum(to_build(workspace, instants, [entity]) for entity, instants in wanted.items())) as tick:
        for entity, instants in wanted.items():
            built = built + build(workspace, instants, tick, [entity], engine=engine)
    step(f"snapshots: {built.built:,} built, {built.kept:,} up to date, {built.rows:,} rows")
    if engine == "spark":
        from features.spark import store as spark_store

        spark_store.apply(workspace)
    if engine == "spark" and workspace.settings.spark.store:
        step(f"the online store is left as it is: the snapshots lie in {workspace.settings.spark.store}")
    else:
        store.apply(workspace)
        _materialize(workspace, max(instant for instants in wanted.values() for instant in instants))
    if as_json:
        told = {entity: [instant.isoformat() for instant in instants] for entity, instants in wanted.items()}
        emit({"built": built.built, "kept": built.kept, "rows": built.rows, "as_ofs": told})


def _materialize(workspace: Workspace, newest: datetime) -> None:
    from features import store

    with progress("online store", sum(len(ids) for ids in store.population(workspace, newest).values())) as tick:
        put = store.materialize(workspace, newest, tick)
    at = f"as of {newest:%Y-%m-%d %H:%M} UTC"
    for done in put:
        newer = f", {done.newer:,} left, for theirs are of a later as_of" if done.newer else ""
        step(f"online store, {done.entity}: {done.written:,} written, {done.same:,} the same{newer}; {at}")


@click.group()
def features() -> None:
    """List the features, or describe one."""


@features.command("list")
@workspace_option
@click.option("--entity", type=click.Choice(["lead", "customer"]), help="Only features of this entity.")
@json_option
def list_features(workspace: Workspace, entity: str | None, as_json: bool) -> None:
    """List every feature of the workspace: its view, type, unit and meaning.

    \b
    Example:
      foresell features list --workspace W --entity lead
    """
    from rich.table import Table

    from features.catalog import Catalog
    from features.views import views

    present = [view for view in views(workspace, Catalog.load(workspace)) if entity in (None, view.entity)]
    if as_json:
        emit({view.name: {f.name: [f.dtype, f.unit, f.meaning] for f in view.columns} for view in present})
        return
    table = Table("entity", "view", "feature", "type", "unit", "meaning")
    for view in present:
        for feature in view.columns:
            table.add_row(view.entity, view.name, feature.name, feature.dtype, feature.unit, feature.meaning)
    results().print(table)


@features.command()
@workspace_option
@click.argument("name")
@json_option
def describe(workspace: Workspace, name: str, as_json: bool) -> None:
    """Describe one feature: its meaning, its table, its time bounds, its phrases and its SQL.

    \b
    Example:
      foresell features describe logins_change_90d --workspace W
    """
    from features.catalog import Catalog
    from features.views import describe as describe_feature

    described = describe_feature(workspace, Catalog.load(workspace), name)
    if as_json:
        emit({"features": described})
        return
    for facts in described:
        width = max(len(key) for key in facts)
        for key, text in facts.items():
            results().print(f"[bold]{key:<{width}}[/]  ", end="")
            results().print(text, markup=False, highlight=False, soft_wrap=True)
        results().print()


COMMANDS: tuple[click.Command, ...] = (init, ingest, snapshot, features)
