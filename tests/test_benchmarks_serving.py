"""The benchmark of serving measures answers that are right, in every cell that it says it measures."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.serving import MANY, Size, check, measure, opened
from benchmarks.serving_contenders import FEAST, FLOOR, MLFLOW, OURS
from benchmarks.serving_load import _own, load
from benchmarks.serving_plot import plot
from benchmarks.serving_result import STAGES, Cell, Figures, Result, Stages, read_stages
from benchmarks.serving_table import table

SMALL = Size(entities=300, trees=20, seconds=1.0, warm_up=1.0, repeat=1, peers=False, workers=(1,))


@pytest.fixture
def answering():
    """A server that answers one request in three with 503, and counts them."""
    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(ConnectionResetError):
            while data := connection.recv(65_536):
                asked.append(data)
                status = b"503 no" if len(asked) % 3 == 0 else b"200 OK"
                connection.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/x", asked
    listener.close()


@pytest.mark.parametrize("client", [pytest.param("wrk", marks=pytest.mark.wrk), "own"])
def test_the_load_counts_answers_that_are_no_2xx(answering, client: str) -> None:
    address, asked = answering
    headers, bodies = {"X-Key": "k"}, ['{"ids": ["a"]}', '{"ids": ["b"]}']
    found = load(address, headers, bodies, 2, 1) if client == "wrk" else asyncio.run(_own(address, headers, bodies, 2, 0.3))
    assert found.requests > 10 and abs(found.wrong - found.requests / 3) < 3
    assert 0 < found.p50 <= found.p99 and found.per_second > 0
    assert {data.split(b"\r\n\r\n")[1].decode() for data in asked} == set(bodies)
    assert all(b"x-key: k" in data.lower() for data in asked)


def test_stages_are_those_of_the_log_from_a_byte_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    before = b'{"ms": 900, "stages": {"fetch": 900}}\n'
    log.write_bytes(
        before + b'INFO: started\n{"ms": 3, "stages": {"fetch": 1}}\n{"ms": 5, "stages": {"fetch": 3, "change": 1}}\n'
    )
    found = read_stages(log, len(before))
    assert (found.p50["fetch"], found.p50["change"], found.p50["predict"], found.p50["whole"]) == (2, 0.5, 0, 4)
    assert set(found.p50) == {*STAGES, "whole"}


def test_the_table_says_what_does_not_hold_and_who_is_missing(tmp_path: Path) -> None:
    times = dict.fromkeys((*STAGES, "whole"), 0.1)
    cells = {
        Cell(OURS, 1, 1, 1): Figures(9, 100, 2.0, 4.0, 1.0, 1),
        Cell(FLOOR, 1, 1, 1): Figures(9, 200, 1.0, 2.0, 1.0, 0),
        Cell(MLFLOW, 1, 1, 1): Figures(9, 10, 9.0, 9.0, 1.0, 0),
        Cell(OURS, 1, 100, 1): Figures(9, 10, 10.0, 9.0, 1.0, 0),
        Cell(OURS, 1, 1_000, 1): Figures(9, 10, 100.0, 9.0, 1.0, 0),
    }
    result = Result(cells, {1: Stages(times, times)}, {f"{FEAST}, 1 workers": "ended at once"})
    told = table(result)
    for line in (
        "| p50, of the floor's: 1 worker, 1 connection | 2.00 | at most 1.6 | **no** |",
        "| p99, of the floor's: 1 worker, 1 connection | 2.00 | at most 3 | yes |",
        "| requests/s, of the floor's: 1 worker, 1 connection | 0.50 | at least 0.6 | **no** |",
        "| requests/s, of mlflow models serve's: 1 worker, 1 connection | 10.00 | at least 5 | yes |",
        "| p50 of 100 entities, of one's | 5.00 | at most 6 | yes |",
        "| p50 of 1,000 entities, of one's | 50.00 | at most 30 | **no** |",
        "1 of 9 |",
        "* **feast serve, 1 workers** is missing: ended at once",
    ):
        assert line in told, told
    plot(result, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size < 100_000


@pytest.mark.slow
@pytest.mark.redis
def test_every_cell_is_measured_and_every_answer_is_the_scorers(tmp_path: Path) -> None:
    with opened(SMALL, tmp_path) as (world, started):
        assert [one.trouble for one in started] == ["", ""]
        check(world, started, range(100))
        result = measure(started, SMALL)
    wanted = {Cell(name, 1, 1, n) for name in (OURS, FLOOR) for n in SMALL.connections} | {Cell(OURS, 1, n, 1) for n in MANY}
    assert set(result.cells) == wanted and set(result.stages) == {1, *MANY}
    assert all(found.requests > 0 and found.wrong == 0 for found in result.cells.values())
    assert all(result.stages[1].p50[stage] > 0 for stage in STAGES)
