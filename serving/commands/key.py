"""`foresell key`: make, list and revoke API keys."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

import click

from features.console import Instant, emit, json_option, results, step, workspace_option
from features.settings import Workspace
from serving.http.keys import SCOPES

if TYPE_CHECKING:
    from serving.http.keys import Key, Scope

MEANINGS = "; ".join(f"{scope}: {meaning}" for scope, meaning in SCOPES.items())


@click.group()
def key() -> None:
    """Make, list and revoke the API keys that the service asks for."""


@key.command()
@click.option("--name", required=True, help="Whose key it is; the log and the audit name the key by its id.")
@click.option(
    "--scope", "scopes", type=click.Choice(list(SCOPES)), multiple=True, required=True,
    help=f"What it allows; may be given several times. {MEANINGS}. None implies another.",
)  # fmt: skip
@click.option("--per-second", default=100.0, show_default=True, help="Calls a second that it may make in the long run.")
@click.option("--burst", type=int, help="Calls that it may make at once.  [default: twice --per-second]")
@click.option("--expires", "expires_at", type=Instant(), help="From this instant on it lets nobody in.  [default: never]")
@workspace_option
@json_option
def create(
    name: str,
    scopes: Sequence[Scope],
    per_second: float,
    burst: int | None,
    expires_at: datetime | None,
    workspace: Workspace,
    as_json: bool,
) -> None:
    """Make an API key and print its secret, which is kept nowhere and shown only this once.

    A running service takes it up within a second. To rotate a key make a new one, change the caller over, revoke the old one.

    \b
    Example:
      foresell key create --name crm --scope score --workspace W
      foresell key create --name crm --scope score --scope hook --per-second 20 --expires 2027-01-01 --workspace W
    """
    from serving.http import keys

    now = datetime.now(UTC)
    made, secret = keys.create(
        workspace, name, scopes, per_second, _twice(per_second) if burst is None else burst, expires_at, now
    )
    if as_json:
        emit({**made.as_dict(now), "secret": secret})
    else:
        click.echo(secret)
    until = f", until {_time(made.expires_at)} UTC" if made.expires_at else ""
    step(f"key {made.id} of {made.name} for {', '.join(made.scopes)}, {_limit(made)}{until}")
    step("its secret is shown only this once; callers send it as `Authorization: Bearer fs_...`")


@key.command("list")
@workspace_option
@json_option
def list_keys(workspace: Workspace, as_json: bool) -> None:
    """List every API key, also expired and revoked ones; their secrets nobody can list.

    \b
    Example:
      foresell key list --workspace W
      foresell key list --workspace W --json
    """
    from rich.table import Table

    from serving.http import keys

    now, kept = datetime.now(UTC), keys.load(workspace)
    if as_json:
        emit({"keys": [one.as_dict(now) for one in kept]})
        return
    if not kept:
        step("no key was ever made; `foresell key create` makes one")
        return
    table = Table("id", "name", "scopes", "limit", "created", "expires", "state")
    for one in kept:
        table.add_row(
            one.id, one.name, ", ".join(one.scopes), _limit(one), _time(one.created_at), _time(one.expires_at), one.state(now)
        )
    results().print(table)


@key.command()
@click.argument("identity", metavar="ID")
@workspace_option
@json_option
def revoke(identity: str, workspace: Workspace, as_json: bool) -> None:
    """Let an API key open nothing any more; a running service refuses it within a second. It stays in the list.

    \b
    Example:
      foresell key revoke 3f9a1c07 --workspace W
    """
    from serving.http import keys

    now = datetime.now(UTC)
    revoked = keys.revoke(workspace, identity, now)
    if as_json:
        emit(revoked.as_dict(now))
    step(f"key {revoked.id} of {revoked.name} is revoked since {_time(revoked.revoked_at)} UTC")


def _twice(per_second: float) -> int:
    return max(1, round(2 * per_second)) if isfinite(per_second) else 1


def _limit(one: Key) -> str:
    return f"{one.per_second:g}/s, burst {one.burst:,}"


def _time(instant: datetime | None) -> str:
    return f"{instant:%Y-%m-%d %H:%M}" if instant else "never"
