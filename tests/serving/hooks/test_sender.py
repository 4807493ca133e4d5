"""Scores reach a CRM over real HTTP, signed and whole, again after every failure, and are given up only in plain sight."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from features.settings import Settings, Workspace
from serving.hooks.sender import LEASE, MOST_ATTEMPTS, Sender, backoff, client
from serving.http.address import free_port
from serving.ledger import Ledger, Letter
from tests.serving.hooks.payloads import NOW, hook

DOCUMENT = json.dumps({"entity_id": "a/b?c", "score": 81, "grade": "A", "reasons": [{"text": "Zürich"}]}).encode()
SECOND = timedelta(seconds=1)


@dataclass
class Crm:
    """A CRM that answers what it is told to, in order, and then 200; it remembers what it got."""

    url: str
    answers: list[tuple[int, dict[str, str]] | float] = field(default_factory=list)
    got: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def crm() -> Iterator[Crm]:
    found = Crm("")

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.got.append((self.command, self.path, dict(self.headers), body))
            told = found.answers.pop(0) if found.answers else (200, {})
            if isinstance(told, float):
                time.sleep(told)
                return
            self.send_response_only(told[0])
            for name, value in told[1].items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_PUT = do_PATCH = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(Workspace(tmp_path, Settings()))


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with client() as found:
        yield found


def letter(number: int = 0, entity_id: str = "a/b?c", document: bytes = DOCUMENT, source: str = "crm") -> Letter:
    return Letter(f"call/{number}/lead-conversion", source, "lead", entity_id, "lead-conversion", document)


def sender(ledger: Ledger, http: httpx.Client, url: str, **write_back: Any) -> Sender:
    return Sender(ledger, {"crm": hook(write_back={"url": url, **write_back})}, http)


def test_a_score_is_sent_as_the_settings_say(
    crm: Crm, ledger: Ledger, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_TOKEN", "token")
    monkeypatch.setenv("CRM_SECRET", "secret")
    ledger.send_later([letter()], NOW)
    settings = {
        "method": "PATCH", "fields": {"x_score": "score", "x_why": "reasons"}, "secret": "${CRM_SECRET}",
        "headers": {"Authorization": "Bearer ${CRM_TOKEN}"},
    }  # fmt: skip
    assert sender(ledger, http, crm.url + "/{entity}/{id}/{propensity}", **settings).send(NOW) == 1
    ((method, path, headers, body),) = crm.got
    assert (method, path) == ("PATCH", "/lead/a%2Fb%3Fc/lead-conversion")
    assert json.loads(body) == {"x_score": 81, "x_why": [{"text": "Zürich"}]}
    assert headers["Authorization"] == "Bearer token" and headers["Content-Type"] == "application/json"
    assert headers["X-Foresell-Signature"] == f"sha256={hmac.new(b'secret', body, hashlib.sha256).hexdigest()}"
    assert headers["Idempotency-Key"] == "call/0/lead-conversion"
    assert ledger.waiting() == (0, 0, 0) and ledger.due(NOW + LEASE * 2, 10) == []


def test_without_fields_the_whole_score_is_sent(crm: Crm, ledger: Ledger, http: httpx.Client) -> None:
    ledger.send_later([letter()], NOW)
    sender(ledger, http, crm.url).send(NOW)
    assert json.loads(crm.got[0][3]) == json.loads(DOCUMENT)


def test_a_failure_is_tried_again_after_5_seconds_10_20_and_the_id_of_nobody_is_logged(
    crm: Crm, ledger: Ledger, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    crm.answers = [(500, {}), (302, {"Location": "http://127.0.0.1:1"})]
    ledger.send_later([letter()], NOW)
    sends = sender(ledger, http, crm.url)
    with caplog.at_level(logging.INFO):
        now = NOW
        for wait in (5, 10):
            assert sends.send(now) == 0
            assert sends.send(now + (wait - 1) * SECOND) == 0
            now += wait * SECOND
        assert sends.send(now) == 1
    assert len(crm.got) == 3 and ledger.waiting() == (0, 0, 0)
    assert "HTTP 500" in caplog.text and "attempt 2" in caplog.text and "a/b" not in caplog.text and "a%2F" not in caplog.text


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"Retry-After": "120"}, 120),
        (503, {"Retry-After": "Sun, 22 Nov 2026 06:12:00 GMT", "Date": "Sun, 22 Nov 2026 06:10:00 GMT"}, 120),
        (429, {"Retry-After": "0"}, 0),
        (429, {"Retry-After": "99999999999999999999"}, 86_400),
        (429, {"Retry-After": "soon"}, 5),
        (503, {"Retry-After": "Sun, 22 Nov 2026 06:00:00 GMT", "Date": "Sun, 22 Nov 2026 06:10:00 GMT"}, 0),
        (500, {"Retry-After": "120"}, 5),
    ],
)
def test_retry_after_of_a_busy_crm_is_kept(
    crm: Crm, ledger: Ledger, http: httpx.Client, status: int, headers: dict[str, str], seconds: int
) -> None:
    crm.answers = [(status, headers)]
    ledger.send_later([letter()], NOW)
    sends = sender(ledger, http, crm.url)
    assert sends.send(NOW) == 0
    if seconds:
        assert sends.send(NOW + seconds * SECOND - timedelta(microseconds=1)) == 0 and len(crm.got) == 1
    assert sends.send(NOW + seconds * SECOND) == 1


def test_a_crm_that_is_busy_or_down_is_asked_once_and_holds_up_no_other(crm: Crm, ledger: Ledger, http: httpx.Client) -> None:
    down = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    hooks = {"crm": hook(write_back={"url": crm.url}), "down": hook(write_back={"url": down})}
    ledger.send_later([letter(number, str(number)) for number in range(3)], NOW)
    ledger.send_later([letter(number, str(number), source="down") for number in range(3, 6)], NOW)
    crm.answers = [(429, {"Retry-After": "10"})]
    sends = Sender(ledger, hooks, http)
    assert sends.send(NOW) == 0 and len(crm.got) == 1
    assert sends.send(NOW + LEASE) == 3 and ledger.waiting().outbox == 3


def test_a_crm_that_does_not_answer_in_time_is_tried_again(crm: Crm, ledger: Ledger) -> None:
    crm.answers = [1.0]
    ledger.send_later([letter()], NOW)
    with httpx.Client(timeout=0.1) as impatient:
        assert sender(ledger, impatient, crm.url).send(NOW) == 0
    with client() as patient:
        assert sender(ledger, patient, crm.url).send(NOW + 5 * SECOND) == 1


@pytest.mark.parametrize("status", [400, 404, 410, 422])
def test_what_a_crm_will_never_take_is_given_up_kept_and_counted(
    crm: Crm, ledger: Ledger, http: httpx.Client, status: int
) -> None:
    crm.answers = [(status, {})]
    ledger.send_later([letter()], NOW)
    sends = sender(ledger, http, crm.url)
    assert sends.send(NOW) == 0 and ledger.waiting() == (0, 0, 1)
    assert sends.send(NOW + timedelta(days=900)) == 0 and len(crm.got) == 1
    ledger.send_later([letter(1)], NOW + SECOND)
    assert ledger.waiting() == (0, 1, 0) and sends.send(NOW + SECOND) == 1


def test_after_the_last_attempt_a_letter_is_given_up(crm: Crm, ledger: Ledger, http: httpx.Client) -> None:
    crm.answers = [(500, {})] * 99
    ledger.send_later([letter()], NOW)
    sends = sender(ledger, http, crm.url)
    for number in range(MOST_ATTEMPTS + 3):
        sends.send(NOW + number * timedelta(hours=1))
    assert len(crm.got) == MOST_ATTEMPTS and ledger.waiting() == (0, 0, 1)
    assert backoff(0) == 5 * SECOND and backoff(9) == 2_560 * SECOND and backoff(10) == backoff(10**6) == timedelta(hours=1)


def test_a_newer_score_that_came_while_the_old_one_was_given_up_is_sent(crm: Crm, ledger: Ledger, http: httpx.Client) -> None:
    ledger.send_later([letter()], NOW)
    assert ledger.due(NOW, 1) == [letter()]
    ledger.send_later([letter(1)], NOW + SECOND)
    ledger.give_up(letter().id, "HTTP 404")
    assert ledger.waiting() == (0, 1, 0) and sender(ledger, http, crm.url).send(NOW + SECOND) == 1


@pytest.mark.parametrize(
    ("wrong", "settings"),
    [
        (letter(document=b'{"score": NaN}'), {}),
        (letter(document=b"no JSON"), {}),
        (letter(entity_id=".."), {}),
        (letter(), {"fields": {"x": "no_field"}}),
        (letter(), {"headers": {"X": "${FORESELL_ABSENT}"}}),
        (letter(), {"headers": {"X": "two\r\nlines"}}),
        (letter(), {"secret": "${FORESELL_ABSENT}"}),
    ],
)
def test_what_cannot_be_sent_is_not_and_waits(
    crm: Crm, ledger: Ledger, http: httpx.Client, wrong: Letter, settings: dict[str, Any]
) -> None:
    ledger.send_later([wrong], NOW)
    assert sender(ledger, http, crm.url + "/{id}", **settings).send(NOW) == 0
    assert crm.got == [] and ledger.waiting() == (0, 1, 0)


def test_a_letter_of_a_hook_that_is_gone_is_given_up(ledger: Ledger, http: httpx.Client) -> None:
    ledger.send_later([letter()], NOW)
    assert Sender(ledger, {}, http).send(NOW) == 0 and ledger.waiting() == (0, 0, 1)


def test_a_sender_killed_after_the_answer_sends_again_with_the_same_key(
    crm: Crm, ledger: Ledger, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def dies(letter_id: str) -> None:
        raise Killed

    ledger.send_later([letter()], NOW)
    sends = sender(ledger, http, crm.url)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(ledger, "sent", dies)
        sends.send(NOW)
    assert sends.send(NOW + LEASE - SECOND) == 0 and sends.send(NOW + LEASE) == 1
    assert [headers["Idempotency-Key"] for _, _, headers, _ in crm.got] == [letter().id] * 2


@pytest.mark.postgres
def test_letters_are_given_up_in_postgresql_too(tmp_path: Path) -> None:
    import psycopg

    name = f"foresell_hooks_{os.getpid()}"
    with psycopg.connect("postgresql://postgres@127.0.0.1:5432/postgres", autocommit=True) as admin:
        admin.execute(f"create database {name}")
        address = {"serving": {"ledger": f"postgresql://postgres@127.0.0.1:5432/{name}"}}
        ledger = Ledger.open(Workspace(tmp_path, Settings.model_validate(address)))
        try:
            ledger.send_later([letter()], NOW)
            ledger.give_up(letter().id, "HTTP 404")
            assert ledger.waiting() == (0, 0, 1) and ledger.due(NOW + timedelta(days=900), 1) == []
            ledger.send_later([letter(1)], NOW)
            assert ledger.waiting() == (0, 1, 0) and ledger.due(NOW, 1) == [letter(1)]
        finally:
            ledger.close()
            admin.execute(f"drop database {name} with (force)")
