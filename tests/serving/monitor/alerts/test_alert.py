"""Owners are told of new alarms and of their end, once, by real mail and real calls; what was not taken waits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from features.errors import WorkspaceError
from features.finding import Finding
from features.settings import Settings, Workspace
from serving.hooks.signature import signed
from serving.monitor.alerts import alert
from serving.monitor.alerts.alarms import Alarms, read, update
from serving.monitor.alerts.message import kept
from tests.serving.monitor.alerts.postbox import PASSWORD, Postbox, Receiver, certificate, mail_server, receiver

NIGHT = datetime(2026, 3, 2, tzinfo=UTC)
CLOSED = "http://127.0.0.1:9/nobody"


@pytest.fixture
def pager() -> Iterator[Receiver]:
    with receiver() as kept_calls:
        yield kept_calls


@pytest.fixture
def box() -> Iterator[Postbox]:
    with mail_server() as found:
        yield found


def workspace_of(root: Path, **monitor: Any) -> Workspace:
    return Workspace(root, Settings.model_validate({"monitor": {"owner": "all@example.com", "patience_seconds": 5, **monitor}}))


def by_mail(root: Path, box: Postbox, **monitor: Any) -> Workspace:
    return workspace_of(root, smtp=f"smtp://127.0.0.1:{box.port}", **monitor)


def finding(where: str = "orders", *propensities: str) -> Finding:
    return Finding(
        kind="stopped", subject="data", severity="alarm", where=where, propensities=propensities or ("churn",), since=NIGHT,
        sentence=f"{where} brings nothing since yesterday.", repair="Ask whoever delivers it.", figures={"hours": 30.0},
    )  # fmt: skip


def look(workspace: Workspace, *found: Finding, night: int = 0) -> Alarms:
    return update(workspace, found, NIGHT + timedelta(days=night))


def test_each_owner_gets_one_letter_with_all_that_concerns_them(tmp_path: Path, box: Postbox) -> None:
    workspace = by_mail(tmp_path, box, owners={"churn": "ana@example.com", "upsell": "bo@example.com"})
    done = alert.send(workspace, look(workspace, finding("orders", "churn", "upsell"), finding("leads", "lead-conversion"),
                                      finding("surveys", "churn")))  # fmt: skip
    assert done.error is None and [one.way for one in done.delivered] == ["mail"] * 3
    letters = {letter["To"]: letter for letter in box.letters}
    texts = {to: letter.get_content() for to, letter in letters.items()}
    assert sorted(texts) == sorted(box.to) == ["all@example.com", "ana@example.com", "bo@example.com"]
    assert "orders brings" in texts["ana@example.com"] and "surveys brings" in texts["ana@example.com"]
    assert "leads" not in texts["ana@example.com"] and "surveys" not in texts["bo@example.com"]
    assert "What to do: Ask whoever" in texts["bo@example.com"] and str(workspace.monitor) in texts["bo@example.com"]
    assert letters["bo@example.com"]["Subject"] == "Foresell: 1 new: orders"


def test_what_was_told_is_not_told_again_and_its_end_is_told_once(tmp_path: Path, box: Postbox, pager: Receiver) -> None:
    workspace = by_mail(tmp_path, box, webhook=pager.url)
    for night, found in enumerate([[finding()], [finding()], [], [], []]):
        alert.send(workspace, look(workspace, *found, night=night))
        alert.send(workspace, look(workspace, *found, night=night))
    assert [letter["Subject"] for letter in box.letters] == ["Foresell: 1 new: orders", "Foresell: 1 ended: orders"]
    assert [(len(said["new"]), len(said["ended"])) for said in pager.documents] == [(1, 0), (0, 1)]
    opened, ended = pager.documents
    assert opened["new"][0]["key"] == ended["ended"][0]["key"] == finding().key, "a pager closes what it opened"


def test_the_webhook_gets_a_signed_document_without_ids_of_entities(
    tmp_path: Path, pager: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER_SECRET", "hush")
    workspace = workspace_of(tmp_path, webhook=pager.url, secret="${PAGER_SECRET}")
    alert.send(workspace, look(workspace, finding()))
    [(headers, body)], [document] = pager.calls, pager.documents
    assert headers["X-Foresell-Signature"] == signed(body, b"hush")
    assert headers["Idempotency-Key"] == document["id"]
    assert document["new"][0]["where"] == "orders" and document["owner"] == "all@example.com"
    assert set(document) == {"id", "workspace", "as_of", "owner", "test", "subject", "new", "ended", "page"}


@pytest.mark.parametrize("status", [500, 404, 302, 429])
def test_a_call_that_is_not_taken_waits_and_is_taken_once_later(tmp_path: Path, pager: Receiver, status: int) -> None:
    workspace = workspace_of(tmp_path, webhook=pager.url)
    pager.status = status
    refused = alert.send(workspace, look(workspace, finding()))
    assert refused.error is not None and str(status) in refused.error.received
    pager.status = 200
    assert alert.send(workspace, look(workspace, finding(), night=1)).error is None
    assert alert.send(workspace, look(workspace, finding(), night=2)).sent == ()
    assert len(pager.calls) == 1 and kept(workspace) == []


def test_servers_that_are_away_or_slow_are_given_up_and_tried_again(tmp_path: Path, pager: Receiver) -> None:
    away = workspace_of(tmp_path, webhook=CLOSED, smtp="smtp://127.0.0.1:9")
    done = alert.send(away, look(away, finding()))
    assert [one.failure for one in done.waiting] == ["the mail server does not answer: ConnectionRefusedError", "ConnectError"]
    slow = workspace_of(tmp_path, webhook=pager.url, patience_seconds=0.3)
    pager.gate.clear()
    assert "ReadTimeout" in [one.failure for one in alert.send(slow, look(slow, night=1)).waiting]
    pager.gate.set()
    awake = workspace_of(tmp_path, webhook=pager.url)
    assert len(alert.send(awake, look(awake, night=2)).delivered) >= 1 and kept(awake) == []


def test_one_way_that_fails_does_not_make_the_other_send_twice(tmp_path: Path, box: Postbox, pager: Receiver) -> None:
    workspace = by_mail(tmp_path, box, webhook=pager.url)
    pager.status = 500
    first = alert.send(workspace, look(workspace, finding()))
    assert [one.way for one in first.delivered] == ["mail"] and [one.way for one in first.waiting] == ["webhook"]
    pager.status = 200
    assert [one.way for one in alert.send(workspace, look(workspace, night=1)).delivered] == ["webhook"]
    assert (len(box.letters), len(pager.calls)) == (1, 1)


def test_a_mail_server_that_says_no_makes_the_letter_wait(tmp_path: Path, box: Postbox) -> None:
    workspace = by_mail(tmp_path, box)
    for night, answer in enumerate(("451 later", "554 never")):
        box.answer = answer
        done = alert.send(workspace, look(workspace, finding(), night=night))
        assert [one.failure for one in done.waiting] == [f"the mail server says SMTP {answer[:3]}"]
    box.answer = "250 taken"
    assert len(alert.send(workspace, look(workspace, finding(), night=2)).delivered) == len(box.letters) == 1


@pytest.mark.parametrize("smtps", [False, True])
def test_mail_goes_over_verified_tls_with_a_password_of_any_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smtps: bool
) -> None:
    pem = certificate(tmp_path)
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)
    with mail_server(pem, smtps=smtps, login=True) as box:
        address = f"smtp{'s' * smtps}://anna:${{MAIL_PASSWORD}}@127.0.0.1:{box.port}"
        workspace = workspace_of(tmp_path, smtp=address)
        refused = alert.send(workspace, look(workspace, finding()))
        assert [one.failure[:14] for one in refused.waiting] == ["no trusted TLS"] and box.letters == []
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert alert.send(workspace, look(workspace, finding(), night=1)).error is None
        assert (box.encrypted, box.by) == ([True], [b"anna"])
        monkeypatch.setenv("MAIL_PASSWORD", "wrong")
        again = alert.send(workspace, look(workspace, finding("surveys"), night=2))
        assert again.error is not None and "535" in again.error.received and "wrong" not in again.error.received


def test_a_password_is_not_sent_to_another_machine_without_tls(
    tmp_path: Path, box: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.monitor.alerts.mail.HERE", ())
    workspace = workspace_of(tmp_path, smtp=f"smtp://anna:pw@127.0.0.1:{box.port}")
    done = alert.send(workspace, look(workspace, finding()))
    assert [one.failure for one in done.waiting] == ["the server offers no TLS, and a password is not sent without"]


@pytest.mark.parametrize(
    ("monitor", "told"),
    [
        ({"smtp": "mail.example.com"}, "[monitor] smtp"),
        ({"smtp": "smtp://127.0.0.1:99999"}, "[monitor] smtp"),
        ({"smtp": "smtp://anna:${NOT_SET_ANYWHERE}@127.0.0.1"}, "${NOT_SET_ANYWHERE}"),
        ({"smtp": "smtp://127.0.0.1:9", "owner": ""}, "nobody"),
        ({"smtp": "smtp://127.0.0.1:9", "owner": "not an address"}, "[monitor] owners"),
        ({"webhook": "${NOT_SET_ANYWHERE}"}, "[monitor] webhook"),
        ({"webhook": CLOSED, "secret": "in-plain-sight"}, "[monitor] secret"),
        ({"webhook": "no address"}, "cannot be made"),
    ],
)
def test_wrong_settings_make_messages_wait_and_say_why(tmp_path: Path, monitor: dict[str, str], told: str) -> None:
    workspace = workspace_of(tmp_path, **monitor)
    error = alert.send(workspace, look(workspace, finding())).error
    assert error is not None and told in error.received and "in-plain-sight" not in str(error)
    assert len(kept(workspace)) == 1


def test_a_way_that_is_no_longer_named_is_not_waited_for(tmp_path: Path) -> None:
    away = workspace_of(tmp_path, webhook=CLOSED)
    alert.send(away, look(away, finding()))
    assert alert.send(workspace_of(tmp_path), look(away)).sent == () and kept(away) == []


def test_without_a_way_nothing_is_kept_and_it_is_said_how_much_was_not_told(tmp_path: Path) -> None:
    workspace = workspace_of(tmp_path)
    assert alert.send(workspace, look(workspace, finding())).untold == 1
    assert alert.send(workspace, look(workspace, finding(), night=1)).untold == 0 and kept(workspace) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from serving.monitor.alerts import alert
from tests.serving.monitor.alerts.test_alert import finding, look, workspace_of
where, root, url = sys.argv[1:]
def die(*given, **named): os.kill(os.getpid(), signal.SIGKILL)
target, name = {"written": (alert.state, "tell"), "told": (alert, "_deliver"), "sent": (alert, "drop")}[where]
setattr(target, name, die)
workspace = workspace_of(Path(root), webhook=url)
alert.send(workspace, look(workspace, finding()))
"""


