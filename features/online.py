"""The online store: one packed record per entity, written by materialisation, read by the service."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from features.catalog import write_atomically
from features.console import Tick
from features.errors import ContractError, StoreError
from features.record import Layout, Record, decode, encode, header
from features.settings import Workspace
from features.snapshot import label
from features.storage import ROWS_PER_WRITE

if TYPE_CHECKING:
    import pyarrow
    from feast import FeatureView

IDS_PER_READ = 1_000
NOTHING = Layout(())  # of what is left of the record of an entity that is known no more: its as_of


@dataclass(frozen=True)
class Materialized:
    """What became of the records of one entity: written, the same already, left because a newer one was there, or emptied
    because the entity is known no more."""

    entity: str
    written: int = 0
    same: int = 0
    newer: int = 0
    gone: int = 0

    def __add__(self, other: Materialized) -> Materialized:
        counts = (self.written + other.written, self.same + other.same, self.newer + other.newer, self.gone + other.gone)
        return Materialized(self.entity, *counts)


class Online:
    """The online store, open. One instance serves many threads."""

    def __init__(self, workspace: Workspace) -> None:
        """Open it; takes seconds, for Feast is heavy.

        Raises:
            StoreError: Feast has not been told what this workspace declares.
        """
        from features.repo.opening import answering, feast_of

        self._workspace, self._answering = workspace, answering
        self._layouts: dict[bytes, Layout] = {}
        with feast_of(workspace) as self._feast:
            from features.repo.schema import entity_keys, record_view

            registered = {view.name: view for view in self._feast.list_feature_views()}
            self._entity_keys = entity_keys
            self._read = self._feast.provider.online_store.online_read  # made now, not during the first request
            self._views = {e.name: registered[record_view(e.name)] for e in self._feast.list_entities()}
        if not self._views:
            raise self._no_records("leads or customers")

    def require(self, entity: str) -> None:
        """Make sure that there is a place for the records of an entity.

        Raises:
            StoreError: there is none.
        """
        self._view(entity)

    def read(self, entity: str, ids: Sequence[str]) -> list[Record | None]:
        """The record of each id, in the same order; None for one that is not, or no longer, in the store.

        Raises:
            StoreError: the store does not answer, or holds no records of this entity.
            ContractError: a record is damaged, or nobody knows its layout any more.
        """
        found = zip(ids, self.read_packed(entity, ids), strict=True)
        return [None if data is None or _is_empty(data) else self._unpacked(entity_id, data) for entity_id, data in found]

    def read_packed(self, entity: str, ids: Sequence[str]) -> list[bytes | None]:
        """As `read`, still packed."""
        view, found = self._view(entity), []
        for start in range(0, len(ids), IDS_PER_READ):
            keys = self._entity_keys(entity, ids[start : start + IDS_PER_READ])
            with self._answering(self._workspace):
                found += self._read(self._feast.config, view, keys, ["record"])
        # Redis answers an unknown id with an empty value, SQLite with no values at all
        return [(values["record"].bytes_val or None) if values else None for _, values in found]

    def put(
        self, entity: str, as_of: datetime, chunks: Iterable[Mapping[str, bytes]], tick: Tick = lambda _: None
    ) -> Materialized:
        """Write packed records of one as_of, but not over newer ones, and not where nothing would change.

        Neither store sees to this by itself: SQLite lets an older row replace a newer one, and Redis either does so too or
        leaves out a correction at the same instant.

        Args:
            entity: `lead` or `customer`.
            as_of: the instant before which everything in the records was known.
            chunks: records by id; only one chunk at a time is held in memory.
            tick: called with the number of records that are done.
        """
        done, parts = Materialized(entity), set[Path]()
        for number, records in enumerate(chunks):
            held = dict(zip(records, self.read_packed(entity, list(records)), strict=True))
            current = {entity_id: data for entity_id, data in records.items() if not _is_newer(held[entity_id], as_of)}
            changed = [(entity_id, data) for entity_id, data in current.items() if held[entity_id] != data]
            tick(len(records) - len(changed))
            if current or not records:
                parts.add(write_records(self._workspace, entity, as_of, current, number))
            self._write(entity, as_of, changed, tick)
            done += Materialized(entity, len(changed), len(current) - len(changed), len(records) - len(current))
        for path in record_files(self._workspace, entity):
            if path not in parts and path.name[: len(label(as_of))] <= label(as_of):
                path.unlink()
        if done.written:
            self._feast.registry.apply_materialization(self._view(entity), self._feast.project, as_of, as_of)
        return done

    def forget_others(self, entity: str, as_of: datetime, known: Collection[str]) -> Materialized:
        """Empty the record of everybody who is in the store but not known at an as_of; newer records stay.

        Feast cannot delete one entity from every kind of store. Whoever was ever put is in a file of `record_files`, because
        the file is written first and removed only after this.
        """
        others = sorted(_recorded(self._workspace, entity) - set(known))
        held = zip(others, self.read_packed(entity, others), strict=True)
        (nothing,) = encode(NOTHING, as_of, pd.DataFrame(index=range(1)))
        gone = [(entity_id, nothing) for entity_id, data in held if not _is_empty(data) and not _is_newer(data, as_of)]
        self._write(entity, as_of, gone)
        return Materialized(entity, gone=len(gone))

    def _write(self, entity: str, as_of: datetime, records: Sequence[tuple[str, bytes]], tick: Tick = lambda _: None) -> None:
        for start in range(0, len(records), ROWS_PER_WRITE):
            chunk = records[start : start + ROWS_PER_WRITE]
            with self._answering(self._workspace):
                self._feast.write_to_online_store(self._view(entity).name, df=_rows(entity, as_of, chunk).to_pandas())
            tick(len(chunk))

    def _view(self, entity: str) -> FeatureView:
        if entity not in self._views:
            raise self._no_records(entity)
        return self._views[entity]

    def _no_records(self, entity: str) -> StoreError:
        return StoreError(
            f"online store of {self._workspace.root}",
            expected=f"records of {entity}",
            received=f"records of {', '.join(self._views) or 'nothing'}",
            repair=f"run `foresell snapshot --workspace {self._workspace.root}`",
        )

    def _unpacked(self, entity_id: str, data: bytes) -> Record:
        digest, as_of = header(data)
        return Record(entity_id, as_of, decode(self._layout(digest), data))

    def _layout(self, digest: bytes) -> Layout:
        if digest not in self._layouts:
            self._layouts[digest] = _read_layout(self._workspace, digest)
        return self._layouts[digest]


def write_layout(workspace: Workspace, layout: Layout) -> None:
    """Keep a layout under its digest, so that records written with it stay readable when the declarations have moved on."""
    write_atomically(_layout_file(workspace, layout.digest), layout.to_json().encode())


def write_records(workspace: Workspace, entity: str, as_of: datetime, records: Mapping[str, bytes], number: int) -> Path:
    """Put a chunk of packed records where `feast materialize` finds them.

    Only what may be online is ever there, so that no range given to `feast materialize` turns the clock back.
    """
    import pyarrow.parquet

    target = _record_folder(workspace, entity) / f"{label(as_of)}-{number}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    neighbour = target.with_name(f".{target.name}.{os.getpid()}")
    pyarrow.parquet.write_table(_rows(entity, as_of, records.items()), neighbour)
    return neighbour.replace(target)


def record_files(workspace: Workspace, entity: str) -> list[Path]:
    """The files of packed records, oldest as_of first."""
    return sorted(_record_folder(workspace, entity).glob("*.parquet"))


def _record_folder(workspace: Workspace, entity: str) -> Path:
    return workspace.snapshots / entity / "record"


def _recorded(workspace: Workspace, entity: str) -> set[str]:
    """The ids in the files of packed records."""
    import pyarrow.parquet

    column = f"{entity}_id"
    files = record_files(workspace, entity)
    return {entity_id for path in files for entity_id in pyarrow.parquet.read_table(path, columns=[column])[column].to_pylist()}


def _rows(entity: str, as_of: datetime, records: Collection[tuple[str, bytes]]) -> pyarrow.Table:
    import pyarrow

    ids, packed = zip(*records, strict=True) if records else ((), ())
    instants = pyarrow.repeat(pyarrow.scalar(as_of, pyarrow.timestamp("us", "UTC")), len(ids))
    columns = [pyarrow.array(ids, pyarrow.string()), instants, pyarrow.array(packed, pyarrow.binary())]
    return pyarrow.table(columns, names=[f"{entity}_id", "event_timestamp", "record"])


def _is_empty(data: bytes | None) -> bool:
    """Whether there is no record, or only what is left of one."""
    try:
        return data is None or header(data)[0] == NOTHING.digest
    except ContractError:
        return False


def _is_newer(held: bytes | None, as_of: datetime) -> bool:
    try:
        return held is not None and header(held)[1] > as_of
    except ContractError:  # of a version that nobody can read: better a record than that
        return False


def _read_layout(workspace: Workspace, digest: bytes) -> Layout:
    path = _layout_file(workspace, digest)
    if not path.is_file():
        raise ContractError(
            "a record of the online store",
            expected=f"a layout that is kept in {path.parent}",
            received=f"layout {digest.hex()}",
            repair=f"run `foresell snapshot --workspace {workspace.root}` to write the records anew",
        )
    return Layout.from_json(path.read_text(encoding="utf-8"))


def _layout_file(workspace: Workspace, digest: bytes) -> Path:
    return workspace.store / "layouts" / f"{digest.hex()}.json"
