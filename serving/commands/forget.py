"""`foresell forget`: the right to be forgotten."""

from __future__ import annotations

import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import click

from features.console import emit, json_option, note, results, step, workspace_option
from features.settings import Workspace

if TYPE_CHECKING:
    from features.forgetting.place import Place
    from serving.forgetting.receipt import Begun, Receipt


@click.command()
@click.argument("entity_id", metavar="ID")
@click.option("--entity", type=click.Choice(["lead", "customer"]), help="Whose id it is, where a lead and a customer have it.")
@click.option(
    "--linked/--alone", "links", default=None,
    help="Also those whom the tables link to the id, such as the customer that a lead became; or the id alone. One of the two "
    "has to be said where there are any.",
)  # fmt: skip
@click.option("--anyway", is_flag=True, help="Put an id on the list of the forgotten though it is nowhere yet.")
@click.option("--dry-run", is_flag=True, help="Show where the person is and which models were trained on them; remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask whether to go on.")
@workspace_option
@json_option
@click.pass_context
def forget(
    ctx: click.Context,
    entity_id: str,
    entity: Literal["lead", "customer"] | None,
    links: bool | None,
    anyway: bool,
    dry_run: bool,
    yes: bool,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Forget a person for good: in tables, snapshots, the online store, scores, the ledger, receipts and files.

    From then on no export, webhook or request brings them back: a list of keyed digests, without any id in clear, keeps them out.
    Models that were trained on them are listed; what is not within reach is named. The receipt in WORKSPACE/data/forgotten tells
    all of it, also without the id. May be killed at any moment and run again.

    It ends with 0 if a search of every file and store finds nothing, 1 if something is left, which it names, or somebody else
    holds the workspace, 2 if the call is wrong, or the id is nowhere.

    \b
    Example:
      foresell forget C100001 --workspace W --dry-run
      foresell forget C100001 --workspace W --linked --yes --json
    """
    from features.at_work import alone
    from features.lock import holder
    from serving.forgetting import forget as core

    if as_json and not (yes or dry_run):
        raise click.UsageError("--json asks nothing, so it goes with --yes or --dry-run")
    now = datetime.now(UTC)
    own = holder(_typed(entity_id), f"{now:%Y-%m-%d %H:%M:%S} UTC")
    with alone(workspace, own):
        asked = core.asked_for(workspace, entity_id, entity, anyway=anyway)
        person, begun = core.begin(workspace, asked, links, now, f"{own.user} on {own.host}", lambda what: None)
        if not as_json:
            _show(begun)
        if dry_run:
            if as_json:
                emit({"dry_run": True, **_document(begun)})
            return
        if not yes:
            click.confirm("Forget them for good?", abort=True, err=True)
        done, path = core.forget(
            workspace, person, begun, lambda: datetime.now(UTC), lambda what: None if as_json else step(what)
        )
    if as_json:
        emit({**done.as_dict(), "receipt": str(path)})
    else:
        _tell(done, str(path))
    ctx.exit(1 if done.left else 0)


def _typed(entity_id: str) -> str:
    """The command as the lock tells it to others: without the id."""
    return shlex.join(["foresell", *("ID" if word == entity_id else word for word in sys.argv[1:])])


def _document(begun: Begun) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(begun)


def _show(begun: Begun) -> None:
    """What there is, before anything goes."""
    from rich.markup import escape
    from rich.table import Table

    ids = " and ".join(f"{count} {entity}{'s' * (count > 1)}" for entity, count in begun.ids.items() if count)
    table = Table("kind", "where", "rows", title=f"of {ids}")
    for place in _by_folder(begun.places):
        table.add_row(place.kind, escape(place.where), f"{place.rows:,}")
    if begun.places:
        results().print(table)
    for model in begun.models:
        told = "perhaps on rows of them, the snapshots are gone" if model.rows is None else f"on {model.rows:,} rows of them"
        note(f"{model.propensity} version {model.version} was trained {told}: {model.advice}")
    for sentence in begun.elsewhere:
        note(f"not within reach: {sentence}")


def _by_folder(places: tuple[Place, ...]) -> list[Place]:
    """The places, the many files of one folder as one line."""
    from pathlib import PurePath

    from features.forgetting.place import Place

    found: dict[tuple[str, str], int] = {}
    for place in places:
        where = f"{PurePath(place.where).parent}/" if place.kind == "snapshot" else place.where
        found[place.kind, where] = found.get((place.kind, where), 0) + place.rows
    return [Place(kind, where, rows) for (kind, where), rows in found.items()]


def _tell(done: Receipt, path: str) -> None:
    for place in done.left:
        note(f"left: {place.where}, {place.rows:,} times")
    if done.left:
        note("something is left: look at what wrote it, then run the same command again")
    else:
        step(f"nothing left: searched was {done.searched}")
    step(f"receipt: {path}")
