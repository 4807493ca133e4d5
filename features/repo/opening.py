"""Feast opened for a workspace."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from features.console import silence_telemetry
from features.engine import Name
from features.errors import StoreError
from features.repo.instrumentation import uninstrumented
from features.settings import Workspace
from features.storage import config, expanded, registry, without_password

if TYPE_CHECKING:
    from feast import FeatureStore


@contextmanager
def feast_of(workspace: Workspace, engine: Name = "duckdb") -> Iterator[FeatureStore]:
    """Feast's store of a workspace and an engine, without telemetry and without warnings that no user can act on.

    Raises:
        WorkspaceError: `[store]` in foresell.toml is wrong.
        StoreError: the registry cannot be read or written.
    """
    silence_telemetry()
    workspace.store.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with uninstrumented():
            from feast import FeatureStore, RepoConfig

        warnings.simplefilter("ignore")  # once more: importing Feast switches warnings on
        with told(workspace):
            store = FeatureStore(config=RepoConfig(**expanded(config(workspace, engine))))
            warnings.simplefilter("ignore")  # and so does its Spark store
            yield store


@contextmanager
def told(workspace: Workspace) -> Iterator[None]:
    """Turns what the registry raises when it cannot be reached or read into an error that says so.

    Raises:
        StoreError: it cannot.
    """
    try:
        yield
    except SQLAlchemyError as problem:
        own = workspace.settings.store.registry == "sqlite"
        raise StoreError(
            f"Feast's registry {registry(workspace)}",
            expected="a registry that can be read and written",
            received=f"{type(problem).__name__}: {str(problem).splitlines()[0]}",
            repair="if no other command is at work on it, delete the file and run `foresell snapshot`, which makes it anew"
            if own
            else "start it, or correct `[store] registry` in foresell.toml; `foresell snapshot` fills one that is empty",
        ) from problem


@contextmanager
def answering(workspace: Workspace) -> Iterator[None]:
    """Turns what an online store raises when it cannot be reached or read into an error that says so.

    Raises:
        StoreError: it cannot.
    """
    try:
        yield
    except (sqlite3.Error, RedisError) as problem:
        raise StoreError(
            f"online store {without_password(workspace)}",
            expected="an answer",
            received=f"{type(problem).__name__}: {problem}",
            repair="start it, or correct `[store] online` in foresell.toml; `foresell snapshot` fills one that is empty",
        ) from problem
