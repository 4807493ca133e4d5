"""Malformed bodies: each is answered with what is wrong, and the service is none the worse for it."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from benchmarks.fuzz import fuzz
from benchmarks.malformed import MUTATIONS, malformed
from tests.serving.contract.conftest import Counter
from tests.serving.running import until

pytestmark = pytest.mark.slow

GROWTH = 60 * 1024 * 1024
"""Far less than 1,500 bodies would leave behind if each of them were kept, far more than an allocator's mood."""


def test_malformed_bodies_get_a_problem_each_and_leave_nothing_behind(counter: Counter) -> None:
    with counter.client() as client:
        result = fuzz(counter.running, client, 1_500, seed=7)
        assert not result.faults, "\n".join(result.faults[:5])
        assert sum(result.statuses.values()) == 1_500 and {200, 400, 413, 415, 422} <= set(result.statuses)
        assert result.after - result.before < GROWTH
        assert client.post("/v1/churn", json={"ids": ["C0001"]}).json()["scores"][0]["model_version"] == "1"


def test_the_mutations_are_all_tried_and_the_same_for_a_seed() -> None:
    valid = [{"ids": ["a"]}]
    first, second = (list(malformed(valid, 3 * len(MUTATIONS), seed=3)) for _ in range(2))
    assert first == second and {sent.what for sent in first} == set(MUTATIONS)


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /v1/churn HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
        b"POST /v1/churn HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"ids",
        b"POST /v1/churn HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: x\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["too long a length", "a stream that breaks off", "a length that is none", "no HTTP at all"],
)  # fmt: skip
def test_a_caller_that_breaks_off_costs_nothing(counter: Counter, raw: bytes) -> None:
    before = counter.running.complaints().count("Traceback")
    place = urlsplit(counter.running.address)
    with socket.create_connection((place.hostname or "", place.port or 0)) as connection:
        connection.sendall(raw + b"\r\n")
    with counter.client() as client:
        until(lambda: client.get("/livez").status_code == 200)
        assert client.post("/v1/churn", json={"ids": ["C0001"]}).status_code == 200
    assert counter.running.complaints().count("Traceback") == before
    assert not [line for line in counter.running.lines() if line["status"] == 500]
