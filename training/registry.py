"""The one door to MLflow: runs, versions, the champion.

Without a tracking server everything lies below the workspace's `mlruns/`: `mlflow.db` (SQLite) and `artifacts/`. An experiment
and a registered model carry the name of their propensity; each version keeps its report beside its model. MLflow loads a version
with `mlflow.pyfunc.load_model`, through `_load_pyfunc` below; Foresell reads the same two files, `model.txt` and `contract.json`.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from features.console import silence_telemetry
from features.errors import GateError, RegistryError
from features.settings import Workspace
from training.contract import Floats
from training.model import Model

CHAMPION = "champion"
MODEL_FOLDER, REPORT_FOLDER = "model", "report"
REPORT_JSON, REPORT_HTML = "report.json", "report.html"
VERSION_MARK = "<!-- version -->"  # in a stored page, which is complete before its version gets a number
ENVIRONMENT = {  # MLflow's own defaults ask a server that is down for minutes
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
REQUIREMENTS = ("lightgbm", "numpy", "pandas", "pydantic")


@dataclass(frozen=True)
class Registered:
    """A version and its model."""

    version: str
    model: Model


@dataclass(frozen=True)
class Record:
    """What a run leaves behind beside the model.

    Attributes:
        parameters: name to value.
        metrics: `<split>_<figure>` to number.
        tags: of the run and of the version; `verdict` is `pass` or `fail`.
        report: the machine-readable report, with the verdict's gates.
        pages: further artifacts, path to content; the HTML report is `report/report.html`, with `VERSION_MARK` for the number.
    """

    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    report: Mapping[str, Any]
    pages: Mapping[str, str]


def register(workspace: Workspace, model: Model, record: Record) -> str:
    """Log a run, register its model as a new version and return the version. The champion stays who it is.

    The version is made last, so that one that exists is complete.

    Raises:
        RegistryError: MLflow does not answer, as everywhere in this module.
    """
    name = model.propensity.name
    with _client(workspace) as client, tempfile.TemporaryDirectory() as scratch:
        import mlflow

        experiment = _experiment(client, workspace, name)
        with mlflow.start_run(experiment_id=experiment, run_name=_run_name(model)) as run:
            mlflow.set_tags(dict(record.tags))
            mlflow.log_params(dict(record.parameters))
            mlflow.log_metrics({key: value for key, value in record.metrics.items() if value == value})
            mlflow.log_dict(dict(record.report), f"{REPORT_FOLDER}/{REPORT_JSON}")
            mlflow.log_dict(model.contract.propensity, "propensity.json")
            for path, content in record.pages.items():
                mlflow.log_text(content, path)
            uri = _log_model(mlflow, model, Path(scratch) / MODEL_FOLDER)
            _ensure_registered_model(client, name, model.propensity.question)
            version = client.create_model_version(name, uri, run.info.run_id, tags=dict(record.tags)).version
    return str(version)


def champion(workspace: Workspace, name: str) -> Registered:
    """The model that serves.

    Raises:
        RegistryError: the propensity has no champion.
    """
    version = champion_version(workspace, name)
    if version is None:
        newest = newest_version(workspace, name)
        raise RegistryError(
            f"propensity {name!r}",
            expected="a champion",
            received=f"version {newest} waits" if newest else "no trained model",
            repair=f"run `foresell promote {name}`" if newest else f"run `foresell train {name}`, then `foresell promote {name}`",
        )
    return load(workspace, name, version)


def champion_version(workspace: Workspace, name: str) -> str | None:
    """The version that serves; a look-up of milliseconds, without loading the model."""
    if not _exists(workspace):
        return None
    with _client(workspace) as client, _absent_is_none():
        return str(client.get_model_version_by_alias(name, CHAMPION).version)
    return None


def newest_version(workspace: Workspace, name: str) -> str | None:
    """The version that was registered last."""
    if not _exists(workspace):
        return None
    with _client(workspace) as client:
        versions = [int(found.version) for found in client.search_model_versions(f"name = '{name}'")]
    return str(max(versions)) if versions else None


def load(workspace: Workspace, name: str, version: str) -> Registered:
    """One version.

    Raises:
        RegistryError: there is no such version.
        ContractError: its files do not fit this release of Foresell.
    """
    if not _exists(workspace):
        raise _no_version(name, f"version {version}", "no trained model", f"run `foresell train {name}`")
    with _client(workspace) as client, tempfile.TemporaryDirectory() as scratch:
        from mlflow.artifacts import download_artifacts

        found = _version(client, name, version)
        uri = client.get_model_version_download_uri(name, found.version)
        folder = download_artifacts(artifact_uri=uri, dst_path=scratch, tracking_uri=_uri(workspace))
        return Registered(str(found.version), Model.load(Path(folder) / "data" / MODEL_FOLDER))


def report(workspace: Workspace, name: str, version: str | None = None) -> tuple[dict[str, Any], str]:
    """The stored report of a version, or of the newest one: the machine-readable document and the HTML page.

    `version` and `champion`, which the report cannot know when it is written, are added.

    Raises:
        RegistryError: there is no such version.
    """
    chosen = version or _newest(workspace, name)
    document = json.loads(_stored(workspace, name, chosen, REPORT_JSON))
    page = _stored(workspace, name, chosen, REPORT_HTML).replace(VERSION_MARK, chosen)
    return {"propensity": name, "version": chosen, "champion": champion_version(workspace, name), **document}, page


def promote(workspace: Workspace, name: str, version: str | None = None) -> str:
    """Make a version, or the newest one, the champion; only when it passed its gates. Returns the version.

    Raises:
        RegistryError: there is no such version.
        GateError: the version failed a gate; each is named with its sentence.
    """
    chosen = version or _newest(workspace, name)
    gates = json.loads(_stored(workspace, name, chosen, REPORT_JSON))["gates"]
    failed = [gate["sentence"] for gate in gates if not gate["passed"]]
    if failed:
        raise GateError(
            f"{name} version {chosen}",
            expected="every gate of the propensity file passed",
            received=" ".join(failed),
            repair=f"`foresell report {name}` shows the figures; bring better data, or reconsider `[gates]` and train again",
        )
    with _client(workspace) as client:
        client.set_registered_model_alias(name, CHAMPION, chosen)
    return chosen


def store_uri(workspace: Workspace) -> str:
    """What `mlflow ui --backend-store-uri` takes to show this workspace."""
    return _uri(workspace)


class Pyfunc:
    """What `mlflow.pyfunc.load_model` gives: calibrated probabilities of a frame of features."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Floats:
        """The calibrated probability of each row.

        Raises:
            ContractError: a feature is missing or of another type.
        """
        return self._model.probability(self._model.matrix(model_input))


