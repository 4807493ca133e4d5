"""Registered versions: which there are, their models and their reports."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from features.errors import RegistryError
from features.settings import Workspace
from training.model import Model
from training.registry.door import exists, leave_if_absent, open_client, store_uri
from training.registry.record import REPORT_CARD, REPORT_FOLDER, REPORT_HTML, REPORT_JSON, VERSION_MARK

CHAMPION, CHALLENGER = "champion", "challenger"
MODEL_FOLDER = "model"


@dataclass(frozen=True)
class Registered:
    """A version and its model."""

    version: str
    model: Model


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
    if not exists(workspace):
        return None
    with open_client(workspace) as client:
        return alias(client, name, CHAMPION)


@dataclass(frozen=True)
class Named:
    """A version as an alias names it: its number, and the run that made it, which tells it from one of another store."""

    version: str
    run_id: str


@dataclass(frozen=True)
class Standing:
    """Which versions of a propensity serve and wait now; None where no version has the alias."""

    champion: Named | None
    challenger: Named | None


def standing(workspace: Workspace, names: Sequence[str]) -> dict[str, Standing]:
    """The standing of each propensity: a look-up of milliseconds, without loading a model.

    Raises:
        RegistryError: the store does not answer.
    """
    if not exists(workspace):
        return {name: Standing(None, None) for name in names}
    with open_client(workspace) as client:
        return {name: Standing(_named(client, name, CHAMPION), _named(client, name, CHALLENGER)) for name in names}


def named(workspace: Workspace, name: str, version: str) -> Named:
    """One version, with the run that made it.

    Raises:
        RegistryError: there is no such version.
    """
    _require_store(workspace, name, version)
    with open_client(workspace) as client:
        found = _version(client, name, version)
        return Named(str(found.version), found.run_id or "")


def newest_version(workspace: Workspace, name: str) -> str | None:
    """The version that was registered last."""
    if not exists(workspace):
        return None
    with open_client(workspace) as client:
        return newest(client, name)


def load(workspace: Workspace, name: str, version: str) -> Registered:
    """One version.

    Raises:
        RegistryError: there is no such version.
        ContractError: its files do not fit this release of Foresell.
    """
    _require_store(workspace, name, version)
    with open_client(workspace) as client, tempfile.TemporaryDirectory() as scratch:
        from mlflow.artifacts import download_artifacts

        found = _version(client, name, version)
        uri = client.get_model_version_download_uri(name, found.version)
        folder = download_artifacts(artifact_uri=uri, dst_path=scratch, tracking_uri=store_uri(workspace))
        return Registered(str(found.version), Model.load(Path(folder) / "data" / MODEL_FOLDER))


def report(workspace: Workspace, name: str, version: str | None = None) -> tuple[dict[str, Any], str]:
    """The stored report of a version, or of the newest one: the machine-readable document and the HTML page.

    `version` and `champion`, which the report cannot know when it is written, are added.

    Raises:
        RegistryError: there is no such version, or a file of its report is not there.
    """
    chosen = version or require_newest(workspace, name)
    document = figures(workspace, name, chosen)
    page = _stored(workspace, name, chosen, REPORT_HTML).replace(VERSION_MARK, chosen)
    return {"propensity": name, "version": chosen, "champion": champion_version(workspace, name), **document}, page


def card(workspace: Workspace, name: str, version: str) -> str:
    """The model card of a version, in Markdown.

    Raises:
        RegistryError: there is no such version, or an older release registered it.
    """
    return _stored(workspace, name, version, REPORT_CARD).replace(VERSION_MARK, version)


def figures(workspace: Workspace, name: str, version: str) -> dict[str, Any]:
    """The machine-readable report of a version, as it was stored.

    Raises:
        RegistryError: there is no such version.
    """
    document: dict[str, Any] = json.loads(_stored(workspace, name, version, REPORT_JSON))
    return document


def require_newest(workspace: Workspace, name: str) -> str:
    """The version that was registered last.

    Raises:
        RegistryError: nothing was trained.
    """
    found = newest_version(workspace, name)
    if found is None:
        raise no_version(name, "any version", "no trained model", f"run `foresell train {name}`")
    return found


def newest(client: Any, name: str) -> str | None:
    """`newest_version` for who has a client."""
    versions = [int(found.version) for found in client.search_model_versions(f"name = '{name}'")]
    return str(max(versions)) if versions else None


def alias(client: Any, name: str, called: str) -> str | None:
    """The version that an alias names; None if it is not set."""
    with leave_if_absent():
        return str(client.get_model_version_by_alias(name, called).version)
    return None


def _named(client: Any, name: str, called: str) -> Named | None:
    with leave_if_absent():
        found = client.get_model_version_by_alias(name, called)
        return Named(str(found.version), found.run_id or "")
    return None


def no_version(name: str, expected: str, received: str, repair: str) -> RegistryError:
    """The error for a version that is not there."""
    return RegistryError(f"propensity {name!r}", expected=expected, received=received, repair=repair)


def incomplete(name: str, version: str, lacking: str) -> RegistryError:
    """The error for a version whose report is not that of this release."""
    return RegistryError(
        f"propensity {name!r} version {version}",
        expected=f"{lacking}, which a training of this release leaves behind",
        received="none: an older release registered it, or it was taken away",
        repair=f"train again: `foresell train {name}`",
    )


def _version(client: Any, name: str, version: str) -> Any:
    with leave_if_absent():
        return client.get_model_version(name, version)
    raise no_version(name, f"version {version}", "no such version", "`mlflow ui` and `foresell report` show which there are")


def _stored(workspace: Workspace, name: str, version: str, file: str) -> str:
    """The text of one file of a version's report."""
    _require_store(workspace, name, version)
    path = f"{REPORT_FOLDER}/{file}"
    with open_client(workspace) as client, tempfile.TemporaryDirectory() as scratch:
        run_id = _version(client, name, version).run_id
        if not run_id or path not in (artifact.path for artifact in client.list_artifacts(run_id, REPORT_FOLDER)):
            raise incomplete(name, version, path)
        return Path(client.download_artifacts(run_id, path, scratch)).read_text(encoding="utf-8")


def _require_store(workspace: Workspace, name: str, version: str) -> None:
    if not exists(workspace):
        raise no_version(name, f"version {version}", "no trained model", f"run `foresell train {name}`")
