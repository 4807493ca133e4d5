"""Alerts: whoever owns a propensity is told of new alarms and of their end, by e-mail and by a signed call to a webhook.

What is to be told is first written down as messages, then noted as told, then sent: a message that could not be sent waits and is
sent by a later run. Whoever is killed after a server took a message and before that was noted sends it once more, under the same
`Message-ID` and `Idempotency-Key`; so nothing is lost, and who gets a message twice can tell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from features.errors import BusyError, WorkspaceError
from features.remote.credential import credential, variables
from features.remote.environment import filled
from features.remote.failure import Unsent
from features.remote.pace import Pace
from features.remote.wire import Wire
from features.settings import Workspace
from serving.hooks.signature import signed
from serving.monitor.alerts import alarms as state
from serving.monitor.alerts.alarms import Alarms
from serving.monitor.alerts.mail import mail
from serving.monitor.alerts.message import Message, Way, drop, keep, kept, messages

CALLS_PER_SECOND = 5.0


@dataclass(frozen=True)
class Sent:
    """One message on one way.

    Attributes:
        id, owner: the message's.
        way: `mail` or `webhook`.
        subject: what it is about.
        failure: why it waits, without secrets; empty where it was taken.
    """

    id: str
    owner: str
    way: Way
    subject: str
    failure: str = ""


@dataclass(frozen=True)
class Alerts:
    """What a run sent, and what waits.

    Attributes:
        sent: every attempt.
        untold: how many alarms were noted as told though the settings name no way to tell anybody.
    """

    sent: tuple[Sent, ...]
    untold: int = 0

    @property
    def delivered(self) -> tuple[Sent, ...]:
        return tuple(one for one in self.sent if not one.failure)

    @property
    def waiting(self) -> tuple[Sent, ...]:
        return tuple(one for one in self.sent if one.failure)

    @property
    def error(self) -> BusyError | None:
        """What the caller shows where a message waits."""
        if not self.waiting:
            return None
        return BusyError(
            "alerts of [monitor] in foresell.toml",
            expected="every message to be taken",
            received="; ".join(f"{one.way} to {one.owner or 'nobody'}: {one.failure}" for one in self.waiting),
            repair="mend it; the next run sends them again, and `foresell monitor --test-alert` tries it at once",
        )


def send(workspace: Workspace, alarms: Alarms) -> Alerts:
    """Tell the owners of what nobody was told yet, and send what waits from earlier runs.

    Raises:
        WorkspaceError: the state of alarms cannot be read.
    """
    ways = _ways(workspace)
    for message in messages(workspace, alarms, ways, kept(workspace)) if ways else ():
        keep(workspace, message)
    untold = 0 if ways else len(alarms.untold)
    if alarms.untold or alarms.untold_ends:
        state.tell(workspace, alarms)
    return Alerts(_deliver(workspace, kept(workspace), ways), untold)


def test(workspace: Workspace, now: datetime) -> Alerts:
    """Send every owner a message that says nothing but that messages arrive; nothing of it waits.

    Raises:
        WorkspaceError: the settings name neither a mail server nor a webhook.
    """
    settings, ways = workspace.settings.monitor, _ways(workspace)
    if not ways:
        raise WorkspaceError(
            "[monitor] in foresell.toml",
            expected="`smtp` or `webhook`, or both",
            received="neither",
            repair='write for example webhook = "https://pager.example.com/foresell" or smtp = "smtp://mail.example.com"',
        )
    found = []
    for owner in sorted({*settings.owners.values(), settings.owner} - {""}) or [""]:
        id = sha256(f"{owner}\n{now.isoformat()}".encode()).hexdigest()[:32]
        message = Message(id=id, owner=owner, as_of=now, waits=ways, is_test=True)
        found += [_attempt(workspace, message, way) for way in ways]
    return Alerts(tuple(found))


def _deliver(workspace: Workspace, waiting: list[Message], ways: tuple[Way, ...]) -> tuple[Sent, ...]:
    """Try every message on every way that has not taken it and is still named, and note at once what was taken."""
    found = []
    for message in waiting:
        left = [way for way in message.waits if way in ways]
        for way in tuple(left):
            attempt = _attempt(workspace, message, way)
            found.append(attempt)
            if not attempt.failure:
                left.remove(way)
                if left:
                    keep(workspace, message.model_copy(update={"waits": tuple(left)}))
        if not left:
            drop(workspace, message)
    return tuple(found)


def _attempt(workspace: Workspace, message: Message, way: Way) -> Sent:
    try:
        _SENDERS[way](workspace, message)
    except Unsent as error:
        return Sent(message.id, message.owner, way, message.subject, error.told)
    except WorkspaceError as error:
        return Sent(message.id, message.owner, way, message.subject, f"{error.where}: {error.received}, not {error.expected}")
    return Sent(message.id, message.owner, way, message.subject)


def _post(workspace: Workspace, message: Message) -> None:
    """Post a message to the webhook.

    Raises:
        Unsent: it was not taken.
        WorkspaceError: the settings are wrong.
    """
    settings = workspace.settings.monitor
    url = filled(settings.webhook, "[monitor] webhook in foresell.toml")
    secret = credential(workspace, settings.secret, "[monitor] secret in foresell.toml") if settings.secret else ""
    body = json.dumps(message.document(workspace), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": message.id}
    if secret:
        headers["X-Foresell-Signature"] = signed(body, secret.encode())
    wire = Wire(settings.patience_seconds, Pace(CALLS_PER_SECOND, time.monotonic, time.sleep))
    wire.secrets += [secret, *variables(settings.webhook)]
    try:
        wire.call("POST", url, content=body, headers=headers)
    finally:
        wire.close()


def _ways(workspace: Workspace) -> tuple[Way, ...]:
    """The ways that the settings name."""
    settings = workspace.settings.monitor
    named: tuple[tuple[Way, str], ...] = (("mail", settings.smtp), ("webhook", settings.webhook))
    return tuple(way for way, address in named if address)


_SENDERS: Mapping[Way, Callable[[Workspace, Message], None]] = {"mail": mail, "webhook": _post}
