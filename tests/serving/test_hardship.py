"""A disk that is full under the ledger, a request log that cannot be written, and a wall clock that jumps: answers go on."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from features.settings import Workspace
from serving.http import keys
from serving.ledger import Ledger
from tests.serving.running import Running, copied, running, until
from tests.serving.shop import NOW

pytestmark = pytest.mark.slow
YEAR = timedelta(days=365)
HOOK = '[hooks.form]\nentity = "lead"\nid = "id"\n'


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk of its own."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = os.getuid() == 0 and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=False)
    if not mounted or mounted.returncode:
        pytest.skip("only root may mount a disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that libfaketime reads the shift of the wall clock from."""
    file = tmp_path_factory.mktemp("clock") / "shift"
    file.write_text("+0d")
    return file


@pytest.fixture(scope="module")
def secret() -> list[str]:
    return []


@pytest.fixture(scope="module")
def service(
    shop: Workspace, disk: Path, clock: Path, secret: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
    if library is None:
        pytest.skip("libfaketime is not installed")
    folder = tmp_path_factory.mktemp("hardship")
    workspace = copied(shop, folder / "workspace", HOOK, keys="required")
    workspace.serving.symlink_to(disk, target_is_directory=True)
    _, made = keys.create(workspace, "crm", ("score", "hook", "admin"), 1_000, 1_000, None, NOW - 10 * YEAR)
    slow = [keys.create(workspace, f"slow {n}", ("score",), 0.001, 5, None, NOW - 10 * YEAR)[1] for n in range(2)]
    secret += [made, *slow]
    environment = {
        "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
    }  # fmt: skip
    with Path("/dev/full").open("wb") as full, running(workspace, folder / "log", stdout=full, **environment) as found:
        yield found


@pytest.fixture
def ledger(service: Running) -> Iterator[Ledger]:
    opened = Ledger.open(Workspace.open(service.log.parent / "workspace"))
    yield opened
    opened.close()


class Caller:
    """Asks with the key."""

    def __init__(self, service: Running, secret: str) -> None:
        self._service, self._headers = service, {"X-API-Key": secret}

    def ask(self, *ids: str) -> list[dict[str, Any]]:
        answer = httpx.post(f"{self._service.address}/v1/lead-conversion", json={"ids": ids}, headers=self._headers, timeout=30)
        assert answer.status_code == 200, answer.text
        scores: list[dict[str, Any]] = answer.json()["scores"]
        return scores

    def at(self, entity_id: str) -> datetime:
        """When a score that is asked for is said to be made."""
        return datetime.fromisoformat(self.ask(entity_id)[0]["scored_at"])

    def scored(self) -> list[str]:
        """The leads who get a score."""
        return [one["entity_id"] for one in self.ask(*(f"L{number:04d}" for number in range(100))) if one["score"] is not None]

    def statuses(self, calls: int) -> list[int]:
        body = {"ids": ["L0001"]}
        with httpx.Client(headers=self._headers, timeout=30) as client:
            return [client.post(f"{self._service.address}/v1/lead-conversion", json=body).status_code for _ in range(calls)]

    def hook(self, body: dict[str, Any]) -> int:
        address = f"{self._service.address}/v1/hooks/form/{self._headers['X-API-Key']}"
        return httpx.post(address, json=body, timeout=30).status_code

    def metric(self, line: str) -> float:
        """The value of a line that must be there: nothing told is not a zero."""
        answer = httpx.get(f"{self._service.address}/metrics", headers=self._headers, timeout=30)
        (found,) = [one for one in answer.text.splitlines() if one.startswith(line)]
        return float(found.rpartition(" ")[2])


@pytest.fixture
def caller(service: Running, secret: list[str]) -> Caller:
    return Caller(service, secret[0])


def test_a_full_disk_loses_no_answer_and_what_waited_is_written_when_there_is_room(
    service: Running, caller: Caller, ledger: Ledger, disk: Path
) -> None:
    (first,) = caller.ask("L0001")
    until(lambda: bool(ledger.of_entity(["lead-conversion"], "L0001")))
    with suppress(OSError), (disk / "filling").open("wb") as file:
        while True:
            file.write(bytes(65_536))
            file.flush()
    asked = [f"L{number:04d}" for number in range(300)] * 4
    answers = [one for _ in range(4) for one in caller.ask(*asked[:1_000])]
    assert len(answers) == 4_000 and not any(one["degraded"] for one in answers)
    assert {one["probability"] for one in answers if one["entity_id"] == "L0001"} == {first["probability"]}
    until(lambda: caller.metric('foresell_waiting{queue="recorder"}') > 0)
    assert caller.hook({"id": "L0002", "origin": "tv"}) in (202, 503)  # either kept, or not accepted
    (disk / "filling").unlink()
    until(lambda: caller.metric('foresell_waiting{queue="recorder"}') == 0)
    assert caller.metric('foresell_lost_total{what="recorder"}') == 0, service.complaints()
    assert len(ledger.audit(limit=100_000)) >= 4_001, service.complaints()
    until(lambda: caller.metric('foresell_dependency_up{dependency="ledger"}') == 1.0)  # who comes next finds it at work


def test_a_request_log_that_cannot_be_written_is_counted(caller: Caller) -> None:
    caller.ask("L0001")
    assert caller.metric('foresell_lost_total{what="log"}') > 0


@pytest.mark.parametrize(("shift", "slow"), [(YEAR, 1), (-YEAR, 2)], ids=["a year ahead", "a year back"])
def test_a_clock_that_jumps_changes_nothing_but_the_time_that_is_told(
    service: Running, caller: Caller, secret: list[str], ledger: Ledger, clock: Path, shift: timedelta, slow: int
) -> None:
    scored, early, late = caller.scored()[:3]
    first = caller.at(scored)
    until(lambda: _at(ledger, scored) == first)
    assert caller.hook({"id": early, "origin": "tv"}) == 202
    clock.write_text(f"{shift.days:+d}d")
    until(lambda: abs(caller.at(scored) - datetime.now(UTC) - shift) < timedelta(minutes=5))
    (after,) = caller.ask(scored)
    told = datetime.fromisoformat(after["scored_at"])
    assert after["score"] is not None and not after["degraded"] and after["change"]["causes"] == []
    until(lambda: _at(ledger, scored) == told)
    assert caller.hook({"id": late, "origin": "tv"}) == 202
    until(lambda: {_origin(ledger, one) for one in (early, late)} == {"tv"})
    statuses = Caller(service, secret[slow]).statuses(20)
    assert set(statuses) == {200, 429} and statuses[:5] == [200] * 5
    clock.write_text("+0d")
    until(lambda: abs(caller.at(scored) - datetime.now(UTC)) < timedelta(minutes=5))
    back = caller.at(scored)
    until(lambda: _at(ledger, scored) == back)
    for one in (early, late):
        caller.ask(one)
    assert caller.metric('foresell_dependency_up{dependency="online_store"}') == 1.0


def _at(ledger: Ledger, entity_id: str) -> datetime:
    return ledger.of_entity(["lead-conversion"], entity_id)[0].scored_at


def _origin(ledger: Ledger, entity_id: str) -> object:
    """What the last stored score of a lead knows of where it came from."""
    found = ledger.of_entity(["lead-conversion"], entity_id)
    return found[0].known.get("lead_origin") if found else None