def _load_pyfunc(path: str) -> Pyfunc:
    """MLflow's hook: the name and the argument are its own."""
    return Pyfunc(Model.load(Path(path)))


@contextmanager
def _client(workspace: Workspace) -> Iterator[Any]:
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
    uri = _uri(workspace)
    if not workspace.settings.mlflow.tracking_uri:
        workspace.mlruns.mkdir(parents=True, exist_ok=True)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield mlflow.MlflowClient(uri, uri)
    except (MlflowException, SQLAlchemyError, OSError) as problem:
        raise RegistryError(
            f"MLflow at {uri}",
            expected="a store that answers, and artifacts that can be read and written",
            received=str(problem).partition("\n")[0],
            repair="start the server, or correct `[mlflow] tracking_uri` in foresell.toml; without it `mlruns/` is used",
        ) from problem


@contextmanager
def _absent_is_none() -> Iterator[None]:
    """Leave the block where MLflow says that what was asked for does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as problem:
        if problem.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise


def _uri(workspace: Workspace) -> str:
    return workspace.settings.mlflow.tracking_uri or f"sqlite:///{workspace.mlruns / 'mlflow.db'}"


def _exists(workspace: Workspace) -> bool:
    """Whether there is a store to ask; asking a workspace that never trained must not create one."""
    return bool(workspace.settings.mlflow.tracking_uri) or (workspace.mlruns / "mlflow.db").is_file()


def _experiment(client: Any, workspace: Workspace, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    own = not workspace.settings.mlflow.tracking_uri
    location = (workspace.mlruns / "artifacts" / name).as_uri() if own else None
    return str(client.create_experiment(name, artifact_location=location))


def _log_model(mlflow: Any, model: Model, folder: Path) -> str:
    """Log the two files as a pyfunc without pickle; naming the requirements spares MLflow from inferring them in seconds."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    model.save(folder)
    types = {"number": DataType.double, "category": DataType.string}
    inputs = Schema([ColSpec(types[column.dtype], column.name, required=False) for column in model.contract.features])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided")  # an example row would be a customer's
        logged = mlflow.pyfunc.log_model(
            name=MODEL_FOLDER,
            loader_module=__name__,
            data_path=str(folder),
            signature=ModelSignature(inputs, Schema([ColSpec(DataType.double)])),
            pip_requirements=[f"{package}=={model.contract.versions[package]}" for package in REQUIREMENTS],
        )
    return str(logged.model_uri)


def _ensure_registered_model(client: Any, name: str, question: str) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name, description=question)


def _version(client: Any, name: str, version: str) -> Any:
    with _absent_is_none():
        return client.get_model_version(name, version)
    raise _no_version(name, f"version {version}", "no such version", "`mlflow ui` and `foresell report` show which there are")


def _newest(workspace: Workspace, name: str) -> str:
    newest = newest_version(workspace, name)
    if newest is None:
        raise _no_version(name, "any version", "no trained model", f"run `foresell train {name}`")
    return newest


def _stored(workspace: Workspace, name: str, version: str, file: str) -> str:
    """The text of one file of a version's report."""
    if not _exists(workspace):
        raise _no_version(name, f"version {version}", "no trained model", f"run `foresell train {name}`")
    with _client(workspace) as client, tempfile.TemporaryDirectory() as scratch:
        found = _version(client, name, version)
        return Path(client.download_artifacts(found.run_id, f"{REPORT_FOLDER}/{file}", scratch)).read_text(encoding="utf-8")


def _no_version(name: str, expected: str, received: str, repair: str) -> RegistryError:
    return RegistryError(f"propensity {name!r}", expected=expected, received=received, repair=repair)


def _run_name(model: Model) -> str:
    test = model.contract.windows["test"]
    return f"{model.propensity.name} tested {test.first[:10]} to {test.last[:10]}"
