"""Where the ledger is: `[serving] ledger` of `foresell.toml` in SQLAlchemy's terms."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from features.errors import WorkspaceError
from features.remote.database import filled_in
from features.settings import Workspace

FILE = "ledger.db"
PAGES_UNTIL_CHECKPOINT = 4_000  # one that changes in several requests is copied into the file once


@dataclass(frozen=True)
class Address:
    """A database: the file, when it is SQLite."""

    url: URL
    path: Path | None

    @classmethod
    def of(cls, workspace: Workspace) -> Address:
        """The ledger of a workspace; nothing is opened.

        Raises:
            WorkspaceError: `[serving] ledger` is neither `sqlite` nor a PostgreSQL address.
        """
        told = workspace.settings.serving.ledger
        if told == "sqlite":
            path = workspace.serving / FILE
            return cls(URL.create("sqlite", database=str(path)), path)
        try:
            url = filled_in(make_url(told))
        except (ArgumentError, ValueError):
            raise _not_an_address() from None
        if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg") or not url.host:
            raise _not_an_address()
        return cls(url.set(drivername="postgresql+psycopg"), None)

    @property
    def where(self) -> str:
        """For error messages; without the password and the options."""
        return f"ledger {self.path}" if self.path else f"ledger {self.url.set(query={}).render_as_string(hide_password=True)}"

    def connect(self, patience_ms: int, pages: int = 0) -> Any:
        """A connection of the driver's own, on which a statement may take so long; each is a transaction of its own.

        Args:
            patience_ms: how long a statement may take.
            pages: that SQLite keeps in memory; 0 for as many as it does by itself.
        """
        if self.path:
            return _connect_file(self.path, patience_ms, pages)
        from serving.ledger.patience import Patience

        address = self.url.set(drivername="postgresql").difference_update_query(["options"])
        options = str(self.url.query.get("options", ""))
        return Patience.ending(address.render_as_string(hide_password=False), options, patience_ms)


def _connect_file(path: Path, patience_ms: int, pages: int) -> sqlite3.Connection:
    connection = sqlite3.connect(path, patience_ms / 1_000, isolation_level=None, check_same_thread=False)
    connection.execute("pragma synchronous = normal")
    connection.execute(f"pragma wal_autocheckpoint = {PAGES_UNTIL_CHECKPOINT}")
    if pages:
        connection.execute(f"pragma cache_size = {pages}")
    return connection


def _not_an_address() -> WorkspaceError:
    return WorkspaceError(
        "[serving] ledger in foresell.toml",
        expected="`sqlite`, or a PostgreSQL address such as postgresql://user@host/database",
        received="something else",
        repair="a password may stay out of the file: postgresql://user:${PASSWORD}@host/database",
    )
