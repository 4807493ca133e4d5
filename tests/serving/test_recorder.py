"""The recorder: the hot path never waits for it, and nothing that was accepted is lost while the database is away."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from features.settings import SETTINGS_FILE, Workspace
from serving.ledger import Ledger
from serving.recorder import Recorder
from tests.serving.ledger.entries import entry


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / SETTINGS_FILE).write_text("[serving]\nledger_deadline_ms = 5000")
    return Workspace.open(tmp_path)


@pytest.fixture
def ledger(workspace: Workspace) -> Iterator[Ledger]:
    with closing(Ledger.open(workspace, write_ms=20)) as ledger:
        yield ledger


@contextmanager
def away(workspace: Workspace) -> Iterator[None]:
    """Nobody else can write."""
    with closing(sqlite3.connect(workspace.serving / "ledger.db", isolation_level=None)) as connection:
        connection.execute("begin immediate")
        yield


def until(true: Callable[[], bool]) -> None:
    """Wait, but not for ever."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_is_put_is_written_without_being_asked_for(ledger: Ledger) -> None:
    recorder = Recorder(ledger, every_seconds=0.01)
    recorder.put([])
    recorder.put([entry("1", 0.1), entry("2")])
    recorder.put([entry("1", 0.2)])
    until(lambda: recorder.waiting == 0)
    assert ledger.latest("churn", ["1"])["1"].probability == 0.2
    assert [served.entity_id for served in ledger.audit()] == ["1", "2", "1"]
    assert recorder.stop(60) and (recorder.dropped, recorder.failures) == (0, 0)


def test_enough_entries_are_written_sooner(ledger: Ledger) -> None:
    recorder = Recorder(ledger, every_seconds=3_600)
    recorder.put([entry(f"{i}") for i in range(12_000)])
    until(lambda: recorder.waiting == 0)
    assert recorder.stop(60) and len(ledger.audit(limit=20_000)) == 12_000


def test_stop_writes_what_is_left_and_takes_no_more(ledger: Ledger) -> None:
    recorder = Recorder(ledger, every_seconds=3_600)
    recorder.put([entry("1")])
    assert recorder.stop(60) and len(ledger.latest("churn", ["1"])) == 1
    recorder.put([entry("2"), entry("3")])
    assert (recorder.dropped, recorder.waiting) == (2, 0)


def test_nothing_is_lost_while_the_database_is_away(workspace: Workspace, ledger: Ledger) -> None:
    ledger.keep([entry("first")])
    recorder = Recorder(ledger, every_seconds=0.01)
    with away(workspace):
        recorder.put([entry(f"{i}") for i in range(100)])
        until(lambda: recorder.failures >= 2)
        recorder.put([entry(f"{i}", 0.5) for i in range(50, 150)])
        assert recorder.waiting == 200
    until(lambda: recorder.waiting == 0)
    assert recorder.stop(60) and recorder.dropped == 0
    assert [served.entity_id for served in ledger.audit(limit=1_000)][1:] == [f"{i}" for i in [*range(100), *range(50, 150)]]
    assert ledger.latest("churn", ["75"])["75"].probability == 0.5


def test_beyond_the_capacity_the_oldest_are_dropped_and_counted(workspace: Workspace, ledger: Ledger) -> None:
    ledger.keep([entry("first")])
    recorder = Recorder(ledger, capacity=10, every_seconds=0.01)
    with away(workspace):
        recorder.put([entry("0")])
        until(lambda: recorder.failures >= 1)
        recorder.put([entry(f"{i}") for i in range(1, 101)])
        assert (recorder.waiting, recorder.dropped) == (10, 91)
    assert recorder.stop(60) and recorder.dropped == 91
    assert [served.entity_id for served in ledger.audit()] == ["first", "0", *(f"{i}" for i in range(92, 101))]


def test_stop_gives_up_after_its_time_and_says_so(workspace: Workspace, ledger: Ledger) -> None:
    ledger.keep([entry("first")])
    recorder = Recorder(ledger, every_seconds=0.01)
    with away(workspace):
        recorder.put([entry("1"), entry("2")])
        assert not recorder.stop(0.2)
    assert recorder.dropped == 2 and recorder.failures >= 1


def test_an_entry_that_cannot_be_stored_does_not_stop_the_others(ledger: Ledger) -> None:
    recorder = Recorder(ledger, every_seconds=3_600)
    entries = [entry(f"{i}") for i in range(20)]
    entries[7] = entries[7]._replace(entity_id="half \ud800")
    entries[9] = entries[9]._replace(score=object())
    entries[11] = entries[11]._replace(at=None)
    recorder.put(entries)
    assert recorder.stop(60) and recorder.dropped == 3
    assert [served.entity_id for served in ledger.audit()] == [f"{i}" for i in range(20) if i not in (7, 9, 11)]


def test_what_was_put_can_be_waited_for(workspace: Workspace, ledger: Ledger) -> None:
    recorder = Recorder(ledger, every_seconds=3_600)
    recorder.put([entry("1", 0.1)])
    assert recorder.flush(60) and ledger.latest("churn", ["1"])["1"].probability == 0.1
    with away(workspace):
        recorder.put([entry("1", 0.2)])
        assert not recorder.flush(0.2)
    recorder.stop(60)
    assert not recorder.flush(0.01)
