"""The files of packed records beside the snapshots: what `feast materialize` reads, and who was ever put online."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.settings import Workspace
from features.snapshot import label
from features.wire import RECORD, join_key

if TYPE_CHECKING:
    import pyarrow


def write_records(workspace: Workspace, entity: str, as_of: datetime, records: Mapping[str, bytes], number: int) -> Path:
    """Put a chunk of packed records where `feast materialize` finds them.

    Only what may be online is ever there, so that no range given to `feast materialize` turns the clock back.
    """
    import pyarrow.parquet

    target = _folder(workspace, entity) / f"{label(as_of)}-{number}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    neighbour = target.with_name(f".{target.name}.{os.getpid()}")
    pyarrow.parquet.write_table(_rows(entity, as_of, records), neighbour)
    return neighbour.replace(target)


def record_files(workspace: Workspace, entity: str) -> list[Path]:
    """The files of packed records, oldest as_of first."""
    return sorted(_folder(workspace, entity).glob("*.parquet"))


def recorded(workspace: Workspace, entity: str, besides: Collection[str]) -> set[str]:
    """The ids in the files of packed records, but for those that are given."""
    import pyarrow.compute
    import pyarrow.parquet

    column, ids = join_key(entity), pyarrow.array(besides, pyarrow.string())
    found = [pyarrow.parquet.read_table(path, columns=[column])[column] for path in record_files(workspace, entity)]
    everybody = pyarrow.chunked_array([chunk for some in found for chunk in some.chunks], pyarrow.string())
    return set(everybody.filter(pyarrow.compute.invert(pyarrow.compute.is_in(everybody, value_set=ids))).to_pylist())


def _folder(workspace: Workspace, entity: str) -> Path:
    return workspace.snapshots / entity / RECORD


def _rows(entity: str, as_of: datetime, records: Mapping[str, bytes]) -> pyarrow.Table:
    import pyarrow

    instants = pyarrow.repeat(pyarrow.scalar(as_of, pyarrow.timestamp("us", "UTC")), len(records))
    ids, packed = pyarrow.array(list(records), pyarrow.string()), pyarrow.array(list(records.values()), pyarrow.binary())
    return pyarrow.table([ids, instants, packed], names=[join_key(entity), "event_timestamp", RECORD])
