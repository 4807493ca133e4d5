"""Copies of champions beside the service, so that it can start while MLflow cannot be reached.

`data/serving/champions/churn/3-8d2f60c1/` holds the files of version 3, as a certain run made it, and `champion.json` beside it
says which version served last, and which waited. A version never changes, so a copy is as good as the original.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from features.catalog import write_atomically
from features.errors import ForesellError
from features.settings import Workspace
from training.model import CONTRACT_FILE, Model
from training.registry import Named, Registered, Standing

POINTER = "champion.json"
_log = logging.getLogger("foresell")


def keep(workspace: Workspace, name: str, named: Named, model: Model) -> None:
    """Keep a version's files; a disk that is full is no reason not to serve."""
    try:
        folder = _folder(workspace, name, named)
        if not (folder / CONTRACT_FILE).is_file():  # written last
            model.save(folder)
    except OSError as problem:
        _log.warning("no copy of %s version %s: %s", name, named.version, problem)


def remember(workspace: Workspace, name: str, now: Standing) -> None:
    """Remember which version serves, and which waits."""
    try:
        if last(workspace, name) != now:
            write_atomically(_pointer(workspace, name), json.dumps(asdict(now)).encode())
    except OSError as problem:
        _log.warning("not remembered which version of %s serves: %s", name, problem)


def last(workspace: Workspace, name: str) -> Standing:
    """Which version served last and which waited then, as far as is remembered here."""
    try:
        kept = json.loads(_pointer(workspace, name).read_text(encoding="utf-8"))
        return Standing(*(Named(**kept[role]) if kept[role] else None for role in ("champion", "challenger")))
    except (OSError, ValueError, TypeError, LookupError):
        return Standing(None, None)


def last_champion(workspace: Workspace, name: str) -> Named | None:
    """The version that served last."""
    return last(workspace, name).champion


def copied(workspace: Workspace, name: str, named: Named) -> Registered | None:
    """A version from its copy; None where there is none that can be read."""
    folder = _folder(workspace, name, named)
    if not (folder / CONTRACT_FILE).is_file():
        return None
    try:
        return Registered(named.version, Model.load(folder))
    except (ForesellError, OSError, ValueError):
        return None


def _folder(workspace: Workspace, name: str, named: Named) -> Path:
    return workspace.serving / "champions" / name / f"{named.version}-{named.run_id[:8]}"


def _pointer(workspace: Workspace, name: str) -> Path:
    return workspace.serving / "champions" / name / POINTER
