"""The online store: one packed record per entity, written by materialisation, read by the service."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from features import applied, storage
from features.ahead import ahead
from features.catalog import write_atomically
from features.console import Tick
from features.errors import ContractError, StoreError
from features.lookup import lookup_of
from features.record import HEADER_SIZE, Layout, Record, Values, digest_of, encode, header
from features.record_file import record_files, recorded, write_records
from features.settings import Workspace
from features.snapshot import label
from features.storage import ROWS_PER_WRITE
from features.upsert import upsert_of
from features.wire import record_view

if TYPE_CHECKING:
    from feast import FeatureStore, FeatureView

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


class Compared(NamedTuple):
    """Records, those of them that the store holds otherwise or not at all, and whose it holds of a newer as_of."""

    records: Mapping[str, bytes]
    changed: list[tuple[str, bytes]]
    newer: set[str]


class Online:
    """The online store, open. One instance serves many threads.

    Reading needs neither Feast nor its registry once `apply` has run in this workspace; putting needs both to tell an as_of
    that is new.
    """

    def __init__(self, workspace: Workspace, deadline: timedelta | None = None) -> None:
        """Open it; nothing is connected yet.

        Args:
            workspace: to which declarations were applied.
            deadline: how long one look-up of up to 1,000 records may take, connecting included; None for the patience of a batch.
                Finding the address of a host by its name is not bounded by it.

        Raises:
            WorkspaceError: `[store] online` in foresell.toml is wrong.
            StoreError: Feast has not been told what this workspace declares.
        """
        from features.repo.opening import answering

        self._workspace, self._answering = workspace, answering
        self._lookup, self._upsert = lookup_of(workspace, deadline), upsert_of(workspace)
        self._heads: dict[bytes, tuple[Layout, datetime]] = {}
        self._layouts = {NOTHING.digest: NOTHING}
        self._entities = storage.remembered_entities(workspace) or self._told()
        if not self._entities:
            raise self._no_records("leads or customers")

    def require(self, entity: str) -> None:
        """Make sure that there is a place for the records of an entity.

        Raises:
            StoreError: there is none.
        """
        if entity not in self._entities:
            self._entities |= self._told()
        if entity not in self._entities:
            raise self._no_records(entity)

    def ping(self, entity: str) -> None:
        """Look up nobody, to see whether the store answers.

        Raises:
            StoreError: it does not, or holds no records of this entity.
        """
        self.read_packed(entity, [""])

    def read(self, entity: str, ids: Sequence[str]) -> list[Record | None]:
        """The record of each id, in the same order; None for one that is not, or no longer, in the store.

        Raises:
            StoreError: the store does not answer, or holds no records of this entity.
            ContractError: a record is damaged, or nobody knows its layout any more.
        """
        found = zip(ids, self.read_packed(entity, ids), strict=True)
        return [None if data is None else self._record(entity_id, data) for entity_id, data in found]

    def read_packed(self, entity: str, ids: Sequence[str]) -> list[bytes | None]:
        """As `read`, still packed."""
        self.require(entity)
        found: list[bytes | None] = []
        for start in range(0, len(ids), IDS_PER_READ):
            with self._answering(self._workspace):
                found += self._lookup.fetch(entity, ids[start : start + IDS_PER_READ])
        return found

    def put(
        self, entity: str, as_of: datetime, chunks: Iterable[Mapping[str, bytes]], tick: Tick = lambda _: None
    ) -> Materialized:
        """Write packed records of one as_of, but not over newer ones, and not where nothing would change.

        What another puts meanwhile is not seen. Neither store sees to this by itself: SQLite lets an older row replace a newer
        one, and Redis either does so too or leaves out a correction at the same instant.

        Args:
            entity: `lead` or `customer`.
            as_of: the instant before which everything in the records was known.
            chunks: records by id, no id in two of them; three chunks at most are held in memory.
            tick: called with the number of records that are done.
        """
        done, parts = Materialized(entity), set[Path]()
        with (
            closing(ahead(chunks)) as read,
            closing(ahead(self._beside(entity, as_of, records) for records in read)) as compared,
        ):
            for number, (records, changed, newer) in enumerate(compared):
                tick(len(records) - len(changed))
                current = {one: data for one, data in records.items() if one not in newer} if newer else records
                if current or not records:
                    parts.add(write_records(self._workspace, entity, as_of, current, number))
                self._write(entity, as_of, changed, tick)
                done += Materialized(entity, len(changed), len(current) - len(changed), len(newer))
        for path in record_files(self._workspace, entity):
            if path not in parts and path.name[: len(label(as_of))] <= label(as_of):
                path.unlink()
        if done.written and not applied.is_online(self._workspace, entity, as_of):
            self._note(entity, as_of)
        return done

    def _beside(self, entity: str, as_of: datetime, records: Mapping[str, bytes]) -> Compared:
        """Records beside what the store holds."""
        held = zip(records.items(), self.read_packed(entity, list(records)), strict=True)
        others = [(entity_id, data, before) for (entity_id, data), before in held if before != data]
        newer = {entity_id for entity_id, _, before in others if _is_newer(before, as_of)}
        return Compared(records, [(one, data) for one, data, _ in others if one not in newer], newer)

    def _note(self, entity: str, as_of: datetime) -> None:
        """Tell the registry that an as_of is online."""
        from features.repo.opening import told

        view, feast = self._views[entity], self._feast  # opened before, for what others write meanwhile counts as ours
        with applied.noting(self._workspace, entity, as_of), told(self._workspace):
            feast.registry.apply_materialization(view, feast.project, as_of, as_of)

    def forget_others(self, entity: str, as_of: datetime, known: Collection[str]) -> Materialized:
        """Empty the record of everybody who is in the store but not known at an as_of; newer records stay.

        Feast cannot delete one entity from every kind of store. Whoever was ever put is in a file of `record_files`, because
        the file is written first and removed only after this.
        """
        others = sorted(recorded(self._workspace, entity, known))
        held = zip(others, self.read_packed(entity, others), strict=True)
        (nothing,) = encode(NOTHING, as_of, pd.DataFrame(index=range(1)))
        gone = [(entity_id, nothing) for entity_id, data in held if not _is_empty(data) and not _is_newer(data, as_of)]
        self._write(entity, as_of, gone)
        return Materialized(entity, gone=len(gone))

    def _write(self, entity: str, as_of: datetime, records: Sequence[tuple[str, bytes]], tick: Tick = lambda _: None) -> None:
        for start in range(0, len(records), ROWS_PER_WRITE):
            chunk = records[start : start + ROWS_PER_WRITE]
            with self._answering(self._workspace):
                self._upsert.write(entity, as_of, chunk)
            tick(len(chunk))

    @cached_property
    def _feast(self) -> FeatureStore:
        from features.repo.opening import feast_of

        with feast_of(self._workspace) as feast:
            return feast

    @cached_property
    def _views(self) -> dict[str, FeatureView]:
        """Where the records of each entity are, as Feast was told."""
        from features.repo.opening import told

        with told(self._workspace):
            registered = {view.name: view for view in self._feast.list_feature_views()}
            return {entity.name: registered[record_view(entity.name)] for entity in self._feast.list_entities()}

    def _told(self) -> frozenset[str]:
        return frozenset(self._views)

    def _no_records(self, entity: str) -> StoreError:
        return StoreError(
            f"online store of {self._workspace.root}",
            expected=f"records of {entity}",
            received=f"records of {', '.join(sorted(self._entities)) or 'nothing'}",
            repair=f"run `foresell snapshot --workspace {self._workspace.root}`",
        )

    def _record(self, entity_id: str, data: bytes) -> Record | None:
        head = data[:HEADER_SIZE]
        if head not in self._heads:
            digest, as_of = header(data)
            if digest not in self._layouts:
                self._layouts[digest] = _read_layout(self._workspace, digest)
            self._heads[head] = (self._layouts[digest], as_of)
        layout, as_of = self._heads[head]
        return None if layout is NOTHING else Record(entity_id, as_of, Values(layout, data))


def write_layout(workspace: Workspace, layout: Layout) -> None:
    """Keep a layout under its digest, so that records written with it stay readable when the declarations have moved on."""
    write_atomically(_layout_file(workspace, layout.digest), layout.to_json().encode())


def _is_empty(data: bytes | None) -> bool:
    """Whether there is no record, or only what is left of one."""
    return data is None or digest_of(data) == NOTHING.digest


def _is_newer(held: bytes | None, as_of: datetime) -> bool:
    since = None if held is None else _instant(held[:HEADER_SIZE])
    return since is not None and since > as_of


@lru_cache
def _instant(head: bytes) -> datetime | None:
    """The as_of in the header of a record; a great many have the same one."""
    try:
        return header(head)[1]
    except ContractError:  # of a version that nobody can read: better a record than that
        return None


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


def layouts(workspace: Workspace) -> dict[bytes, Layout]:
    """By digest, every layout that records were written with."""
    read = (Layout.from_json(path.read_text(encoding="utf-8")) for path in _layout_folder(workspace).glob("*.json"))
    return {layout.digest: layout for layout in read}


def _layout_file(workspace: Workspace, digest: bytes) -> Path:
    return _layout_folder(workspace) / f"{digest.hex()}.json"


def _layout_folder(workspace: Workspace) -> Path:
    return workspace.store / "layouts"
