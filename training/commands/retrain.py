"""`foresell retrain`: train again where there is a reason to, through the gates."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from features.console import Instant, emit, engine_option, fail, json_option, note, progress, step, work_option
from features.engine import Name
from features.errors import CallError, ForesellError
from features.settings import Workspace

if TYPE_CHECKING:
    from training.retraining.attempts import Attempt, Judged, Log
    from training.retraining.recipe import Call, Retrained

LOCK = "lock.json"


@click.command()
@click.argument("propensities", metavar="[PROPENSITY]...", nargs=-1)
@click.option("--because", metavar="TEXT", help="Train now, and why; goes over broken data and over nothing being new.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--history", "past", is_flag=True, help="Show every attempt and judgement so far, and do nothing.")
@click.option(
    "--as-of", type=Instant(), metavar="TIME", help="Do it as at this instant, which goes into history.  [default: now]"
)
@work_option
@engine_option
@json_option
@click.pass_context
def retrain(
    ctx: click.Context,
    propensities: tuple[str, ...],
    because: str | None,
    dry_run: bool,
    past: bool,
    as_of: datetime | None,
    workspace: Workspace,
    engine: Name,
    as_json: bool,
) -> None:
    """Train champions again where `[retrain]` says so: too old, drifted, or worse than promised; without names, all of them.

    First the newest promotion is judged: where its first matured week is significantly worse than what the version before would
    have said, that one is brought back. Then a model is trained if there is a reason, outcomes are new, the data has no open
    incident and the budget is not spent. It serves if it passes every gate; a worse one is refused, and the champion stays.

    Exit code 0: done, nothing to do, or refused; 1: something failed, or another one is at work; 2: the call is wrong.

    \b
    Example:
      foresell retrain --workspace W
      foresell nightly --workspace W && foresell retrain --workspace W
      foresell retrain churn --because "the new price list is in force since May" --workspace W
      foresell retrain churn --history --workspace W
    """
    from training.registry import Signature
    from training.retraining.recipe import Call
    from training.retraining.standing import BY

    names = _names(workspace, propensities)
    if past:
        _show(workspace, names, as_json)
        return
    now = datetime.now(UTC)
    _require(because, as_of, now)
    signature = Signature(BY, as_of or now, None if as_of else partial(datetime.now, UTC))
    call = Call(workspace, signature, progress, because or "", dry_run, engine)
    done, failed = _all(call, names)
    if as_json:
        emit({"as_of": signature.at.isoformat(), "retrained": [_document(one) for one in done], "failed": failed})
    ctx.exit(1 if failed else 0)


def _names(workspace: Workspace, named: tuple[str, ...]) -> list[str]:
    """Those that were named, each of which exists; else every one that has a champion."""
    from features.propensity import file_of, load_all
    from training import registry

    for name in named:
        file_of(workspace, name)
    if named:
        return list(dict.fromkeys(named))
    every = [propensity.name for propensity in load_all(workspace)]
    standing = registry.standing(workspace, every)
    return [name for name in every if standing[name].champion is not None]


def _require(because: str | None, as_of: datetime | None, now: datetime) -> None:
    from training.registry import LONGEST_REASON

    if because is not None and not 0 < len(because.strip()) <= LONGEST_REASON:
        raise CallError(
            "--because",
            expected=f"a reason of at most {LONGEST_REASON} characters, which the history keeps",
            received=f"{len(because):,} characters" if because.strip() else "nothing",
            repair='say it in a sentence, such as --because "the export is mended"',
        )
    if as_of is not None and as_of > now:
        raise CallError(
            "--as-of", expected="an instant that has passed", received=f"{as_of:%Y-%m-%d %H:%M}", repair="leave it out"
        )


def _all(call: Call, names: list[str]) -> tuple[list[Retrained], dict[str, dict[str, str]]]:
    """One after the other; one that fails does not stop the others."""
    from features.lock import held
    from training.commands.turn import me, turn
    from training.retraining.recipe import retrain as retrain_one

    done: list[Retrained] = []
    failed: dict[str, dict[str, str]] = {}
    if not names:
        step("there is no champion to train again: `foresell train`, then `foresell promote`")
    with held(call.workspace.retraining / LOCK, me(), f"workspace {call.workspace.root}", "one retraining at a time"):
        for name in names:
            try:
                with turn(call.workspace, name):
                    done.append(retrain_one(call, name))
                _tell(done[-1])
            except ForesellError as error:
                failed[name] = error.as_dict()
                fail(error)
    return done, failed


def _tell(done: Retrained) -> None:
    say = step if done.outcome in ("promoted", "idle", "nothing new", "would train") else note
    say(f"{done.propensity}: {done.outcome}")
    for trigger in done.triggers:
        step(f"  {trigger.cause}: {trigger.sentence}")
    for sentence in done.sentences:
        say(f"  {sentence}")


def _document(done: Retrained) -> dict[str, Any]:
    relapse = done.relapse and {"judgement": done.relapse.judgement, "sentence": done.relapse.sentence}
    return {
        "propensity": done.propensity,
        "outcome": done.outcome,
        "champion": done.champion,
        "version": done.version,
        "triggers": [asdict(trigger) for trigger in done.triggers],
        "sentences": list(done.sentences),
        "relapse": relapse,
        "next_at": done.next_at and done.next_at.isoformat(),
    }


def _show(workspace: Workspace, names: list[str], as_json: bool) -> None:
    from training.retraining.attempts import Log

    logs = {name: Log(workspace, name) for name in names}
    if as_json:
        emit({"history": {name: [line.model_dump(mode="json") for line in log.lines()] for name, log in logs.items()}})
        return
    for name, log in logs.items():
        _print(name, log)


def _print(name: str, log: Log) -> None:
    entries: list[Attempt | Judged] = [*log.attempts(), *log.judged()]
    if not entries:
        click.echo(f"{name}: nothing was tried yet")
    for _, lines in sorted((_lines(entry) for entry in entries), key=lambda pair: pair[0]):
        click.echo("\n  ".join((f"{name}  {lines[0]}", *lines[1:])))


def _lines(entry: Attempt | Judged) -> tuple[datetime, list[str]]:
    """When it was, and what there is to read of it."""
    from training.retraining.attempts import Judged

    if isinstance(entry, Judged):
        return entry.at, [f"{entry.at:%Y-%m-%d %H:%M:%S} UTC  version {entry.version} {entry.judgement}", entry.sentence]
    begun, ended = entry.begun, entry.ended
    end = ended.end if ended else "under way, or broken off"
    version = f", version {ended.version}" if ended and ended.version else ""
    seconds = f", {ended.seconds:.0f} s" if ended and ended.seconds is not None else ""
    first = f"{begun.at:%Y-%m-%d %H:%M:%S} UTC  {end}{version} (champion: version {begun.before}){seconds}"
    return begun.at, [first, *begun.why, *(ended.sentences if ended else ())]
