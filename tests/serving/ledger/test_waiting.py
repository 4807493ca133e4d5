"""The inbox and the outbox: what waits is claimed by one worker, and lost by none."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

from features.settings import Workspace
from serving.ledger import Claimed, Ledger, Letter, Waiting
from tests.serving.ledger.entries import NOW, letter, received

MINUTE = timedelta(minutes=1)
WORKER = """
import json, sys, time
from datetime import timedelta
from pathlib import Path
from features.settings import Workspace
from serving.ledger import Ledger
from tests.serving.ledger.entries import NOW
ledger, name, then = Ledger.open(Workspace.open(Path(sys.argv[1])), 60_000), sys.argv[2], sys.argv[3]
print("ready", flush=True)
sys.stdin.readline()
ids = []
while claimed := ledger.claim(name, 3, NOW, timedelta(minutes=1)):
    ids += [i for record in claimed for i in record.ids]
    print(json.dumps(ids), flush=True)
    if then == "hang":
        time.sleep(600)
    ledger.done([i for record in claimed for i in record.ids])
"""


def worker(workspace: Workspace, name: str, then: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(workspace.root), name, then]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def claim(ledger: Ledger, worker: str = "a", now: timedelta = timedelta(), limit: int = 10) -> list[Claimed]:
    return ledger.claim(worker, limit, NOW + now, MINUTE)


def test_records_of_one_entity_become_one_later_fields_over_earlier_ones(ledger: Ledger) -> None:
    assert claim(ledger) == []
    first, other, second = received(9, "1", name="A", tier=None), received(5, "2"), received(1, "1", name="B", seats=3)
    ledger.receive([first, other])
    ledger.receive([second, second])
    ledger.receive([])
    assert ledger.waiting() == Waiting(3, 0)
    assert claim(ledger) == [
        Claimed((first.id, second.id), NOW, "odoo", "lead", "1", {"name": "B", "tier": None, "seats": 3}),
        Claimed((other.id,), NOW, "odoo", "lead", "2", {}),
    ]


def test_the_same_id_in_another_crm_or_of_another_entity_is_somebody_else(ledger: Ledger) -> None:
    one = received(1, "1", x=1)
    ledger.receive([one, received(2, "1")._replace(source="espo"), received(3, "1")._replace(entity="customer")])
    assert [record.ids for record in claim(ledger)] == [(one.id,), (f"{2:032x}",), (f"{3:032x}",)]


def test_at_most_so_many_entities_those_that_waited_longest(ledger: Ledger) -> None:
    ledger.receive([received(i, f"{i % 4}") for i in range(12)])
    assert [(record.entity_id, len(record.ids)) for record in claim(ledger, limit=2)] == [("0", 3), ("1", 3)]
    assert [record.entity_id for record in claim(ledger, "b")] == ["2", "3"]


def test_what_came_during_a_claim_waits_until_it_is_done(ledger: Ledger) -> None:
    ledger.receive([received(1, "1", x=1)])
    (claimed,) = claim(ledger)
    ledger.receive([received(2, "1", x=2)])
    assert claim(ledger, "b") == []
    ledger.done(claimed.ids)
    assert [record.given for record in claim(ledger, "b")] == [{"x": 2}]


def test_released_records_can_be_claimed_again(ledger: Ledger) -> None:
    ledger.receive([received(1, "1")])
    ledger.release(claim(ledger)[0].ids)
    assert len(claim(ledger, "b")) == 1
    ledger.release([])
    ledger.done([])


def test_a_claim_grows_stale_and_also_when_the_clock_was_set_back(ledger: Ledger) -> None:
    ledger.receive([received(1, "1")])
    assert len(claim(ledger)) == 1
    almost = MINUTE - timedelta(microseconds=1)
    assert claim(ledger, "b", almost) == [] and claim(ledger, "b", -almost) == []
    assert len(claim(ledger, "b", MINUTE)) == 1
    assert len(claim(ledger, "c", -timedelta(days=1))) == 1


def test_two_processes_never_claim_the_same_record(workspace: Workspace, ledger: Ledger) -> None:
    ledger.receive([received(i, f"{i % 100}") for i in range(300)])
    workers = [worker(workspace, name, "go on") for name in "ab"]
    for process in workers:
        begin(process)
    lines = [process.communicate(timeout=120)[0].splitlines() for process in workers]
    first, second = (json.loads(printed[-1]) if printed else [] for printed in lines)
    assert sorted(first + second) == sorted(f"{i:032x}" for i in range(300)) and ledger.waiting().inbox == 0


def test_a_worker_killed_between_claim_and_done_loses_nothing(workspace: Workspace, ledger: Ledger) -> None:
    ledger.receive([received(i, f"{i}", x=i) for i in range(5)])
    process = worker(workspace, "a", "hang")
    begin(process)
    assert process.stdout and len(json.loads(process.stdout.readline())) == 3
    process.kill()
    process.wait()
    assert [record.entity_id for record in claim(ledger, "b")] == ["3", "4"]
    assert [record.given for record in claim(ledger, "b", MINUTE)] == [{"x": i} for i in range(5)]


def test_a_newer_score_takes_the_place_of_a_waiting_one(ledger: Ledger) -> None:
    assert ledger.due(NOW, 10) == []
    ledger.send_later([letter("a"), letter("b", "2"), letter("c")], NOW)
    ledger.send_later([], NOW)
    assert ledger.waiting() == Waiting(0, 2)
    assert ledger.due(NOW - MINUTE, 10) == []
    assert {one.id for one in ledger.due(NOW, 10)} == {"b", "c"}


def test_a_score_that_is_being_sent_is_nobody_elses_until_its_lease_ends(
    ledger: Ledger, open_ledger: Callable[..., Ledger]
) -> None:
    ledger.send_later([letter("a"), letter("b", "2")], NOW)
    assert [one.id for one in ledger.due(NOW, 1)] == ["a"]
    assert [one.id for one in open_ledger().due(NOW, 10)] == ["b"]
    assert ledger.due(NOW + MINUTE - timedelta(microseconds=1), 10) == []
    assert [one.id for one in ledger.due(NOW + MINUTE, 10)] == ["a", "b"]


def test_sent_does_not_forget_the_score_that_took_its_place(ledger: Ledger) -> None:
    ledger.send_later([letter("old")], NOW)
    ledger.due(NOW, 10)
    ledger.send_later([letter("new")], NOW)
    assert ledger.due(NOW, 10) == [], "the older one is still on its way and might come last"
    ledger.sent("old")
    assert ledger.due(NOW, 10) == [letter("new")]
    ledger.sent("new")
    assert ledger.waiting() == Waiting(0, 0)


def test_a_failed_score_is_tried_again_later_and_its_attempts_are_counted(ledger: Ledger) -> None:
    ledger.send_later([letter("a")], NOW)
    ledger.due(NOW, 10)
    ledger.failed("a", "503 from the CRM", NOW + 5 * MINUTE)
    assert ledger.due(NOW + 4 * MINUTE, 10) == []
    assert ledger.due(NOW + 5 * MINUTE, 10) == [letter("a")._replace(attempts=1)]
    ledger.send_later([letter("b")], NOW + 5 * MINUTE)
    ledger.failed("a", "503 from the CRM", NOW + 9 * MINUTE)
    assert ledger.due(NOW + 8 * MINUTE, 10) == []
    assert ledger.due(NOW + 9 * MINUTE, 10) == [Letter(*letter("b"))]
