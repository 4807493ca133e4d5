"""Mail: a message as an e-mail, by a mail server that the settings name.

`smtps://` speaks TLS from the first byte; `smtp://` goes over to TLS where the server offers it (STARTTLS, RFC 3207), and must
where a password is sent to another machine. Certificates are always verified.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formataddr, getaddresses
from urllib.parse import unquote, urlsplit

from features.errors import WorkspaceError
from features.remote.environment import filled
from features.remote.failure import Busy, Denied, Refused
from features.settings import Workspace
from serving.monitor.alerts.message import Message

WHERE = "[monitor] smtp in foresell.toml"
HERE = ("localhost", "127.0.0.1", "::1")
PORTS = {"smtp": 25, "smtps": 465}


@dataclass(frozen=True)
class Server:
    """A mail server; `user` is empty where nobody logs in."""

    scheme: str
    host: str
    port: int
    user: str
    password: str

    @classmethod
    def parse(cls, address: str) -> Server:
        """Read `smtp://user:${PASSWORD}@host:587`; user and password may be variables that hold any sign.

        Raises:
            WorkspaceError: it is no such address, or a variable is not set.
        """
        try:
            parts = urlsplit(address)
            port = parts.port or PORTS[parts.scheme]
        except (ValueError, KeyError):
            raise _unusable("an address such as smtp://user:${PASSWORD}@mail.example.com:587, or smtps://", "another") from None
        user, password = (filled(unquote(part or ""), WHERE) for part in (parts.username, parts.password))
        host = filled(_host(parts.netloc, parts.hostname), WHERE)
        if not host:
            raise _unusable("the name of a mail server", "none")
        return cls(parts.scheme, host, port, user, password)


def mail(workspace: Workspace, message: Message) -> None:
    """Send a message to its owner; the server has taken it when this returns.

    Raises:
        Refused: the server will not take it.
        Busy: the server does not answer, or not now.
        Denied: it lets nobody in, its certificate is not trusted, or it offers no TLS for a password.
        WorkspaceError: the settings are wrong.
    """
    server = Server.parse(workspace.settings.monitor.smtp)
    letter, to = _letter(workspace, message)
    try:
        client = _connected(server, workspace.settings.monitor.patience_seconds)
    except ssl.SSLError as error:
        raise Denied(f"no trusted TLS: {error.reason or type(error).__name__}") from None
    except (OSError, smtplib.SMTPServerDisconnected) as error:
        raise Busy(f"the mail server does not answer: {type(error).__name__}") from None
    except smtplib.SMTPResponseException as error:
        raise _failure(error.smtp_code) from None
    try:
        _send(client, server, letter, to)
    finally:
        client.close()


def _connected(server: Server, patience: float) -> smtplib.SMTP:
    if server.scheme == "smtps":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=patience, context=ssl.create_default_context())
    return smtplib.SMTP(server.host, server.port, timeout=patience)


def _send(client: smtplib.SMTP, server: Server, letter: EmailMessage, to: Sequence[str]) -> None:
    try:
        client.ehlo_or_helo_if_needed()
        if server.scheme == "smtp" and client.has_extn("starttls"):
            client.starttls(context=ssl.create_default_context())
        elif server.scheme == "smtp" and server.password and server.host not in HERE:
            raise Denied("the server offers no TLS, and a password is not sent without")
        if server.user:
            client.login(server.user, server.password)
        refused = client.send_message(letter, to_addrs=list(to))
    except ssl.SSLError as error:
        raise Denied(f"no trusted TLS: {error.reason or type(error).__name__}") from None
    except smtplib.SMTPRecipientsRefused:
        raise Refused("the server takes none of the addresses") from None
    except smtplib.SMTPAuthenticationError as error:
        raise Denied(f"the server lets nobody in: SMTP {error.smtp_code}", error.smtp_code) from None
    except smtplib.SMTPResponseException as error:
        raise _failure(error.smtp_code) from None
    except (smtplib.SMTPException, OSError) as error:
        raise Busy(f"the mail server broke off: {type(error).__name__}") from None
    with suppress(smtplib.SMTPException, OSError):
        client.quit()  # the server has the letter, whatever it says of the good-bye
    if refused:
        raise Refused(f"the server takes {len(refused)} of {len(to)} addresses not")


def _letter(workspace: Workspace, message: Message) -> tuple[EmailMessage, list[str]]:
    sender = filled(workspace.settings.monitor.sender, "[monitor] sender in foresell.toml")
    to = getaddresses([filled(message.owner, "[monitor] owners in foresell.toml")])
    if not to or not all("@" in address and address.isprintable() for _, address in to):
        raise WorkspaceError(
            "[monitor] owners in foresell.toml",
            expected='e-mail addresses, such as owner = "ana@example.com"',
            received=repr(message.owner) if message.owner else "nobody",
            repair="name somebody who is written to",
        )
    letter = EmailMessage(policy=SMTP)
    letter["From"], letter["To"] = sender, ", ".join(formataddr(one) for one in to)
    letter["Subject"] = " ".join(message.subject.split())
    letter["Date"], letter["Message-ID"] = message.as_of, f"<{message.id}@foresell>"
    letter["Auto-Submitted"] = "auto-generated"  # RFC 3834: no robot answers
    letter.set_content(message.text(workspace))
    return letter, [address for _, address in to]


def _failure(code: int) -> Exception:
    told = f"the mail server says SMTP {code}"
    return Busy(told) if 400 <= code < 500 or code <= 0 else Refused(told, code)


def _host(netloc: str, hostname: str | None) -> str:
    """The host as it is written: `${HOST}` must keep its capitals."""
    place = netloc.rpartition("@")[2]
    return place.rpartition(":")[0] or place if "${" in place else hostname or ""


def _unusable(expected: str, received: str) -> WorkspaceError:
    repair = "write it as docs/reference.md shows; a password stays in the environment"
    return WorkspaceError(WHERE, expected=expected, received=received, repair=repair)
