"""A run that is killed anywhere and run again leaves what an undisturbed one leaves; two at once are kept apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from features.errors import BusyError, CallError
from features.settings import SETTINGS_FILE, Workspace
from serving.connectors.lock import alone
from serving.connectors.reconciliation import reconcile
from serving.ledger import Ledger
from tests.servers import POSTGRES, database
from tests.serving.connectors.worlds import DAY, FIRST, Asked, Crm, Reply, night, open_workspace, run, serving

ROOT = Path(__file__).resolve().parents[3]
CODE = (
    "import sys; from datetime import UTC, datetime; from pathlib import Path; from features.settings import Workspace; "
    "from serving.connectors.write_back import write_back; "
    "write_back(Workspace.open(Path(sys.argv[1])), 'crm', None, datetime(2026, 11, 26, 3, tzinfo=UTC))"
)
PEOPLE = 60


@contextmanager
def receiver(held: dict[str, Any], times: Counter[str]) -> Iterator[Crm]:
    """A webhook that refuses every seventh, and counts how often it took each."""

    def answer(asked: Asked) -> Reply:
        scores = asked.json["scores"]
        if any(int(one["entity_id"]) % 7 == 3 for one in scores):
            return 422, {"message": "a seventh"}
        held.update({one["entity_id"]: one["score"] for one in scores})
        times.update(one["entity_id"] for one in scores)
        return 200, None

    with serving(answer) as found:
        yield found


def open_target(root: Path, url: str) -> Workspace:
    workspace = open_workspace(root, to="webhook", url=url, chunk=8, per_second=10_000)
    night(workspace, {f"{number:02d}": 1 + number for number in range(PEOPLE)})
    night(workspace, {f"{number:02d}": 2 + 2 * number % 98 for number in range(5, PEOPLE)}, FIRST + DAY)
    return workspace


def books(workspace: Workspace) -> list[tuple[Any, ...]]:
    with closing(Ledger.open(workspace)) as ledger:
        rows = [row for status in ("sent", "rejected", "waiting") for row in ledger.of_status("crm", status)]
    return [(row.entity_id, row.state, row.score, row.status, row.error) for row in rows]


def rejected(workspace: Workspace) -> int:
    return len((workspace.root / "data" / "write_back" / "crm" / "rejected.jsonl").read_text().splitlines())


def undisturbed(root: Path) -> tuple[dict[str, Any], list[tuple[Any, ...]], int, int]:
    held: dict[str, Any] = {}
    with receiver(held, Counter()) as crm:
        workspace = open_target(root, crm.url)
        run(workspace, as_of=FIRST)
        before = len(crm.got)
        run(workspace)
        return held, books(workspace), rejected(workspace), len(crm.got) - before


def test_a_killed_run_that_is_run_again_leaves_what_an_undisturbed_one_does(tmp_path: Path) -> None:
    expected_held, expected_books, expected_rejected, calls = undisturbed(tmp_path / "calm")
    for number, call in enumerate(range(1, calls + 1, max(1, calls // 5))):
        held: dict[str, Any] = {}
        times: Counter[str] = Counter()
        with receiver(held, times) as crm:
            workspace = open_target(tmp_path / f"killed {number}", crm.url)
            run(workspace, as_of=FIRST)
            times.clear()
            _kill_at(workspace, crm, call, taken=bool(number % 2))
            run(workspace)
            assert (held, books(workspace), rejected(workspace)) == (expected_held, expected_books, expected_rejected), call
            assert sum(times.values()) - len(times) <= 8, "more was sent twice than the chunk in flight"


def _kill_at(workspace: Workspace, crm: Crm, call: int, taken: bool) -> None:
    """Run in a process of its own, which dies before the answer of a call; that the call was taken, or not."""
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, str(workspace.root)], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    usual, seen = crm.answer, [0]

    def answer(asked: Asked) -> Reply:
        seen[0] += 1
        if seen[0] == call:
            told = usual(asked) if taken else (200, None)
            process.send_signal(signal.SIGKILL)
            return told
        return usual(asked)

    crm.answer = answer
    assert process.wait(60) == -signal.SIGKILL
    crm.answer = usual


def test_a_score_that_was_under_way_is_sent_again_though_the_next_night_would_not_call_it_changed(tmp_path: Path) -> None:
    """The CRM may hold 80, which only the note before the call tells of; 50 is what it was last known to be sent."""
    held: dict[str, Any] = {}
    with receiver(held, Counter()) as crm:
        workspace = open_workspace(tmp_path, to="webhook", url=crm.url, per_second=10_000, attempts=1)
        night(workspace, {"01": 50})
        run(workspace)
        usual = crm.answer

        def silent(asked: Asked) -> Reply:
            usual(asked)
            return 503, None

        crm.answer = silent
        night(workspace, {"01": 80}, FIRST + DAY)
        assert run(workspace).waiting == 1 and held == {"01": 80}
        crm.answer = usual
        night(workspace, {"01": 50}, FIRST + 2 * DAY)
        assert run(workspace).sent == 1 and held == {"01": 50}


def test_the_second_of_two_runs_is_told_who_is_at_work(tmp_path: Path) -> None:
    with receiver({}, Counter()) as crm:
        workspace = open_target(tmp_path, crm.url)
        with alone(workspace, "crm"), pytest.raises(BusyError, match=f"process {os.getpid()}"):
            run(workspace)
        assert crm.got == [] and run(workspace).sent > 0


def test_the_chunk_of_a_failing_target_is_halved_only_until_it_is_clear_that_it_fails(tmp_path: Path) -> None:
    with receiver({}, Counter()) as crm:
        workspace = open_target(tmp_path, crm.url)
        crm.faults = [(500, None)] * 1_000
        outcome = run(workspace)
        assert outcome.stopped == "the target fails: HTTP 500" and len(crm.got) < 30 and outcome.rejected == 0
        crm.faults = []
        again = run(workspace)
        assert again.sent + again.rejected == outcome.waiting and again.stopped is None


@pytest.mark.postgres
def test_the_books_may_be_kept_in_postgresql(tmp_path: Path) -> None:
    with database("foresell_books") as name, receiver({}, Counter()) as crm:
        workspace = open_target(tmp_path, crm.url)
        settings = f'[serving]\nledger = "{POSTGRES}/{name}"\n'
        path = tmp_path / SETTINGS_FILE
        path.write_text(settings + path.read_text())
        workspace = Workspace.open(tmp_path)
        first = run(workspace, as_of=FIRST)
        assert first.sent + first.rejected == PEOPLE and first.rejected == rejected(workspace) == 9
        with closing(Ledger.open(workspace)) as elsewhere, elsewhere.alone("crm"), pytest.raises(BusyError, match="machine"):
            run(workspace)
        assert run(workspace, as_of=FIRST).changed == 0 and reconciled(workspace) == "a webhook, which only takes"


def reconciled(workspace: Workspace) -> str:
    with pytest.raises(CallError) as told:
        reconcile(workspace, "crm", 5)
    return told.value.received
