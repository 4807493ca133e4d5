"""`foresell promote` and `foresell rollback`: which version serves."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from features.console import emit, json_option, step, workspace_option
from features.errors import CallError
from features.settings import Workspace

if TYPE_CHECKING:
    from training.registry import Entry, Signature

version_option = click.option("--version", default=None, help="This version; without it, the newest.")
by_option = click.option("--by", envvar="FORESELL_USER", help="Who does it.  [default: the user of this machine]")


@click.command()
@click.argument("propensity")
@version_option
@click.option("--force", metavar="REASON", help="Past failed gates, and why; the reason goes into the history.")
@by_option
@workspace_option
@json_option
def promote(propensity: str, version: str | None, force: str | None, by: str | None, workspace: Workspace, as_json: bool) -> None:
    """Let a version serve, if it passed every gate; without --version the newest, if it has never served.

    A service that is running keeps its version until it is started again.

    \b
    Example:
      foresell promote churn --workspace W
      foresell promote churn --version 3 --workspace W
      foresell promote churn --force "the sales team tries it for a week" --workspace W
    """
    from features.propensity import file_of
    from training import registry
    from training.compatibility import require_compatible

    file_of(workspace, propensity)
    if force is not None and not force.strip():
        raise CallError(
            "--force",
            expected="a reason",
            received="nothing",
            repair='`--force "why it may serve although it failed a gate"`; the history keeps it',
        )
    chosen = version or registry.newest_version(workspace, propensity)
    if chosen and not force:
        require_compatible(workspace, registry.load(workspace, propensity, chosen).model, chosen)
    entry = registry.promote(workspace, propensity, _signature(by), version, force or "")
    _tell(propensity, entry, as_json)


@click.command()
@click.argument("propensity")
@click.option("--reason", default="", help="Why; it goes into the history.")
@by_option
@workspace_option
@json_option
def rollback(propensity: str, reason: str, by: str | None, workspace: Workspace, as_json: bool) -> None:
    """Bring back the champion before the present one; again, the one before that.

    A service that is running keeps its version until it is started again.

    \b
    Example:
      foresell rollback churn --workspace W
      foresell rollback churn --reason "reps say the scores are upside down" --workspace W
    """
    from features.propensity import file_of
    from training import registry

    file_of(workspace, propensity)
    _tell(propensity, registry.rollback(workspace, propensity, _signature(by), reason), as_json)


def _signature(by: str | None) -> Signature:
    from training.registry import Signature

    return Signature(by or _user(), datetime.now(UTC))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise CallError(
            "--by",
            expected="a name for the history",
            received="none: this machine does not know its user",
            repair="`--by NAME`, or set FORESELL_USER",
        ) from None


def _tell(propensity: str, entry: Entry, as_json: bool) -> None:
    event = entry.event
    replaced = f", in place of version {event.before}" if event.before else ""
    step(
        f"{propensity}: version {event.version} serves{replaced}; a running `foresell serve` takes it up when it is started again"
    )
    if event.evidence:
        for sentence in event.evidence.failed if event.forced else ():
            step(f"  in spite of: {sentence}")
    if as_json:
        emit({"propensity": propensity, "champion": event.version, "before": event.before, "event": entry.number})
