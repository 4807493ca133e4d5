"""Where Feast keeps a workspace's registry and records: `foresell.toml` in the terms of Feast's `feature_store.yaml`."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from datetime import timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from features.catalog import write_atomically
from features.engine import Name
from features.errors import WorkspaceError
from features.settings import REPOSITORY, Workspace
from features.wire import KEY_VERSION

FEAST_YAML = "feature_store.yaml"
ONLINE_DB = "online.db"
REGISTRY_DB = "registry.db"
ENTITIES = "entities.json"
PROJECT = "foresell"
ROWS_PER_WRITE = 10_000
# a caller of the service would rather hear at once that Redis is down than wait through the client's backoff, about 10 s
REDIS_PATIENCE = {"socket_connect_timeout": "2", "socket_timeout": "5"}
NO_OTHER_TRY = {"retry": "null"}  # redis-py's client for clusters does not take it
SERVERS, CLUSTERS = ("redis", "rediss"), ("redis+cluster", "rediss+cluster")
POSTGRES_PATIENCE = {"connect_timeout": 5}


def project(workspace: Workspace) -> str:
    """Feast's project: every key in a shared online store carries it, so that two workspaces never mix.

    It is `[store] project`, else `foresell` for the repository itself, else derived from the workspace's path.
    """
    if workspace.settings.store.project:
        return workspace.settings.store.project
    if workspace.root == REPOSITORY:
        return PROJECT
    return f"{PROJECT}_{blake2b(str(workspace.root).encode(), digest_size=6).hexdigest()}"


def config(workspace: Workspace, engine: Name = "duckdb") -> dict[str, Any]:
    """Feast's configuration, as `feature_store.yaml` would have it. `${NAME}` in it stands for an environment variable.

    The registry is a database because Feast rewrites a registry file in place, under the eyes of its readers. What Spark reads is
    a project of its own in it, for a source of Feast belongs to one offline store.

    Raises:
        WorkspaceError: `[store] online` or `[store] registry` is no address of a store that is known here.
    """
    return {
        "project": project(workspace) + ("_spark" if engine == "spark" else ""),
        "provider": "local",
        "registry": {
            "registry_type": "sql",
            "cache_ttl_seconds": 60,
            "serve_features_while_materializing": True,
            **_registry(workspace),
        },
        "offline_store": {"type": engine},
        "online_store": _online_store(workspace),
        # without a size Feast writes only the first Arrow batch; without the latest it may end with an older row
        "materialization": {"pull_latest_features": True, "online_write_batch_size": ROWS_PER_WRITE},
        "entity_key_serialization_version": KEY_VERSION,
    }


def expanded(raw: Any) -> Any:
    """A configuration with its environment variables filled in, as Feast does when it reads the file.

    Each text by itself: a password may hold a quotation mark or a backslash, which would break a whole document.
    """
    if isinstance(raw, dict):
        return {name: expanded(value) for name, value in raw.items()}
    return os.path.expandvars(raw) if isinstance(raw, str) else raw


def write(workspace: Workspace) -> Path:
    """Write the configuration for `feast -c features/repo -f THIS_FILE ...`; JSON is YAML."""
    path = workspace.store / FEAST_YAML
    write_atomically(path, (json.dumps(config(workspace), indent=2) + "\n").encode())
    return path


def workspace_of(yaml: Path) -> Workspace:
    """The workspace that a `feature_store.yaml` belongs to: the one it lies in, or the repository for the one in features/repo.

    Raises:
        WorkspaceError: there is no workspace there.
    """
    own = yaml.resolve().parents[2]
    return Workspace.open(own if yaml.resolve() == own / "data" / "store" / FEAST_YAML else REPOSITORY)


def remember_entities(workspace: Workspace, entities: Iterable[str]) -> None:
    """Keep which entities Feast was told of, so that a reader need not ask the registry."""
    write_atomically(workspace.store / ENTITIES, (json.dumps(sorted(entities)) + "\n").encode())


def remembered_entities(workspace: Workspace) -> frozenset[str]:
    """What was last kept by `remember_entities`; nothing where Feast was never told anything."""
    path = workspace.store / ENTITIES
    return frozenset(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else frozenset()


def without_password(workspace: Workspace) -> str:
    """The online store's address, fit to be shown."""
    return _masked(workspace.settings.store.online)


def registry(workspace: Workspace) -> str:
    """The registry's place, fit to be shown."""
    address = workspace.settings.store.registry
    return str(workspace.store / REGISTRY_DB) if address == "sqlite" else _masked(address)


