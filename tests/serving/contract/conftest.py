"""A counter: a shop's service with everything on: a Redis of its own, API keys, webhooks of three CRMs, a CRM told of scores."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from features.settings import Workspace
from serving.http import keys
from tests.serving.contract.running import Running, copied, own_redis, running, until
from training import registry

SIGNED_WITH = "espocrm-signs-with-this"
SETTINGS = """adapter = "canonical"
[mlflow]
tracking_uri = "{mlflow}"
[store]
online = "redis://127.0.0.1:{redis}"
[hooks.odoo]
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
    """A running service, its workspace, the process of its online store, what the CRM was told, and keys by scope."""

    workspace: Workspace
    running: Running
    redis: subprocess.Popen[bytes]
    told: list[tuple[str, dict[str, Any]]]
    secrets: dict[str, str] = field(repr=False)

    def client(self, scope: str = "all") -> httpx.Client:
        """A client with a key of that scope."""
        headers = {"Authorization": f"Bearer {self.secrets[scope]}"}
        return httpx.Client(base_url=self.running.address, headers=headers, timeout=60)

    @contextmanager
    def slow_store(self) -> Iterator[None]:
        """The online store does not answer, as if its machine were stopped; afterwards the service is ready again."""
        self.redis.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.redis.send_signal(signal.SIGCONT)
        with httpx.Client(base_url=self.running.address, timeout=60) as client:
            until(lambda: client.get("/readyz").status_code == 200)


@pytest.fixture(scope="session")
def counter(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    """The service, shared by all tests of this folder."""
    folder = tmp_path_factory.mktemp("counter")
    told: list[tuple[str, dict[str, Any]]] = []
    with own_redis(folder) as (redis, port), _crm(told) as crm:
        workspace = copied(shop, folder / "workspace", SETTINGS.format(
            mlflow=registry.store_uri(shop), redis=port, crm=crm, secret=SIGNED_WITH))  # fmt: skip
        secrets = {scope: key(workspace, [scope]) for scope in keys.SCOPES} | {"all": key(workspace, list(keys.SCOPES))}
        with running(workspace, folder / "log") as found:
            yield Counter(workspace, found, redis, told, secrets)


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
