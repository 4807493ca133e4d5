"""The log of attempts, whole whatever is killed, and the budget that is counted on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.errors import StoreError
from features.monitoring import RetrainSettings
from features.settings import Settings, Workspace
from training.retraining.attempts import Attempt, Begun, Ended, Judged, Log, next_possible

NOW = datetime(2024, 1, 1, tzinfo=UTC)
SETTINGS = RetrainSettings(attempts=2, within="28d")


def begun(id: str, at: datetime = NOW) -> Begun:
    return Begun(id=id, at=at, why=("drift: It moved.",), before="1", newest=NOW - timedelta(days=30))


def judged() -> Judged:
    return Judged(at=NOW, event=2, version="2", against="1", judgement="kept", sentence="Not worse.")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(Workspace(tmp_path, Settings()), "churn")


def test_what_was_written_is_read_back_and_an_end_finds_its_beginning(log):
    assert log.lines() == () and not log.path.parent.exists()
    end = Ended(id="a", end="promoted", version="2", sentences=("Fine.",), seconds=3.5)
    for line in (begun("a"), judged(), begun("b"), end):
        log.add(line)
    assert log.attempts() == (Attempt(begun("a"), end), Attempt(begun("b"), None))
    assert log.judged() == (judged(),)


def test_a_line_that_was_cut_off_is_no_line_and_spoils_none(log):
    log.add(begun("a"))
    whole = log.path.read_bytes()
    for length in range(len(whole)):
        log.path.write_bytes(whole + whole[:length].replace(b'"a"', b'"b"'))
        log.add(begun("c"))
        read = log.attempts()
        assert (read[0].begun.id, read[-1].begun.id) == ("a", "c")


def test_an_attempt_without_an_end_is_marked_once(log):
    for id in ("a", "b"):
        log.add(begun(id))
    settled = log.settle(lambda begun: "2" if begun.id == "b" else None)
    ends = [Ended(id="a", end="broken off"), Ended(id="b", end="promoted", version="2")]
    assert [attempt.ended for attempt in settled] == [attempt.ended for attempt in log.attempts()] == ends
    assert log.settle(lambda begun: None) == ()


def test_an_attempt_counts_until_its_microsecond(log):
    first, second = NOW, NOW + timedelta(days=3)
    tried = [Attempt(begun("b", second), None), Attempt(begun("a", first), None)]
    edge = first + timedelta(days=28)
    assert next_possible(tried[:1], SETTINGS, second) is None
    assert next_possible(tried, SETTINGS, second) == edge
    assert next_possible(tried, SETTINGS, edge - timedelta(microseconds=1)) == edge
    assert next_possible(tried, SETTINGS, edge) is None
    third = Attempt(begun("c", NOW + timedelta(days=4)), None)
    assert next_possible([*tried, third], SETTINGS, NOW + timedelta(days=5)) == second + timedelta(days=28)


def test_a_log_that_cannot_be_read_or_written_is_told(log):
    log.path.parent.parent.mkdir()
    log.path.parent.write_text("in the way")
    with pytest.raises(StoreError, match=r"churn\.jsonl"):
        log.add(begun("a"))
    log.path.parent.unlink()
    log.path.mkdir(parents=True)
    with pytest.raises(StoreError, match="IsADirectoryError"):
        log.lines()
