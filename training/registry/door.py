"""MLflow's client for a workspace: where its store is, and what its failures mean here.

Without a tracking server everything lies below the workspace's `mlruns/`: `mlflow.db` (SQLite) and `artifacts/`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from features.console import silence_telemetry
from features.errors import RegistryError
from features.settings import Workspace

ENVIRONMENT = {  # MLflow's own defaults ask a server that is down for minutes
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # its address may hold a password, and --json is one document
}
ATTEMPTS = 3
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # an alias that is not set is an invalid value to MLflow


@contextmanager
def open_client(workspace: Workspace) -> Iterator[Any]:
    """A client of the workspace's store, with MLflow's own chatter kept to errors.

    Raises:
        RegistryError: the store does not answer, refuses, or cannot be read or written.
    """
    silence_telemetry()
    for variable, value in ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    uri = store_uri(workspace)
    if not workspace.settings.mlflow.tracking_uri:
        workspace.mlruns.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield mlflow.MlflowClient(uri, uri)
    except (MlflowException, SQLAlchemyError, OSError) as problem:
        shown = workspace.settings.mlflow.tracking_uri or uri  # as it is in the file: what is filled in may be a password
        raise RegistryError(
            f"MLflow at {shown}",
            expected="a store that answers, and artifacts that can be read and written",
            received=str(problem).partition("\n")[0].replace(uri, shown),
            repair="start the server, or correct `[mlflow] tracking_uri` in foresell.toml; without it `mlruns/` is used",
        ) from problem


def insist(call: Callable[[], Any]) -> Any:
    """Ask again where MLflow refuses: it looks, then inserts, and of two who do so at once it refuses one, who then finds it."""
    from mlflow.exceptions import MlflowException

    for _ in range(ATTEMPTS - 1):
        with suppress(MlflowException):
            return call()
    return call()


@contextmanager
def leave_if_absent() -> Iterator[None]:
    """Leave the block where MLflow says that what was asked for does not exist."""
    with _leave_on(ABSENT):
        yield


@contextmanager
def leave_if_taken() -> Iterator[None]:
    """Leave the block where somebody else made the thing of that name first."""
    with _leave_on(("RESOURCE_ALREADY_EXISTS",)):
        yield


@contextmanager
def _leave_on(codes: tuple[str, ...]) -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as problem:
        if problem.error_code not in codes:
            raise


def store_uri(workspace: Workspace) -> str:
    """What `mlflow ui --backend-store-uri` takes to show this workspace; `${NAME}` is an environment variable."""
    return os.path.expandvars(workspace.settings.mlflow.tracking_uri) or f"sqlite:///{workspace.mlruns / 'mlflow.db'}"


def exists(workspace: Workspace) -> bool:
    """Whether there is a store to ask; asking a workspace that never trained must not create one."""
    return bool(workspace.settings.mlflow.tracking_uri) or (workspace.mlruns / "mlflow.db").is_file()


def experiment(client: Any, workspace: Workspace, name: str) -> str:
    """The id of the experiment of that name, made if need be; several may try at once."""
    found = client.get_experiment_by_name(name)
    if found is None:
        with leave_if_taken():
            return create_experiment(client, workspace, name)
        found = client.get_experiment_by_name(name)
    return str(found.experiment_id)


def create_experiment(client: Any, workspace: Workspace, name: str, tags: Mapping[str, str] | None = None) -> str:
    """Make an experiment whose artifacts lie below `mlruns/`, or where the tracking server keeps them."""
    own = not workspace.settings.mlflow.tracking_uri
    location = (workspace.mlruns / "artifacts" / name).as_uri() if own else None
    return str(client.create_experiment(name, artifact_location=location, tags=dict(tags or {})))
