"""Where the ledger is: `[serving] ledger` of `foresell.toml` in SQLAlchemy's terms."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from features.errors import WorkspaceError
from features.settings import Workspace
from features.storage import expanded

FILE = "ledger.db"
CONNECT_SECONDS = 2  # the least that PostgreSQL's client can be told


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
            url = make_url(expanded(told))
        except (ArgumentError, ValueError):
            raise _not_an_address() from None
        if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg") or not url.host:
            raise _not_an_address()
        return cls(url.set(drivername="postgresql+psycopg"), None)

    @property
    def where(self) -> str:
        """For error messages; without the password and the options."""
        return f"ledger {self.path}" if self.path else f"ledger {self.url.set(query={}).render_as_string(hide_password=True)}"

    def engine(self, patience_ms: int) -> dict[str, Any]:
        """What SQLAlchemy needs to open it, with at most so much patience for an answer."""
        if self.path:
            arguments: dict[str, Any] = {"timeout": patience_ms / 1000, "check_same_thread": False, "cached_statements": 256}
            return {"url": self.url, "connect_args": arguments, "pool_size": 0}
        given = self.url.query.get("options", "")
        options = f"{given} -c statement_timeout={patience_ms}"
        arguments = {"connect_timeout": CONNECT_SECONDS, "options": options, "tcp_user_timeout": max(patience_ms, 1_000)}
        return {"url": self.url.difference_update_query(["options"]), "connect_args": arguments}


def _not_an_address() -> WorkspaceError:
    return WorkspaceError(
        "[serving] ledger in foresell.toml",
        expected="`sqlite`, or a PostgreSQL address such as postgresql://user@host/database",
        received="something else",
        repair="a password may stay out of the file: postgresql://user:${PASSWORD}@host/database",
    )