@pytest.mark.parametrize(("where", "calls"), [("written", 1), ("told", 1), ("sent", 2)])
def test_who_is_killed_between_two_steps_loses_nothing_and_repeats_only_under_the_same_key(
    tmp_path: Path, pager: Receiver, where: str, calls: int
) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, where, str(tmp_path), pager.url], env=dict(os.environ), check=False)
    assert done.returncode == -signal.SIGKILL
    workspace = workspace_of(tmp_path, webhook=pager.url)
    for night in (1, 2):
        alert.send(workspace, look(workspace, finding(), *([finding("surveys")] if night == 2 else []), night=night))
    about = [(headers["Idempotency-Key"], said["new"][0]["where"])
             for (headers, _), said in zip(pager.calls, pager.documents, strict=True)]  # fmt: skip
    assert [where for _, where in about] == ["orders"] * calls + ["surveys"]
    assert len({key for key, _ in about}) == 2
    stored = read(workspace)
    assert stored is not None and stored.untold == () and kept(workspace) == []


def test_a_test_message_goes_to_every_owner_and_says_where_it_went(tmp_path: Path, box: Postbox, pager: Receiver) -> None:
    workspace = by_mail(tmp_path, box, webhook=pager.url, owners={"churn": "ana@example.com"})
    done = alert.test(workspace, NIGHT)
    assert [(one.owner, one.way) for one in done.delivered] == [
        (owner, way) for owner in ("all@example.com", "ana@example.com") for way in ("mail", "webhook")
    ]
    assert {letter["Subject"] for letter in box.letters} == {"Foresell: a test, nothing is wrong"}
    assert [said["test"] for said in pager.documents] == [True, True] and kept(workspace) == []


def test_a_test_without_a_way_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="neither"):
        alert.test(workspace_of(tmp_path), NIGHT)
