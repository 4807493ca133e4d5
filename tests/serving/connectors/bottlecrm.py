"""BottleCRM, the real one: installed once a machine in an environment of its own, with its own database, asked over its API."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
import psycopg

from benchmarks.servers import HOST, Server
from serving.http.address import free_port, url
from tests.servers import POSTGRES, database

PACKAGE, LEAST_PYTHON = "django-crm==1.35.0", (3, 12)
NO_LATER_THAN = "2026-11-26"  # of the releases of what it needs
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foresell" / PACKAGE.replace("==", "-")
PYENV = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
SETTINGS = """
from crm.settings import *
MIGRATION_MODULES = {app.rpartition(".")[2]: None for app in INSTALLED_APPS}
"""
# its 239 migrations take two minutes to come to the same tables, and then set the same policies
SET_UP = """
import django; django.setup()
from common import rls
from django.core.management import call_command
from django.db import connection
call_command("migrate", run_syncdb=True, skip_checks=True, verbosity=0)
with connection.cursor() as cursor:
    for table in set(rls.ORG_SCOPED_TABLES) & set(connection.introspection.table_names(cursor)):
        cursor.execute(rls.get_enable_policy_sql(table))
call_command("devlogin", "anna@example.org", create=True)
"""


@lru_cache
def newer_python() -> str | None:
    """A Python that is new enough for it, if there is one on this machine; shims of pyenv are there and may not run."""
    named = [shutil.which(f"python3.{minor}") for minor in range(20, LEAST_PYTHON[1] - 1, -1)]
    kept = sorted(PYENV.glob("versions/3.*/bin/python"), reverse=True)
    code = f"import sys; sys.exit(sys.version_info < {LEAST_PYTHON})"
    for candidate in [sys.executable, *filter(None, named), *map(str, kept)]:
        if subprocess.run([candidate, "-c", code], capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def installed() -> Path:
    """The Python of the environment that it is in; the workers share one, and whoever comes first makes it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    environment, made = CACHE / "environment", CACHE / "made"
    python = environment / "bin" / "python"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            uv = str(Path(sys.executable).with_name("uv"))
            subprocess.run([uv, "venv", "--quiet", "--clear", "--python", str(newer_python()), str(environment)], check=True)
            install = [
                uv,
                "pip",
                "install",
                "--quiet",
                "--system-certs",
                "--python",
                str(python),
                "--exclude-newer",
                NO_LATER_THAN,
            ]
            subprocess.run([*install, PACKAGE], check=True)
            made.touch()
    return python


@dataclass
class Bottlecrm:
    """One that runs, with an organisation, as its administrator asks it."""

    url: str
    log: Path
    _client: httpx.Client

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What it answers, which must be success."""
        response = self._client.request(method, f"/api/{path}", json=body)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text[:500]}"
        return response.json() if response.content else None

    def token(self, scopes: list[str], expires_at: str | None = None) -> dict[str, Any]:
        """A new personal access token: `id` and `token`."""
        body = {"name": "foresell", "scopes": scopes, **({"expires_at": expires_at} if expires_at else {})}
        return dict(self.ask("POST", "profile/tokens/", body))

    def lead(self, name: str) -> str:
        """The id of a new lead."""
        return str(self.ask("POST", "leads/", {"title": name, "last_name": name})["id"])

    def account(self, name: str) -> str:
        """The id of a new account."""
        return str(self.ask("POST", "accounts/", {"name": name})["id"])


@contextmanager
def bottlecrm(folder: Path) -> Iterator[Bottlecrm]:
    """One on PostgreSQL, as a user of its own, for row security binds nobody who is a superuser; afterwards all is gone."""
    python, port = installed(), free_port(HOST)
    (folder / "here.py").write_text(SETTINGS, encoding="utf-8")
    with database("bottlecrm") as name, _owner(name):
        environment = {
            "DJANGO_SETTINGS_MODULE": "here", "PYTHONPATH": str(folder), "SECRET_KEY": "of this test and nobody else's: " + name,
            "DBNAME": name, "DBUSER": name, "DBPASSWORD": "", "DBHOST": HOST, "DBPORT": "5432",
            "CELERY_BROKER_URL": "memory://", "CELERY_RESULT_BACKEND": "cache+memory://",
        }  # fmt: skip
        made = subprocess.run(
            [str(python), "-c", SET_UP],
            env={**os.environ, **environment, "DEBUG": "True"},
            cwd=folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        (told,) = [line for line in made.stdout.splitlines() if line.startswith("access_token:")]
        words = ["env", *(f"{key}={value}" for key, value in environment.items())]
        serve = [str(python), "-m", "uvicorn", "crm.asgi:application", "--host", HOST, "--port", str(port)]
        address = url(HOST, port)
        with (
            Server([*words, *serve], folder, address, lambda: _is_healthy(address)),
            httpx.Client(base_url=address, headers={"Authorization": f"Bearer {told.split()[-1]}"}, timeout=60) as client,
        ):
            crm = Bottlecrm(address, folder / "servers.log", client)
            organisation = crm.ask("POST", "org/", {"name": "Foresell"})["org"]["id"]
            token = crm.ask("POST", "auth/switch-org/", {"org_id": organisation})["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield crm


@contextmanager
def _owner(name: str) -> Iterator[None]:
    """A user that owns the database of the same name; the database must be dropped before the user."""
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f'create role "{name}" login')
        try:
            connection.execute(f'alter database "{name}" owner to "{name}"')
            yield
        finally:
            connection.execute(f'alter database "{name}" owner to postgres')
            with psycopg.connect(f"{POSTGRES}/{name}", autocommit=True) as inside:
                inside.execute(f'drop owned by "{name}" cascade')
            connection.execute(f'drop role "{name}"')


def _is_healthy(address: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{address}/healthz/", timeout=5).status_code == 200
    return False
