"""What was scored before: the rows of the partition that was made last, and from what each of them was made.

A row is carried over, and not made again, where the entity's values and all that turns values into scores are the same. The
digests of the values lie in `data/scored/NAME/`, in one file whose name tells the partition it belongs to. A night takes it away
when it begins, and leaves another when the ledger has taken all of it: what was begun and not ended is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features.catalog import Catalog, sweep
from features.lock import waited
from features.settings import Workspace
from features.views import views
from serving.columns import ColumnScorer, series
from serving.partition import PART, digest, folder, instant, label

ROWS_PER_READ = 25_000
CARRIED = ("eligible", "why", "policy", "score", "probability", "percentile", "grade", "expected_value", "reasons", "missing",
           "unseen", "stale")  # fmt: skip
NEIGHBOUR = "inputs"
COMPUTES = ("foresell", "lightgbm", "numba", "numpy", "pandas", "pyarrow")
Digests = NDArray[np.uint64]


def maker(workspace: Workspace, catalog: Catalog, scorer: ColumnScorer) -> str:
    """A digest of all that turns values into scores: the model, the words, the policy and the releases of what computes them."""
    model = scorer.scorer.model
    parts = [
        scorer.scorer.version, model.files, model.contract.model_dump_json(), repr(views(workspace, catalog)),
        workspace.settings.policy.model_dump_json(), sorted(scorer.objections.items()), scorer.with_reasons,
        *map(_release, COMPUTES),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _release(name: str) -> str | None:
    with suppress(PackageNotFoundError):  # numba need not be there
        return version(name)
    return None


def digests(chunk: pa.RecordBatch, columns: Sequence[str]) -> Digests:
    """A digest of each row's values; that of two rows which differ by a bit is the same once in 2 ** 64."""
    if not columns:
        return np.zeros(len(chunk), dtype=np.uint64)
    frame = pd.DataFrame({name: series(chunk[name]) for name in columns}, index=range(len(chunk)))
    return np.asarray(pd.util.hash_pandas_object(frame, index=False), dtype=np.uint64)


class Earlier:
    """The partition that was made last, read once from the first entity to the last; `sha256` is that of its file."""

    def __init__(self, part: Path, inputs: Path, sha256: str) -> None:
        """Open both files; they stay readable when others take their place."""
        self.sha256 = sha256
        self._rows = pq.ParquetFile(part).iter_batches(ROWS_PER_READ, columns=["entity_id", *CARRIED])
        self._digests: Digests = np.memmap(inputs, dtype="<u8", mode="r") if inputs.stat().st_size else np.empty(0, dtype="<u8")
        self._read: list[pa.RecordBatch] = []

    def until(self, last: str) -> tuple[pa.Table, Digests]:
        """The rows up to an entity, and their digests; those of an earlier call are not told again."""
        while not self._read or self._read[-1]["entity_id"][-1].as_py() < last:
            batch = next(self._rows, None)
            if batch is None:
                break
            self._read.append(batch)
        table = pa.Table.from_batches(self._read, None if self._read else pa.schema([("entity_id", pa.string())]))
        count = pc.sum(pc.less_equal(table["entity_id"], last)).as_py() or 0
        self._read = [batch for batch in table.slice(count).to_batches() if len(batch)]
        found, self._digests = self._digests[:count], self._digests[count:]
        return table.slice(0, count), found


def alone(workspace: Workspace, propensity: str) -> AbstractContextManager[None]:
    """One run at a time makes scores of a propensity; another waits for it, and reads the tables only then."""
    return waited(_folder(workspace, propensity).with_name(f".{propensity}.lock"))


def _folder(workspace: Workspace, propensity: str) -> Path:
    return workspace.root / "data" / "scored" / propensity


class Inputs:
    """Where the digests of one propensity's last partition lie."""

    def __init__(self, workspace: Workspace, propensity: str, maker: str) -> None:
        """Name the propensity and what makes its scores."""
        self._workspace, self._propensity, self._maker = workspace, propensity, maker
        self._folder = _folder(workspace, propensity)

    def take(self, only: datetime | None = None) -> Earlier | None:
        """The partition that was made last, if the same made it and it is what it was; the digests are nobody else's any more.

        Args:
            only: the as_of it must be of; None for any.
        """
        found = [self._earlier(path, only) for path in self._folder.glob(f"*.{self._maker}")]
        self._forget_but(None)
        return next((one for one in found if one), None)

    def _earlier(self, path: Path, only: datetime | None) -> Earlier | None:
        name, sha256, _ = path.name.rsplit(".", 2)
        as_of = instant(name)
        if as_of is None or as_of != (only or as_of):
            return None
        part = folder(self._workspace, self._propensity, as_of) / PART
        if not part.is_file() or digest(part) != sha256:
            return None
        is_whole = path.stat().st_size == pq.read_metadata(part).num_rows * np.dtype(np.uint64).itemsize
        return Earlier(part, path, sha256) if is_whole else None

    @contextmanager
    def writing(self) -> Iterator[IO[bytes]]:
        """A file for the digests of a new partition, row by row; without `put` it is gone with the block."""
        self._folder.mkdir(parents=True, exist_ok=True)
        sweep(self._folder, NEIGHBOUR)
        try:
            with self._neighbour.open("wb") as file:
                yield file
        finally:
            self._neighbour.unlink(missing_ok=True)

    def put(self, file: IO[bytes], as_of: datetime, sha256: str) -> None:
        """Keep what was written, of the partition of an as_of whose file has this digest, and forget every other."""
        file.flush()
        os.fsync(file.fileno())
        target = self._folder / f"{label(as_of)}.{sha256}.{self._maker}"
        self._neighbour.replace(target)
        self._forget_but(target)

    def _forget_but(self, kept: Path | None) -> None:
        for path in self._folder.glob("[!.]*"):
            if path != kept:
                path.unlink(missing_ok=True)

    @property
    def _neighbour(self) -> Path:
        return self._folder / f".{NEIGHBOUR}.{os.getpid()}"
