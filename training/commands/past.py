"""`foresell history` and `foresell which`: which version served when, who let it in, and on what evidence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from features.console import Instant, emit, json_option, results, step, workspace_option
from features.errors import CallError
from features.settings import Workspace

if TYPE_CHECKING:
    from training.registry import Entry, Evidence, History


@click.command()
@click.argument("propensity")
@workspace_option
@json_option
def history(propensity: str, workspace: Workspace, as_json: bool) -> None:
    """List every promotion and rollback: when, who, which version replaced which, and on what evidence.

    A champion that was moved in MLflow itself is shown as such.

    \b
    Example:
      foresell history churn --workspace W
      foresell history churn --workspace W --json
    """
    from features.propensity import file_of
    from training import registry

    file_of(workspace, propensity)
    found = registry.history(workspace, propensity)
    if as_json:
        emit({"propensity": propensity, "champion": found.alias, "events": [_document(e) for e in found.entries]} | _loose(found))
    else:
        _print_history(propensity, found)


@click.command()
@click.argument("propensity")
@click.option("--at", type=Instant(), metavar="TIME", help="At this instant, UTC.  [default: now]")
@workspace_option
@json_option
def which(propensity: str, at: datetime | None, workspace: Workspace, as_json: bool) -> None:
    """Tell which version served at an instant, who let it in, and on what evidence.

    A version that was promoted at an instant serves from that instant on.

    \b
    Example:
      foresell which churn --at 2026-03-03T09:30 --workspace W
      foresell which churn --workspace W --json
    """
    from features.propensity import file_of
    from training import registry

    file_of(workspace, propensity)
    now = datetime.now(UTC)
    _require_past(at, now)
    found = registry.history(workspace, propensity)
    served = found.at(at or now)
    if as_json:
        emit(
            {
                "propensity": propensity,
                "at": (at or now).isoformat(),
                "version": served.version,
                "until": served.until and served.until.isoformat(),
                "doubt": served.doubt or None,
                "event": served.entry and _document(served.entry),
            }
        )
        return
    until = f", until {_time(served.until)}" if served.until else ""
    named = f"version {served.version} served" if served.version else "no version served"
    _line(f"{propensity} at {_time(at or now)}: {named}{until}")
    if served.doubt:
        _line("  ", ("not certain", "yellow"), f": {served.doubt}")
    if served.entry:
        _print_entry(served.entry)


def _require_past(at: datetime | None, now: datetime) -> None:
    if at is not None and at > now:
        raise CallError(
            "--at", expected="an instant that has passed", received=at.isoformat(), repair="leave --at out to ask about now"
        )


def _print_history(propensity: str, found: History) -> None:
    for entry in found.entries:
        _print_entry(entry)
    for sentence in _loose(found).values():
        _line(("!", "yellow"), f" {sentence}")
    if not found.entries and found.alias is None:
        step(f"{propensity}: no version has ever been promoted")


def _print_entry(entry: Entry) -> None:
    from training.registry import words

    event = entry.event
    by = f" by {event.by}" if event.by else f" (noticed at {_time(event.at)})"
    since = _time(entry.since) if entry.since else f"{_time(event.at)}, not finished"
    _line((str(entry.number), "bold"), f"  {since}  {words(event)}{by}")
    for line in (*([f'reason: "{event.reason}"'] if event.reason else []), *_lines(event.evidence)):
        _line(f"   {line}")


def _line(*parts: str | tuple[str, str]) -> None:
    """Print texts, some in a style; brackets in what people wrote are no markup."""
    from rich.text import Text

    results().print(Text.assemble(*parts), soft_wrap=True)


def _lines(evidence: Evidence | None) -> list[str]:
    """The evidence as a person reads it: figures, failed gates, data."""
    if evidence is None:
        return ["no evidence: the version has no report of Foresell's"]
    passed = sum(gate.passed for gate in evidence.gates)
    gates = f"{passed} of {len(evidence.gates)} gates passed"
    data = f"data {evidence.data_fingerprint}" if evidence.data_fingerprint else ""
    figures = ", ".join(filter(None, (evidence.summary, gates, data)))
    return [figures, *(f"failed: {sentence}" for sentence in evidence.failed)]


def _loose(found: History) -> dict[str, str]:
    """What the history does not tell yet: a move that was made in MLflow itself, or one that was not finished."""
    if found.moved:
        recorded = f"version {found.last.event.version}" if found.last and found.last.event.version else "no champion"
        named = f"version {found.alias}" if found.alias else "no version"
        return {
            "moved": f"MLflow itself calls {named} the champion, but the history ends with {recorded}; somebody moved it there"
        }
    if found.unfinished is not None:
        named = f"version {found.alias}" if found.alias else "no version"
        return {"unfinished": f"event {found.unfinished.number} is not finished: its writer is at work or was stopped; "
                              f"MLflow calls {named} the champion, and the next promotion or rollback finishes it"}  # fmt: skip
    return {}


def _document(entry: Entry) -> dict[str, Any]:
    since = entry.since.isoformat() if entry.since else None
    return {"number": entry.number, "since": since, **entry.event.model_dump(mode="json"), "forced": entry.event.forced}


def _time(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
