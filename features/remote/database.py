"""Somebody's database: PostgreSQL or SQLite at an address in the settings, with its password from the environment."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from features.errors import WorkspaceError
from features.remote.credential import masked
from features.settings import Workspace
from features.storage import expanded

PATIENCE_SECONDS = 30
LOCK_SECONDS, STATEMENT_SECONDS = 30, 120  # a night waits for nobody's transaction for ever
LONGEST_TOLD = 300


def address(workspace: Workspace, where: str, setting: str) -> URL:
    """The address in a setting; a SQLite file's path may be relative to the workspace.

    Raises:
        WorkspaceError: it is none, holds a password, or a variable is not set.
    """
    try:
        told = make_url(setting)
        url = filled_in(told)
    except (ArgumentError, ValueError):
        raise _not_an_address(where, "something else") from None
    if told.password and "${" not in str(told.password):
        raise _not_an_address(where, "an address with the password itself in it")
    if any("${" in str(part) for part in (url.username, url.password, url.host, url.database)):
        raise _not_an_address(where, "an environment variable that is not set")
    if url.drivername == "sqlite" and url.database:
        return url.set(database=str(workspace.root / url.database))
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg") or not url.host:
        raise _not_an_address(where, "something else")
    return url.set(drivername="postgresql+psycopg")


def filled_in(url: URL) -> URL:
    """An address with its environment variables; part by part, for a password may hold any sign."""
    return url.set(**{name: expanded(getattr(url, name)) for name in ("username", "password", "host", "database")})


def engine(url: URL, where: str) -> Engine:
    """An engine that waits for nobody for ever.

    Raises:
        WorkspaceError: the driver is not installed.
    """
    wait: dict[str, Any] = {"timeout": PATIENCE_SECONDS}
    if url.drivername != "sqlite":
        limits = f"-c lock_timeout={LOCK_SECONDS}s -c statement_timeout={STATEMENT_SECONDS}s"
        wait = {"connect_timeout": PATIENCE_SECONDS, "options": limits, "tcp_user_timeout": 1_000 * STATEMENT_SECONDS}
    try:
        return create_engine(url, connect_args=wait, pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError:
        raise WorkspaceError(
            f"{where} database",
            expected="the driver of its database",
            received="psycopg is not installed",
            repair="pip install 'foresell[postgres]'",
        ) from None


def told(problem: Exception, url: URL) -> str:
    """What a database said, short and without the password."""
    text = str((problem.orig if isinstance(problem, DBAPIError) else None) or problem)
    return masked(" ".join(text.split()), [str(url.password or "")])[:LONGEST_TOLD]


def _not_an_address(where: str, received: str) -> WorkspaceError:
    return WorkspaceError(
        where,
        expected="`sqlite:///FILE`, or a PostgreSQL address such as postgresql://user:${PASSWORD}@host/database",
        received=received,
        repair="write it so, and set the environment variables where Foresell is started",
    )
