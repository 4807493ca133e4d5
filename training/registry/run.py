"""Registering: one MLflow run a training, with all it leaves behind, and a new version of the registered model."""

from __future__ import annotations

import json
import math
import tempfile
import warnings
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from features.settings import Workspace
from training.model import Model
from training.registry.door import experiment, insist, leave_if_taken, open_client
from training.registry.record import REPORT_FOLDER, REPORT_JSON, Child, Record, described, note
from training.registry.version import CHALLENGER, MODEL_FOLDER, newest

LOADER = "training.registry"  # MLflow imports it to read a version, so it is part of every stored model
REQUIREMENTS = ("lightgbm", "numpy", "pandas", "pydantic")
CONTEXTS = {"train": "training", "calibration": "calibration", "test": "test"}


def register(workspace: Workspace, model: Model, record: Record) -> str:
    """Log a run, register its model as a new version that waits as challenger, and return the version.

    The champion stays who it is. The version is made last, so that one that exists is complete.

    Raises:
        RegistryError: MLflow does not answer, as everywhere in this package.
    """
    name = model.propensity.name
    with open_client(workspace) as client, tempfile.TemporaryDirectory() as scratch:
        import mlflow

        made_in = experiment(client, workspace, name)
        with mlflow.start_run(experiment_id=made_in, run_name=_run_name(model)) as run:
            _log(mlflow, model, record)
            insist(partial(client.log_inputs, run.info.run_id, datasets=_inputs(model)))
            for child in record.children:
                _nest(client, made_in, run.info.run_id, child)
            logged = _log_model(mlflow, model, Path(scratch) / MODEL_FOLDER)
            _ensure_registered_model(client, name, model.propensity.question)
            version = client.create_model_version(
                name,
                logged.model_uri,
                run.info.run_id,
                tags=dict(record.tags),
                description=described(record.report),
                model_id=logged.model_id,  # a tracking server refuses a version whose model it cannot tell
            ).version
        _challenge(client, name)
    return str(version)


def _log(mlflow: Any, model: Model, record: Record) -> None:
    mlflow.set_tags({**record.tags, "mlflow.note.content": note(record.report)})
    mlflow.log_params(dict(record.parameters))
    mlflow.log_metrics(_numbers(record.metrics))
    mlflow.log_dict(dict(record.report), f"{REPORT_FOLDER}/{REPORT_JSON}")
    mlflow.log_dict(model.contract.propensity, "propensity.json")
    for path, content in record.pages.items():
        mlflow.log_text(content, path)


def _nest(client: Any, made_in: str, parent: str, child: Child) -> None:
    """Log one child run. Its times are given, for it was worked on before its parent run began."""
    from mlflow.entities import Metric, Param
    from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

    tags = {**child.tags, MLFLOW_PARENT_RUN_ID: parent}
    run = client.create_run(made_in, start_time=_milliseconds(child.started), tags=tags, run_name=child.name)
    ended = _milliseconds(child.ended)
    metrics = [Metric(key, value, ended, 0) for key, value in _numbers(child.metrics).items()]
    params = [Param(key, str(value)) for key, value in child.parameters.items()]
    client.log_batch(run.info.run_id, metrics=metrics, params=params)
    client.set_terminated(run.info.run_id, end_time=ended)


def _inputs(model: Model) -> list[Any]:
    """The rows that each window of the contract stands for, described and not copied: name, digest, columns, counts."""
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

    contract = model.contract
    schema = json.dumps({"mlflow_colspec": _signature(model).inputs.to_dict()})
    return [
        DatasetInput(
            Dataset(
                name=f"{model.propensity.name} {window}",
                digest=contract.fingerprint,
                source_type="foresell",
                source=json.dumps({"first as_of": rows.first, "last as_of": rows.last}),
                schema=schema,
                profile=json.dumps({"num_rows": rows.rows, "positives": rows.positives}),
            ),
            [InputTag(MLFLOW_DATASET_CONTEXT, CONTEXTS.get(window, window))],
        )
        for window, rows in contract.windows.items()
    ]


def _log_model(mlflow: Any, model: Model, folder: Path) -> Any:
    """Log the files as a pyfunc without pickle; naming the requirements spares MLflow from inferring them in seconds."""
    model.save(folder)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*input example was not provided")  # an example row would be a customer's
        return mlflow.pyfunc.log_model(
            name=MODEL_FOLDER,
            loader_module=LOADER,
            data_path=str(folder),
            signature=_signature(model),
            pip_requirements=[f"{package}=={model.contract.versions[package]}" for package in REQUIREMENTS],
        )


def _signature(model: Model) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    types = {"number": DataType.double, "category": DataType.string}
    inputs = Schema([ColSpec(types[column.dtype], column.name, required=False) for column in model.contract.features])
    return ModelSignature(inputs, Schema([ColSpec(DataType.double)]))


def _ensure_registered_model(client: Any, name: str, question: str) -> None:
    if not client.search_registered_models(f"name = '{name}'"):
        with leave_if_taken():
            client.create_registered_model(name, description=question)


def _challenge(client: Any, name: str) -> None:
    """Let the alias name the newest version, whoever else registers one at the same time and in whatever order."""
    named = None
    while (found := newest(client, name)) != named:
        insist(partial(client.set_registered_model_alias, name, CHALLENGER, found))
        named = found


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    return {key: value for key, value in metrics.items() if not math.isnan(value)}


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


def _run_name(model: Model) -> str:
    test = model.contract.windows["test"]
    return f"{model.propensity.name} tested {test.first[:10]} to {test.last[:10]}"
