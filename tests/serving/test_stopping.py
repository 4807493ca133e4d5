"""A service that is told to stop has ended when the documentation says, whatever keeps its parts busy."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from features.settings import Workspace
from serving import office, service
from serving.deadline import Deadline
from serving.office import Office
from tests.serving.running import copied, running

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def test_a_deadline_tells_what_is_left_and_never_less_than_nothing() -> None:
    clock = Clock()
    deadline = Deadline(5.0, clock)
    assert deadline.left == 5.0
    clock.seconds += 4.0
    assert deadline.left == 1.0
    clock.seconds += 4.0
    assert deadline.left == 0.0


class Greedy:
    """Parts of an office that take all the time they may; `log` holds which took how much."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.log = clock, dict[str, float]()

    def taking(self, name: str) -> Callable[[float], None]:
        def stop(timeout: float) -> None:
            self.log[name] = timeout
            self.clock.seconds += timeout

        return stop


def test_all_parts_together_take_no_longer_than_one_deadline(filled: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what only memory holds comes before what the next service can do."""
    opened, clock = Office(filled), Clock()
    opened.stop()
    parts = Greedy(clock)

    class Mail:
        stop_scoring, stop_sending = staticmethod(parts.taking("scoring")), staticmethod(parts.taking("sending"))

    monkeypatch.setattr(office, "Deadline", partial(Deadline, clock=clock))
    monkeypatch.setattr(opened, "_reception", Mail)
    stopping = {"recorder": opened.archive.recorder, "_shadow": opened._shadow, "lineup": opened.lineup}
    for name, part in stopping.items():
        monkeypatch.setattr(part, "stop", parts.taking(name))
    began = clock.seconds
    opened.stop()
    assert list(parts.log) == ["scoring", "recorder", "_shadow", "lineup", "sending"]
    assert clock.seconds - began == office.SECONDS_TO_STOP and parts.log["recorder"] >= office.SECONDS_TO_STOP / 2


def test_the_documented_seconds_are_enough_for_everything() -> None:
    told = re.search(r"has ended within (\d+) seconds", OPERATIONS.read_text(encoding="utf-8"))
    needed = service.SECONDS_TO_DRAIN + office.SECONDS_TO_STOP + service.SECONDS_FOR_SPANS
    assert told and needed < int(told[1])
    assert f"--timeout-graceful-shutdown {service.SECONDS_TO_DRAIN}`" in OPERATIONS.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_caller_that_never_finishes_its_request_does_not_keep_the_service_from_ending(shop: Workspace, tmp_path: Path) -> None:
    with running(copied(shop, tmp_path / "workspace"), tmp_path / "log") as started:
        host, port = started.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as caller:
            head = b"POST /v1/churn HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            caller.sendall(head)
            started.get("/livez")  # what came before has been taken up
            started.end()
