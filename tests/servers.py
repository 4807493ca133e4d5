"""Databases that tests make for themselves; servers of their own are in benchmarks.servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

POSTGRES = "postgresql://postgres@127.0.0.1:5432"


@contextmanager
def database(prefix: str) -> Iterator[str]:
    """A fresh PostgreSQL database, dropped at the end; its name."""
    import psycopg

    name = f"{prefix}_{uuid4().hex}"
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
        try:
            yield name
        finally:
            connection.execute(f'drop database "{name}" with (force)')
