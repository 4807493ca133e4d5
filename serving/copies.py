"""Copies of champions beside the service, so that it can start while MLflow cannot be reached.

`data/serving/champions/churn/3-8d2f60c1/` holds the files of version 3, as a certain run made it, and `champion.json` beside it
says which version served last, which waited, and which served before. Other copies are removed when that changes. A version
never changes, so a copy is as good as the original.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
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


def remember(workspace: Workspace, name: str, now: Standing) -> bool:
    """Remember which version serves, which waits, and which served before; copies of others are removed.

    Returns:
        Whether it is remembered; a disk that is full is no reason not to serve.
    """
    try:
        before, previous = _pointed_at(workspace, name)
        if before != now:
            previous = before.champion if before.champion != now.champion else previous
            old = _old(workspace, name) if before.champion else []
            told = {**asdict(now), "previous": asdict(previous) if previous else None}
            write_atomically(_pointer(workspace, name), json.dumps(told).encode())
            _remove(set(old) - {_folder(workspace, name, one) for one in (now.champion, now.challenger, previous) if one})
    except OSError as problem:
        _log.warning("not remembered which version of %s serves: %s", name, problem)
        return False
    return True


def last(workspace: Workspace, name: str) -> Standing:
    """Which version served last and which waited then, as far as is remembered here."""
    return _pointed_at(workspace, name)[0]


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


def _pointed_at(workspace: Workspace, name: str) -> tuple[Standing, Named | None]:
    """Which version served last and which waited then, and which served before; an older release did not say the latter."""
    try:
        kept = json.loads(_pointer(workspace, name).read_text(encoding="utf-8"))
        return Standing(_named(kept["champion"]), _named(kept["challenger"])), _named(kept.get("previous"))
    except (OSError, ValueError, TypeError, LookupError):
        return Standing(None, None), None


def _named(told: Mapping[str, str] | None) -> Named | None:
    return Named(**told) if told else None


def _old(workspace: Workspace, name: str) -> list[Path]:
    """The copies that were there when it was last written down who serves; a later one may be another worker's next champion."""
    pointer = _pointer(workspace, name)
    since, found = pointer.stat().st_mtime_ns, []
    for path in pointer.parent.iterdir():
        with suppress(FileNotFoundError):  # another worker has just removed it
            if path.is_dir() and path.stat().st_mtime_ns <= since:
                found.append(path)
    return found


def _remove(folders: Iterable[Path]) -> None:
    """Remove copies. What marks one as whole goes first, so that nobody takes half a copy for one."""
    for folder in folders:
        (folder / CONTRACT_FILE).unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)


def _folder(workspace: Workspace, name: str, named: Named) -> Path:
    return workspace.serving / "champions" / name / f"{named.version}-{named.run_id[:8]}"


def _pointer(workspace: Workspace, name: str) -> Path:
    return workspace.serving / "champions" / name / POINTER
