"""Rows of a person in a Parquet file, counted or left out; the file is replaced in one step, every other row stays as it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalog import sweep
from features.forgetting.person import Person
from features.tables import ENTITIES, ENTITY_KEYS

EITHER = "either"  # of a column that may hold ids of leads or of customers
ENTITY_ID, ENTITY = "entity_id", "entity"
Columns = Mapping[str, str]  # a column with ids, and whose they are


def columns_of(entity: str) -> Columns:
    """The columns by which a file knows its rows, when it is about one kind of entity."""
    return {ENTITY_ID: entity, ENTITY_KEYS[entity]: entity}


EVERY: Columns = {ENTITY_ID: EITHER, **{key: entity for entity, key in ENTITY_KEYS.items()}}


def count(path: Path, person: Person, columns: Columns) -> int:
    """How many rows of a file are the person's."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        wanted = [name for name in (*columns, ENTITY) if name in names]
        if not set(wanted) & set(columns):
            return 0
        batches = file.iter_batches(columns=wanted)
        return sum(int(pc.sum(theirs(batch, person, columns)).as_py() or 0) for batch in batches)


def leave_out(path: Path, person: Person, columns: Columns) -> int:
    """Replace a file by one without the person's rows; one that has none is left as it is. Returns how many those were.

    Args:
        path: a Parquet file.
        person: whose rows go.
        columns: which columns hold ids, and of whom; those that the file lacks count for nothing.
    """
    rows = count(path, person, columns)
    if rows:
        sweep(path.parent, path.name)
        neighbour = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            _write(path, neighbour, person, columns)
            neighbour.replace(path)
        finally:
            neighbour.unlink(missing_ok=True)
    return rows


def theirs(batch: pa.RecordBatch, person: Person, columns: Columns) -> pa.Array:
    """For each row whether it is the person's."""
    names = batch.schema.names
    found = pa.repeat(pa.scalar(False), batch.num_rows)
    for name, entity in columns.items():
        if name in names:
            found = pc.or_(found, _in_column(batch, name, entity, person))
    return found


def _in_column(batch: pa.RecordBatch, name: str, entity: str, person: Person) -> pa.Array:
    """Whether an id column names the person; where the row says whose id it is, only that kind counts."""
    ids = batch[name].cast(pa.string())
    if entity != EITHER:
        return _among(ids, person.ids(entity))
    if ENTITY not in batch.schema.names:
        return _among(ids, person.every)
    kinds = batch[ENTITY].cast(pa.string())
    lead, customer = (pc.and_(pc.equal(kinds, one).fill_null(False), _among(ids, person.ids(one))) for one in ENTITIES)
    return pc.or_(lead, customer)


def _among(ids: pa.Array, wanted: frozenset[str]) -> pa.Array:
    return pc.is_in(ids, value_set=pa.array(sorted(wanted), pa.string()))


def _write(source: Path, target: Path, person: Person, columns: Columns) -> None:
    """The other rows, in their order, with the file's schema, its notes and its compression."""
    with pq.ParquetFile(source) as file, target.open("wb") as opened:
        codec = file.metadata.row_group(0).column(0).compression
        with pq.ParquetWriter(opened, file.schema_arrow, compression=codec.replace("UNCOMPRESSED", "NONE")) as writer:
            for batch in file.iter_batches():
                writer.write_batch(batch.filter(pc.invert(theirs(batch, person, columns))))
        opened.flush()
        os.fsync(opened.fileno())
