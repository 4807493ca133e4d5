"""What webhooks brought is scored after the answer, once an entity, and nothing is lost, whoever is killed or fails."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest

from features.errors import ContractError, StoreError
from features.settings import Settings, Workspace
from serving.answer import Answer
from serving.hooks.kept import rows
from serving.hooks.rounds import Rounds
from serving.hooks.worker import STALE_AFTER, Worker
from serving.ledger import Ledger
from serving.reader import Ask
from serving.score import Score
from tests.serving.hooks.payloads import NOW, hook, unpacked

HOOKS = {"crm": hook(propensities=["lead-conversion"], write_back={"url": "http://127.0.0.1:1/{id}"})}
LATER = NOW + STALE_AFTER + timedelta(seconds=1)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(Workspace(tmp_path, Settings()))


class Desk:
    """Scores as a desk does, and remembers who was asked about; an id `bad` breaks it, and without a store it cannot."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...], list[Ask]]] = []
        self.has_store, self.degraded = True, False

    def __call__(self, entity: str, propensities: tuple[str, ...], asks: Sequence[Ask], now: datetime) -> list[Answer]:
        if not self.has_store:
            raise StoreError("the store", expected="an answer", received="none", repair="start it")
        if any(ask.entity_id == "bad" for ask in asks):
            raise ContractError("a record of bad@example.com", expected="x", received="bad@example.com", repair="y")
        self.asked.append((entity, propensities, list(asks)))
        return [self._answer(ask.entity_id or "", name, now) for ask in asks for name in propensities]

    def _answer(self, entity_id: str, name: str, now: datetime) -> Answer:
        score = Score(
            entity_id, name, True, None, None, 50, 0.5, 0.5, "B", None, (), (), (), (), now, now, "1", degraded=self.degraded
        )
        return Answer(score, json.dumps({"entity_id": entity_id, "score": 50}).encode())


def receive(ledger: Ledger, call: str, body: object) -> None:
    ledger.receive(rows(unpacked(HOOKS["crm"], body).received, call, NOW))


def test_calls_about_one_record_are_scored_once_with_the_later_field_over_the_earlier(ledger: Ledger) -> None:
    desk = Desk()
    worker = Worker("one", ledger, HOOKS, desk)
    receive(ledger, "c1", [{"id": 7, "origin": "Web", "wanted": "2026-11-22 06:07:30.752655"}, {"id": 8}])
    receive(ledger, "c2", {"id": 7, "origin": None, "budget": "5"})
    receive(ledger, "c2", {"id": 7, "origin": None, "budget": "5"})  # the same call, kept twice
    assert ledger.waiting().inbox == 3 and worker.work(NOW) == 2 and worker.work(NOW) == 0
    wanted = datetime(2026, 11, 22, 6, 7, 30, 752655, UTC)
    seven = Ask("7", {"lead_origin": None, "wanted": wanted, "lead_budget": 5.0}, may_be_new=True)
    assert desk.asked == [("lead", ("lead-conversion",), [seven, Ask("8", {}, may_be_new=True)])]
    letters = ledger.due(NOW, 10)
    assert [(letter.id, letter.entity_id, json.loads(letter.document)["score"]) for letter in letters] == [
        ("c2/0/lead-conversion", "7", 50), ("c1/1/lead-conversion", "8", 50),
    ]  # fmt: skip
    assert ledger.waiting() == (0, 2, 0)


def test_without_write_back_a_score_is_only_stored(ledger: Ledger) -> None:
    receive(ledger, "c1", {"id": 7})
    assert Worker("one", ledger, {"crm": hook()}, Desk()).work(NOW) == 1 and ledger.waiting() == (0, 0, 0)


def _work_until_killed(root: Path, after: str) -> None:
    """In a process of its own: claim, score, and be killed before or after the letters are queued."""
    ledger = Ledger.open(Workspace(root, Settings()))

    def killed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(ledger, {"claim": "send_later", "send_later": "done"}[after], killed)
    Worker("dying", ledger, HOOKS, Desk()).work(NOW)


@pytest.mark.parametrize(("after", "queued"), [("claim", 0), ("send_later", 1)])
def test_a_worker_that_is_killed_loses_nothing_and_queues_no_second_letter(
    ledger: Ledger, tmp_path: Path, after: str, queued: int
) -> None:
    receive(ledger, "c1", {"id": 7})
    process = multiprocessing.get_context("fork").Process(target=_work_until_killed, args=(tmp_path, after))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL and ledger.waiting() == (1, queued, 0)
    alive = Worker("alive", ledger, HOOKS, Desk())
    assert alive.work(NOW) == 0, "the claim may be that of a living worker"
    assert alive.work(LATER) == 1 and ledger.waiting() == (0, 1, 0)
    assert [letter.id for letter in ledger.due(LATER, 10)] == ["c1/0/lead-conversion"]


def test_while_nothing_can_be_scored_records_wait_and_are_scored_at_once_afterwards(ledger: Ledger) -> None:
    receive(ledger, "c1", [{"id": 7}, {"id": 8}])
    desk = Desk()
    worker = Worker("one", ledger, HOOKS, desk)
    desk.has_store = False
    with pytest.raises(StoreError):
        worker.work(NOW)
    desk.has_store, desk.degraded = True, True
    with pytest.raises(StoreError, match="stored scores only"):
        worker.work(NOW)
    desk.degraded = False
    assert ledger.waiting() == (2, 0, 0) and worker.work(NOW) == 2 and ledger.waiting() == (0, 2, 0)


def test_a_record_that_breaks_the_scoring_holds_up_no_other_stays_and_is_not_named(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    receive(ledger, "c1", [{"id": number} for number in (1, 2, "bad", 3, 4)])
    desk = Desk()
    worker = Worker("one", ledger, HOOKS, desk)
    with caplog.at_level(logging.WARNING):
        assert worker.work(NOW) == 4
    assert sorted(ask.entity_id for _, _, asks in desk.asked for ask in asks) == ["1", "2", "3", "4"]
    assert ledger.waiting() == (1, 4, 0) and worker.work(NOW) == 0
    assert "c1/2" in caplog.text and "ContractError" in caplog.text and "example.com" not in caplog.text
    receive(ledger, "c2", {"id": "bad", "origin": "mended"})
    assert worker.work(LATER) == 0 and ledger.waiting().inbox == 2


def test_rounds_go_on_after_errors_and_end_when_asked() -> None:
    seen: list[datetime] = []
    enough = Event()

    def one(now: datetime) -> int:
        seen.append(now)
        if len(seen) == 4:
            enough.set()
        return 1 if len(seen) < 4 else 0

    rounds = Rounds("test", one, lambda: NOW)
    rounds.start()
    assert enough.wait(30) and rounds.stop() and set(seen) == {NOW}


def test_an_error_of_a_round_does_not_end_the_thread(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("serving.hooks.rounds.PAUSE_AFTER_ERROR_SECONDS", 0.01)
    errors: list[Exception] = [StoreError("a", expected="b", received="c", repair="d"), ValueError("secret")]
    over = Event()

    def one(now: datetime) -> int:
        if errors:
            raise errors.pop(0)
        over.set()
        return 0

    rounds = Rounds("test", one, lambda: NOW)
    with caplog.at_level(logging.WARNING):
        rounds.start()
        assert over.wait(30) and rounds.stop()
    assert "ValueError" in caplog.text and "secret" not in caplog.text
