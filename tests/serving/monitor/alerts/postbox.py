"""A mail server and a receiver of calls, real ones on the loopback, that keep what they were sent."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PASSWORD = "s3cret/@:#"


@dataclass
class Postbox:
    """What a mail server took; `answer` is what it says to the next letters, `smtps` whether it speaks TLS at once."""

    smtps: bool = False
    answer: str = "250 taken"
    letters: list[EmailMessage] = field(default_factory=list)
    to: list[str] = field(default_factory=list)
    by: list[bytes | None] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    port: int = 0

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answer.startswith("250"):
            letter = message_from_bytes(envelope.content or b"", policy=policy.default)
            assert isinstance(letter, EmailMessage)
            self.letters.append(letter)
            self.to += envelope.rcpt_tos
            self.by.append(session.auth_data)
            self.encrypted.append(session.ssl is not None or self.smtps)
        return self.answer


@contextmanager
def mail_server(certificate: Path | None = None, smtps: bool = False, login: bool = False) -> Iterator[Postbox]:
    """A mail server; with a certificate it offers STARTTLS, or speaks TLS from the first byte."""
    box, context = Postbox(smtps), None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)

    def known(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"anna", PASSWORD.encode())
        return AuthResult(success=right, handled=False, auth_data=b"anna")

    given: dict[str, Any] = {"authenticator": known, "auth_required": True} if login else {}
    if smtps:
        given |= {"ssl_context": context, "auth_require_tls": False}
    elif context is not None:
        given |= {"tls_context": context, "require_starttls": True}
    server = Controller(box, hostname="127.0.0.1", port=_free_port(), **given)
    box.port = server.port
    server.start()
    try:
        yield box
    finally:
        server.stop()


@dataclass
class Receiver:
    """What was posted; `status` is what the next calls are answered, `gate` holds them back while it is not set."""

    status: int = 200
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    gate: Event = field(default_factory=Event)
    url: str = ""

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.calls]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver of calls."""
    kept = Receiver()
    kept.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.gate.wait(30)
            if kept.status == 200:
                kept.calls.append((dict(self.headers), body))
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept.url = f"http://127.0.0.1:{server.server_port}/pager"
    try:
        yield kept
    finally:
        kept.gate.set()
        server.shutdown()
        server.server_close()


def certificate(folder: Path) -> Path:
    """A certificate of 127.0.0.1 with its key, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
