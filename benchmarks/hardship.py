"""A write-back through hardship: a target that fails in every way, and processes that are killed, until everything is there.

    .venv/bin/python -m benchmarks.hardship                     10,000 records to a `rest` and a `webhook` target
    .venv/bin/python -m benchmarks.hardship --records 1000 --target rest

Each row is a night of so many scores that is written back, run after run, until a run is complete; waits are not waited for.
`lost` are records that the target lacks or holds with another score, `twice` those that it was given more than once, `retries`
the calls beyond those of a calm night. Ends with 1 if a record is lost. The disk is filled by root only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Timer

from benchmarks.hardship_disk import fill, may_mount, small_disk
from benchmarks.hardship_trial import FORKS, Target, Trial
from features.settings import Workspace
from tests.serving.connectors.worlds import NOW, Crm, Reply, night, open_workspace, serving

CHUNK = 50
TIMEOUT = 0.1  # where the target is silent; elsewhere an answer may take longer on a machine that is busy
PATIENCE = 30.0
KILLS, SILENCES = 20, 20
HOURS = 0.05  # the share of those that ask for more than a minute


def calm(trial: Trial) -> None:
    """Nothing goes wrong."""
    trial.go_on()


def failing(trial: Trial) -> None:
    """Calls are answered with 500, some after a part of their scores was taken."""

    def mood(scores: dict[str, int]) -> Reply | None:
        if not trial.target.happens():
            return None
        trial.target.take(trial.target.part(scores))
        return 500, {"message": "oops"}

    trial.target.mood = mood
    trial.go_on()


def busy(trial: Trial) -> None:
    """Calls are answered with 429, a few with a wish to be left alone for an hour, at which the run stops."""

    def mood(scores: dict[str, int]) -> Reply | None:
        if not trial.target.happens():
            return None
        return 429, None, {"Retry-After": "3600" if trial.target.rng.random() < HOURS else "1"}

    trial.target.mood = mood
    trial.go_on()


def silent(trial: Trial) -> None:
    """Calls are taken, wholly or in part, and then not answered in time: some of them, for they take time."""
    left = iter(range(SILENCES))

    def mood(scores: dict[str, int]) -> Reply | None:
        if trial.target.happens() and next(left, None) is not None:
            trial.target.take(trial.target.part(scores))
            time.sleep(1.5 * TIMEOUT)
        return None

    trial.target.mood = mood
    trial.go_on()


def accepting_half(trial: Trial) -> None:
    """Every second record is refused, until the target is mended and the dead letters are sent again."""

    def mood(scores: dict[str, int]) -> Reply | None:
        good = {one: score for one, score in scores.items() if int(one) % 2}
        if len(scores) == 1 and not good:
            return 422, {"message": "no"}
        trial.target.take(good)
        return 200, {"rejected": [{"entity_id": one, "error": "no"} for one in scores if one not in good]}

    trial.target.mood = mood
    trial.run()
    trial.target.mood = lambda scores: None
    trial.run(replay=True)
    trial.go_on()


def killed(trial: Trial) -> None:
    """The process is killed about a call, before or after its scores are taken, before or after it is answered."""
    rng, calls = trial.target.rng, max(2, 2 * _calls(trial.workspace) // KILLS)
    for _ in range(KILLS):
        last, process = trial.target.calls + rng.randint(1, calls), trial.begin()
        trial.target.mood = _killing(trial.target, process.pid or 0, last)
        process.join()
        trial.kills += process.exitcode == -signal.SIGKILL
    trial.target.mood = lambda scores: None
    trial.go_on()


def _killing(target: Target, pid: int, last: int) -> Callable[[dict[str, int]], Reply | None]:
    def mood(scores: dict[str, int]) -> Reply | None:
        if target.calls != last:
            return None
        if target.rng.random() < 0.5:
            target.take(target.part(scores))
            _kill(pid)
        else:
            target.take(scores)
            Timer(target.rng.uniform(0, 0.003), _kill, [pid]).start()
        return 200, {}

    return mood


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def two_at_once(trial: Trial) -> None:
    """Two processes write at once; one of them is told so, and ends."""
    for process in [trial.begin(), trial.begin()]:
        process.join()
    trial.go_on()


def full_disk(trial: Trial) -> None:
    """The disk with ledger, receipt and lock fills up in the middle, and has room again."""
    with small_disk(trial.workspace.root / "data") as filling:
        half = _wanted(trial.workspace) // 2

        def mood(scores: dict[str, int]) -> Reply | None:
            if len(trial.target.held) >= half and not filling.exists():
                fill(filling)
            return None

        trial.target.mood = mood
        for _ in range(3):
            trial.run()
        trial.target.mood = lambda scores: None
        filling.unlink(missing_ok=True)
        trial.go_on()


def clock_put_back(trial: Trial) -> None:
    """The target is away in the middle; when it is back, the clock of this machine has been put back by a year."""
    half = _wanted(trial.workspace) // 2
    trial.target.mood = lambda scores: (503, None) if len(trial.target.held) >= half else None
    trial.run()
    trial.target.mood = lambda scores: None
    trial.run(NOW - timedelta(days=365))
    trial.go_on()


HARDSHIPS = (calm, failing, busy, silent, accepting_half, killed, two_at_once, full_disk, clock_put_back)
COLUMNS = ("hardship", "runs", "kills", "wanted", "there", "lost", "twice", "calls", "retries")


def _wanted(workspace: Workspace) -> int:
    return len(json.loads((workspace.root / "wanted.json").read_text()))


def _calls(workspace: Workspace) -> int:
    """Of a calm night."""
    per_call = CHUNK if workspace.settings.write_back["crm"].to == "webhook" else 1
    return -(-_wanted(workspace) // per_call)


def undergo(hardship: Callable[[Trial], None], kind: str, records: int, root: Path, seed: int = 1) -> dict[str, int | str]:
    """Write a night back under a hardship.

    Args:
        hardship: one of `HARDSHIPS`.
        kind: of target, `rest` or `webhook`.
        records: how many scores.
        root: a folder that is there and empty.
        seed: of the scores and of every accident.

    Returns:
        A row with `COLUMNS`.
    """
    rng = random.Random(seed)
    wanted = {f"{number:06d}": rng.randint(1, 100) for number in range(records)}
    target = Target(rng)
    (root / "wanted.json").write_text(json.dumps(wanted))
    with serving(target.answer) as crm:
        trial = Trial(_opened(root, kind, crm, TIMEOUT if hardship is silent else PATIENCE), target)
        night(trial.workspace, wanted)
        hardship(trial)
        calls = _calls(trial.workspace)
    there = sum(target.held.get(one) == score for one, score in wanted.items())
    twice = sum(times > 1 for times in target.times.values())
    numbers = (trial.runs, trial.kills, records, there, records - there, twice, target.calls, target.calls - calls)
    return dict(zip(COLUMNS, (hardship.__name__.replace("_", " "), *numbers), strict=True))


def _opened(root: Path, kind: str, crm: Crm, timeout: float) -> Workspace:
    settings: dict[str, object] = {"to": kind, "per_second": 1_000_000, "timeout_seconds": timeout, "attempts": 3}
    if kind == "webhook":
        return open_workspace(root, url=crm.url, chunk=CHUNK, **settings)
    return open_workspace(root, url=crm.url + "/{id}", fields={"score": "score"}, **settings)


def table(rows: Sequence[dict[str, int | str]]) -> str:
    """The rows in Markdown."""
    lines = [COLUMNS, ("---", *["---:"] * (len(COLUMNS) - 1))]
    cells = [[f"{row[name]:,}" if isinstance(row[name], int) else str(row[name]) for name in COLUMNS] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in [*lines, *cells])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=10_000, help="scores of a night  [default: 10,000]")
    parser.add_argument("--target", choices=("rest", "webhook"), action="append", help="the kind of target  [default: both]")
    parser.add_argument("--seed", type=int, default=1, help="of every accident  [default: 1]")
    chosen = parser.parse_args(arguments)
    FORKS.set_forkserver_preload(["tests.serving.connectors.worlds", "httpx", "sqlalchemy.dialects.sqlite"])
    lost = 0
    for kind in chosen.target or ("rest", "webhook"):
        rows = []
        for hardship in HARDSHIPS:
            if hardship is full_disk and not may_mount():
                continue
            with tempfile.TemporaryDirectory() as folder:
                rows.append(undergo(hardship, kind, chosen.records, Path(folder), chosen.seed))
        print(f"\n`{kind}`, {chosen.records:,} records\n\n{table(rows)}", flush=True)
        lost += sum(int(row["lost"]) for row in rows)
    return int(lost > 0)


if __name__ == "__main__":
    raise SystemExit(main())
