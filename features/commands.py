"""The commands of this room; heavy libraries are imported inside the command that needs them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from features.console import Instant, emit, json_option, messages, progress, results, step, workspace_option
from features.settings import Workspace


@click.command()
@workspace_option
@json_option
@click.pass_context
def check(ctx: click.Context, workspace: Workspace, as_json: bool) -> None:
    """Check the ingested tables: what is wrong, what it costs, how to mend it.

    Prints a usability report and writes data docs. Exit code 1 if there are errors: train and score refuse such tables.
    Warnings cost only the rows or the attributes they name.

    \b
    Example:
      foresell check --workspace W
      foresell check --workspace W --json
    """
    from features import quality
    from features.catalog import Catalog
    from features.usability import show

    catalog = Catalog.load(workspace)
    with messages().status(f"checking {len(catalog.tables)} tables"):
        usability = quality.check(workspace, catalog.now)
    if as_json:
        emit(usability.as_dict())
    else:
        show(usability, results())
        step(f"data docs: open {usability.docs} in a browser")
    if not usability.usable:
        ctx.exit(1)


@click.command()
@workspace_option
@click.option("--as-of", "as_ofs", type=Instant(), multiple=True, help="Only these instants; may be given several times.")
@json_option
def snapshot(workspace: Workspace, as_ofs: Sequence[datetime], as_json: bool) -> None:
    """Build what was known before each as_of, and tell Feast.

    Without --as-of: every instant that training needs, and the newest one for scoring. What is up to date is left as it is.
    The newest snapshot is then put into the online store.

    \b
    Example:
      foresell snapshot --workspace W
      foresell snapshot --workspace W --as-of 2018-05-15
    """
    from features import store
    from features.catalog import Catalog
    from features.cohort import snapshot_as_ofs
    from features.snapshot import build
    from features.views import views

    catalog = Catalog.load(workspace)
    instants = list(as_ofs) or snapshot_as_ofs(workspace)
    present = [view for view in views(workspace, catalog) if not view.external]
    with progress("snapshots", len(instants) * len(present)) as tick:
        built = build(workspace, instants, tick)
    step(f"snapshots: {built.built} built, {built.kept} up to date, {built.rows:,} rows, {len(instants)} instants")
    store.apply(workspace)
    newest = max(instants)
    with progress("online store", len({view.entity for view in present})) as tick:
        store.materialize(workspace, newest, tick)
    step(f"online store: as of {newest:%Y-%m-%d %H:%M} UTC")
    if as_json:
        emit({"built": built.built, "kept": built.kept, "rows": built.rows, "as_ofs": [a.isoformat() for a in instants]})


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


COMMANDS: tuple[click.Command, ...] = (check, snapshot, features)
