"""A counter: a shop's service with everything on: a Redis of its own, API keys, webhooks of three CRMs, a CRM told of scores."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from benchmarks.servers import Server, redis
from features.settings import Workspace
from serving.http import keys
from tests.serving.running import Running, copied, is_ready, running, until

SIGNED_WITH = "espocrm-signs-with-this"
SETTINGS = """[hooks.odoo]
shape = "odoo"
entity = "lead"
object = "crm.lead"
fields = {{ lead_origin = "source", lead_budget = "expected_revenue" }}
write_back = {{ url = "{crm}/{{entity}}/{{id}}/{{propensity}}" }}
[hooks.espocrm]
shape = "espocrm"
entity = "lead"
secret = "{secret}"
fields = {{ lead_origin = "source" }}
[hooks.salesforce]
shape = "salesforce"
entity = "lead"
object = "Lead"
fields = {{ lead_origin = "LeadSource", lead_budget = "AnnualRevenue" }}
"""


@dataclass(frozen=True)
class Counter:
    """A running service, its workspace, its online store, what the CRM was told, and keys by scope."""

    workspace: Workspace
    running: Running
    redis: Server
    told: list[tuple[str, dict[str, Any]]]
    secrets: dict[str, str] = field(repr=False)

    def client(self, scope: str = "all") -> httpx.Client:
        """A client with a key of that scope."""
        return self.running.client(Authorization=f"Bearer {self.secrets[scope]}")

    @contextmanager
    def slow_store(self) -> Iterator[None]:
        """The online store does not answer, as if its machine were stopped; afterwards the service is ready again."""
        self.redis.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.redis.signal(signal.SIGCONT)
        until(lambda: is_ready(self.running.address))


@pytest.fixture(scope="session")
def counter(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """The service, shared by all tests of this folder."""
    folder = tmp_path_factory.mktemp("counter")
    told: list[tuple[str, dict[str, Any]]] = []
    with redis(folder) as online, _crm(told) as crm:
        settings = SETTINGS.format(crm=crm, secret=SIGNED_WITH)
        workspace = copied(shop, folder / "workspace", settings, online=online.address, keys="required")
        secrets = {scope: key(workspace, [scope]) for scope in keys.SCOPES} | {"all": key(workspace, list(keys.SCOPES))}
        with running(workspace, folder / "log") as found:
            yield Counter(workspace, found, online, told, secrets)


def key(workspace: Workspace, scopes: list[Any], per_second: float = 1e6, burst: int = 1_000_000) -> str:
    """The secret of a new key."""
    return keys.create(workspace, "tests", scopes, per_second, burst, None, datetime.now(UTC))[1]


@contextmanager
def _crm(told: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.append((self.path, json.loads(body)))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
