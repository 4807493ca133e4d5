"""`foresell promote` and `foresell rollback`: which version serves."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from features.console import emit, json_option, step, workspace_option
from features.errors import CallError, ContractError, GateError
from features.settings import Workspace

if TYPE_CHECKING:
    from training.registry import Check, Entry, Judged, Signature

version_option = click.option("--version", default=None, help="This version; without it, the newest.")
force_option = click.option("--force", metavar="REASON", help="Past failed gates, and why; the reason goes into the history.")
by_option = click.option("--by", envvar="FORESELL_USER", help="Who does it.  [default: the user of this machine]")


@click.command()
@click.argument("propensity")
@version_option
@force_option
@by_option
@workspace_option
@json_option
def promote(propensity: str, version: str | None, force: str | None, by: str | None, workspace: Workspace, as_json: bool) -> None:
    """Let a version serve, if it passed every gate; without --version the newest, if it has never served.

    A service that is running answers with it within five seconds.

    \b
    Example:
      foresell promote churn --workspace W
      foresell promote churn --version 3 --workspace W
      foresell promote churn --force "the sales team tries it for a week" --workspace W
    """
    from features.propensity import file_of
    from training import registry
    from training.compatibility import contract_check

    file_of(workspace, propensity)
    _require_reason(force)
    check = contract_check(workspace, propensity, forced=bool(force))
    _tell(propensity, registry.promote(workspace, propensity, _signature(by), version, force or "", check), as_json)


@click.command()
@click.argument("propensity")
@click.option("--reason", default="", help="Why; it goes into the history.")
@force_option
@by_option
@workspace_option
@json_option
def rollback(propensity: str, reason: str, force: str | None, by: str | None, workspace: Workspace, as_json: bool) -> None:
    """Bring back the champion before the present one; again, the one before that.

    One whose features the workspace no longer gives comes back only with --force. A service that is running
    answers with it within five seconds.

    \b
    Example:
      foresell rollback churn --workspace W
      foresell rollback churn --reason "reps say the scores are upside down" --workspace W
      foresell rollback churn --force "the table comes back tomorrow" --workspace W
    """
    from features.propensity import file_of
    from training import registry
    from training.compatibility import contract_check

    file_of(workspace, propensity)
    _require_reason(force)
    if force and reason:
        raise CallError("--reason", expected="--reason or --force", received="both", repair="give the reason once, with --force")
    check = _skippable(propensity, contract_check(workspace, propensity, forced=bool(force)))
    _tell(propensity, registry.rollback(workspace, propensity, _signature(by), force or reason, check), as_json)


def _require_reason(force: str | None) -> None:
    if force is not None and not force.strip():
        raise CallError(
            "--force",
            expected="a reason",
            received="nothing",
            repair='`--force "why it may serve although it failed a gate"`; the history keeps it',
        )


def _skippable(propensity: str, check: Check) -> Check:
    """The same, and where it refuses, how to go back to a version further down."""

    def explained(version: str) -> Judged:
        try:
            return check(version)
        except (ContractError, GateError) as refused:
            skip = f"skip it: `foresell promote {propensity} --version N` with an earlier N of `foresell history {propensity}`"
            insist = ', or insist with --force "why"' if isinstance(refused, GateError) else ""
            raise type(refused)(
                f"{propensity} version {version}, which a rollback would bring back",
                expected=refused.expected,
                received=refused.received,
                repair=skip + insist,
            ) from None

    return explained


def _signature(by: str | None) -> Signature:
    from training.registry import Signature

    now = partial(datetime.now, UTC)
    return Signature(by or _user(), now(), now)


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
    named = f"{propensity}: version {event.version}"
    replaced = f", in place of version {event.before}" if event.before else ""
    if entry.written:
        step(f"{named} serves{replaced}; a running `foresell serve` answers with it within five seconds")
    else:
        step(f"{named} already serves, since {entry.since:%Y-%m-%d %H:%M:%S} UTC; nothing was written")
    if entry.written and event.evidence:
        for sentence in event.evidence.failed if event.forced else ():
            step(f"  in spite of: {sentence}")
    if as_json:
        told = {"propensity": propensity, "champion": event.version, "before": event.before, "event": entry.number}
        emit({**told, "written": entry.written})
