"""The receipt of a step: what it was made from, what it left, how long it took. It is what makes a night resumable.

`data/nightly/2018-05-15/snapshot.json`. A step is not done again while a receipt says that it was done from the same inputs, and
its outputs are still there; the receipt of another night counts as much.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from features.catalog import sweep, write_atomically
from features.errors import ForesellError
from features.settings import Workspace
from serving.partition import instant, label


@dataclass(frozen=True)
class Receipt:
    """What became of one step.

    Attributes:
        step, as_of: which step of which night; as_of is ISO, in UTC.
        status: `failed` steps are done again.
        inputs: all that it was made from; equal inputs give equal outputs.
        outputs: digests of what it left.
        rows: how many it went through.
        late: a sentence for each source that was late or missing.
        failed: what failed, by the name of the step or the propensity.
        seconds: how long it took.
        at: when the night began in which it was done; ISO, in UTC.
    """

    step: str
    as_of: str
    status: Literal["done", "failed"]
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    rows: int
    late: list[str]
    failed: dict[str, dict[str, str]]
    seconds: float
    at: str


class Receipts:
    """The receipts of one night, and of the nights before and after it."""

    def __init__(self, workspace: Workspace, as_of: datetime) -> None:
        self._root, self._as_of = workspace.nightly, as_of

    def found(self, step: str, inputs: Mapping[str, Any]) -> Receipt | None:
        """The receipt of this night, or the newest one of another night, that says a step was done from these inputs."""
        same = (one for one in self._every(step) if one.status == "done" and one.inputs == inputs)
        return next(same, None)

    def earlier(self) -> dict[str, float]:
        """How many seconds each step took in the newest other night."""
        found = (_read(path) for folder in self._others()[:1] for path in folder.glob("*.json"))
        return {one.step: one.seconds for one in found if one is not None}

    def write(self, receipt: Receipt) -> None:
        """Keep a receipt of this night, in place of an older one."""
        written = replace(receipt, as_of=self._as_of.isoformat())
        path = self._path(self._folder, receipt.step)
        if not path.is_file() or _read(path) != written:
            write_atomically(path, (json.dumps(asdict(written), indent=1, sort_keys=True) + "\n").encode())

    def sweep(self) -> None:
        """Remove what a killed night left half written."""
        sweep(self._folder, "*.json")

    @property
    def _folder(self) -> Path:
        return self._root / label(self._as_of)

    def _every(self, step: str) -> Iterator[Receipt]:
        for folder in (self._folder, *self._others()):
            found = _read(self._path(folder, step))
            if found is not None:
                yield found

    def _others(self) -> list[Path]:
        """The folders of the other nights, newest first."""
        return [path for _, path in reversed(nights(self._root)) if path != self._folder]

    @staticmethod
    def _path(folder: Path, step: str) -> Path:
        return folder / f"{step.replace(' ', '-')}.json"


def nights(root: Path) -> list[tuple[datetime, Path]]:
    """The folder of receipts of each night, with its as_of, oldest first."""
    found = ((instant(path.name), path) for path in root.glob("*") if path.is_dir())
    return sorted((at, path) for at, path in found if at is not None)


def errors(failures: Mapping[str, ForesellError]) -> dict[str, dict[str, str]]:
    """Failures as a receipt has them."""
    return {name: error.as_dict() for name, error in failures.items()}


def _read(path: Path) -> Receipt | None:
    """A receipt; None where there is none, or one of another release."""
    try:
        return Receipt(**json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError):
        return None
