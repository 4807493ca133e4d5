"""Servers that tests start for themselves: databases of their own, MLflow, Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

ADMINISTRATION = "postgresql://postgres@127.0.0.1:5432/postgres"


@contextmanager
def database(prefix: str) -> Iterator[str]:
    """A fresh PostgreSQL database, dropped at the end; its name."""
    import psycopg

    name = f"{prefix}_{uuid4().hex}"
    with psycopg.connect(ADMINISTRATION, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
        try:
            yield name
        finally:
            connection.execute(f'drop database "{name}" with (force)')


@contextmanager
def mlflow_server(database: str, folder: Path, port: int) -> Iterator[str]:
    """An `mlflow server` on that database, which hands out the artifacts below the folder itself; its address."""
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # six processes that nothing here needs
    backend = f"postgresql://postgres@127.0.0.1:5432/{database}"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--workers", "1",
               "--artifacts-destination", str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=environment, start_new_session=True
        )
    try:
        address, began = f"http://127.0.0.1:{port}", time.monotonic()
        while not _healthy(address):
            if process.poll() is not None or time.monotonic() - began > 300:
                pytest.fail((folder / "log").read_text())
            time.sleep(0.5)
        yield address
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def redis_server(folder: Path, port: int, password: str) -> Iterator[None]:
    """A Redis that wants a password and keeps nothing on disk."""
    import redis

    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen([*command, "--requirepass", password], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port, password=password) as client:
            _wait_for(client)
        yield
    finally:
        process.terminate()
        process.wait(timeout=60)


def _wait_for(client: object) -> None:
    import redis

    for _ in range(100):
        try:
            client.ping()  # type: ignore[attr-defined]
            return
        except redis.ConnectionError:
            time.sleep(0.1)
    pytest.fail("Redis does not start")


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