def _registry(workspace: Workspace) -> dict[str, Any]:
    """Where Feast's SQL registry is, in the terms of SQLAlchemy.

    The password goes to the driver by itself: out of the environment it may hold any sign, in an address it may not.
    """
    address = workspace.settings.store.registry
    if address == "sqlite":
        return {"path": f"sqlite:///{workspace.store / REGISTRY_DB}"}
    try:
        parts = urlsplit(address)
        place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}"
    except ValueError:
        raise _not_a_registry(address) from None
    if parts.scheme not in ("postgresql", "postgresql+psycopg") or not parts.path.strip("/"):
        raise _not_a_registry(address)
    user = f"{parts.username}@" if parts.username else ""
    query = f"?{parts.query}" if parts.query else ""
    secret = {"password": unquote(parts.password)} if parts.password else {}
    return {
        "path": f"postgresql+psycopg://{user}{place}{parts.path}{query}",
        "sqlalchemy_config_kwargs": {"pool_pre_ping": True, "connect_args": {**POSTGRES_PATIENCE, **secret}},
    }


def _not_a_registry(address: str) -> WorkspaceError:
    return WorkspaceError(
        "[store] registry in foresell.toml",
        expected="`sqlite`, or a PostgreSQL address such as postgresql://user@127.0.0.1:5432/database",
        received=repr(_masked(address)),
        repair="a password may stay out of the file: postgresql://user:${PASSWORD}@host/database",
    )


def _online_store(workspace: Workspace) -> dict[str, Any]:
    address = workspace.settings.store.online
    if address == "sqlite":
        return {"type": "sqlite", "path": str(workspace.store / ONLINE_DB)}
    # Feast compares only event timestamps when it deduplicates, so that a correction at the same as_of would never land;
    # features.store compares whole records instead
    kind = {"redis_type": "redis_cluster"} if is_cluster(workspace) else {}
    return {"type": "redis", **kind, "connection_string": _redis(address), "skip_dedup": True}


def is_cluster(workspace: Workspace) -> bool:
    """Whether the online store is a Redis Cluster."""
    return urlsplit(workspace.settings.store.online).scheme in CLUSTERS


def redis_nodes(workspace: Workspace) -> list[tuple[str, int]]:
    """Host and port of the online store, or of each node of a cluster that is named, environment variables filled in."""
    nodes, _ = _parts(workspace.settings.store.online)
    return [(os.path.expandvars(host), port) for host, port in nodes]


def redis_options(workspace: Workspace, deadline: timedelta | None = None) -> dict[str, Any]:
    """The same address in the terms of redis-py, environment variables filled in; of a cluster, its first node.

    With a deadline connecting may take half of it, and so may each answer; there is no other try.
    """
    _, options = _parts(workspace.settings.store.online)
    host, port = redis_nodes(workspace)[0]
    read = {name: _literal(name, os.path.expandvars(value)) for name, value in {**NO_OTHER_TRY, **options}.items()}
    patience = {"socket_connect_timeout", "socket_timeout"} if deadline else set[str]()
    read |= {name: min(read[name] or float("inf"), deadline.total_seconds() / 2) for name in patience if deadline}
    # no driver_info: a new connection does not tell the server first who it is, which is two more answers to wait for
    return {"host": host, "port": port, "driver_info": None, **read}


def _literal(name: str, value: str) -> Any:
    """An option as Feast reads it from its connection string; a password of digits stays text."""
    if name in ("username", "password"):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


def _redis(address: str) -> str:
    """`redis://user:password@host:6379/0` as Feast writes it: `host:6379,db=0,username=user,password=password`."""
    nodes, options = _parts(address)
    return ",".join([*(f"{host}:{port}" for host, port in nodes), *(f"{name}={value}" for name, value in options.items())])


def _parts(address: str) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """The nodes, one unless it is a cluster, and the options of a Redis client."""
    try:
        parts = urlsplit(address)
        places = [urlsplit(f"//{place}") for place in parts.netloc.rpartition("@")[2].split(",")]
        nodes = [(place.hostname or "", place.port or 6379) for place in places]
    except ValueError:
        raise _not_an_address(address) from None
    is_one, database = parts.scheme in SERVERS, parts.path.strip("/")
    options = {**REDIS_PATIENCE, **(NO_OTHER_TRY if is_one else {}), **dict(parse_qsl(parts.query))}
    options |= {"db": database} if database else {}
    options |= {"username": unquote(parts.username)} if parts.username else {}
    options |= {"password": unquote(parts.password)} if parts.password else {}
    options |= {"ssl": "true"} if parts.scheme.startswith("rediss") else {}
    fits = len(nodes) == 1 if is_one else parts.scheme in CLUSTERS and not database
    if not fits or not all(host for host, _ in nodes) or any("," in value for value in options.values()):
        raise _not_an_address(address)
    return nodes, options


def _not_an_address(address: str) -> WorkspaceError:
    return WorkspaceError(
        "[store] online in foresell.toml",
        expected="`sqlite`, or a Redis address such as redis://127.0.0.1:6379, without a comma in it, "
        "or that of a cluster such as redis+cluster://a:6379,b:6379, without a number of a database",
        received=repr(_masked(address)),
        repair="a password may stay out of the file: redis://:${REDIS_PASSWORD}@host:6379",
    )


def _masked(address: str) -> str:
    """An address, even a misspelt one, without whatever may be a password: all up to the last `@`, and the options."""
    return re.sub(r"^([\w+]+://)?.*@", r"\1", address).partition("?")[0]
