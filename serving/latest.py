"""The latest scores: `latest/propensity=churn/part-0.parquet`, a copy of the newest partition of each propensity.

A tree of its own, because whatever reads all of `scores/` would count a copy in there twice. It is a plain file that every engine
reads wherever it lies, put in place in one step; the receipt beside it says of which as_of it is.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from features.catalog import sweep, write_atomically
from features.disk import broken
from features.errors import StoreError
from features.settings import Workspace
from serving.partition import PART, RECEIPT, digest, joint, partitions, parts


def newest(workspace: Workspace, propensity: str) -> Path | None:
    """The folder of a propensity's newest whole partition."""
    whole = (path for _, path in reversed(partitions(workspace).get(propensity, [])) if (path / RECEIPT).is_file())
    return next(whole, None)


def digests(workspace: Workspace) -> dict[str, str]:
    """By propensity, the digest of the receipt of its newest whole partition: it changes when the scores do."""
    found = {name: newest(workspace, name) for name in partitions(workspace)}
    return {name: digest(path / RECEIPT) for name, path in found.items() if path}


def is_published(workspace: Workspace, propensity: str) -> bool:
    """Whether what is there as the latest is a copy of the newest partition.

    The file is looked at, too: a process that was killed before the receipt leaves a newer file beside an older receipt.
    """
    source, target = newest(workspace, propensity), folder(workspace, propensity)
    if source is None or not (target / PART).is_file() or not (target / RECEIPT).is_file():
        return source is None
    told = (target / RECEIPT).read_bytes()
    return told == (source / RECEIPT).read_bytes() and _joint(parts(target)) == json.loads(told)["sha256"]


def publish(workspace: Workspace, propensity: str) -> None:
    """Copy the newest partition of a propensity: the file first, then its receipt, each in one step.

    Raises:
        StoreError: the partition is not what its receipt says, or the disk is full or cannot be written.
    """
    source = newest(workspace, propensity)
    if source is None or is_published(workspace, propensity):
        return
    try:
        _copy(source, folder(workspace, propensity))
    except OSError as problem:
        raise broken(str(folder(workspace, propensity)), problem) from problem


def folder(workspace: Workspace, propensity: str) -> Path:
    """Where the latest scores of a propensity lie."""
    return workspace.latest / f"propensity={propensity}"


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    sweep(target, "part-*.parquet", RECEIPT)
    neighbours = {path: target / f".{path.name}.{os.getpid()}" for path in parts(source)}
    try:
        for path, neighbour in neighbours.items():
            shutil.copyfile(path, neighbour)
            _flush(neighbour)
        _require_whole(source, list(neighbours.values()))
        for other in set(parts(target)) - {target / path.name for path in neighbours}:
            other.unlink()
        for path, neighbour in neighbours.items():
            neighbour.replace(target / path.name)
    finally:
        for neighbour in neighbours.values():
            neighbour.unlink(missing_ok=True)
    write_atomically(target / RECEIPT, (source / RECEIPT).read_bytes())


def _joint(files: Sequence[Path]) -> str:
    return joint([digest(file) for file in files])


def _require_whole(source: Path, copies: Sequence[Path]) -> None:
    told = json.loads((source / RECEIPT).read_text(encoding="utf-8"))["sha256"]
    found = _joint(copies)
    if found != told:
        raise StoreError(
            str(source / PART),
            expected=f"the file of its receipt, SHA-256 {told[:12]}",
            received=f"another one, {found[:12]}",
            repair="run `foresell score` again with the --as-of of that folder",
        )


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
