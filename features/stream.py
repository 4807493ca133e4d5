"""A cohort with its features, a chunk at a time: memory does not grow with the number of entities.

The snapshots are read as they are: Feast's join (`store.historical`) gives the same to the bit, at twenty times the cost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import zip_longest

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from features.database import connect, identifier
from features.engine import ROWS_PER_GROUP
from features.propensity import Propensity
from features.settings import Workspace
from features.snapshot import select_sql

ROWS_PER_CHUNK = ROWS_PER_GROUP  # so that no part of a file that DuckDB wrote is read for two chunks
MEMORY = "500MB"  # where the settings name no limit


def chunks(workspace: Workspace, propensity: Propensity, as_of: datetime, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The eligible entities at an as_of, a chunk of at most `ROWS_PER_CHUNK` at a time; where nobody is, no chunk.

    Which entities share a chunk depends on who is known alone.

    Returns:
        One row per entity, sorted by `entity_id` over all chunks: `entity_id` (string), `as_of` (timestamp[us, UTC]) and the
        columns: numbers float64, categories string, null for missing.

    Raises:
        SnapshotError: a snapshot has not been built.
        FeatureError: no view of the entity has a column of that name.
    """
    wanted = list(dict.fromkeys((*columns, *(condition.column for condition in propensity.conditions))))
    known = select_sql(workspace, propensity.entity, [as_of], wanted)
    eligible = " and ".join(["true", *(f"({condition.sql()})" for condition in propensity.conditions)])
    asked = ", ".join(["entity_id", "as_of", *map(identifier, columns)])
    with connect(workspace, MEMORY) as connection:
        for first, end in _ranges(connection, select_sql(workspace, propensity.entity, [as_of], [])):
            within = "entity_id >= ? and entity_id < ?" if end is not None else "entity_id >= ?"
            query = f"select {asked} from ({known}) where {within} and {eligible}"
            found = _batch(connection.sql(query, params=[first, end] if end is not None else [first]))
            if found.num_rows:
                yield found


def among(workspace: Workspace, entity: str, as_of: datetime, ids: Sequence[str], columns: Sequence[str]) -> pa.RecordBatch:
    """What was known of some entities, as far as they were known: rows as those of `chunks`, eligible or not.

    Raises:
        SnapshotError, FeatureError: as `chunks`.
    """
    known = select_sql(workspace, entity, [as_of], columns)
    with connect(workspace, MEMORY) as connection:
        query = f"select * from ({known}) where entity_id in (select unnest(?))"
        return _batch(connection.sql(query, params=[list(ids)]))


def _batch(rows: duckdb.DuckDBPyRelation) -> pa.RecordBatch:
    table = by_entity(rows)
    return table.to_batches()[0] if len(table) else pa.RecordBatch.from_pylist([], schema=table.schema)


def by_entity(rows: duckdb.DuckDBPyRelation) -> pa.Table:
    """Rows sorted by `entity_id`, in one piece; as snapshots are, they mostly come so, and sorting is a third of reading."""
    table = rows.to_arrow_table().combine_chunks()
    ids = table["entity_id"]
    is_sorted = pc.less_equal(ids.slice(0, max(0, len(ids) - 1)), ids.slice(1)).fill_null(False)
    return table if pc.all(is_sorted, min_count=0).as_py() else table.sort_by("entity_id").combine_chunks()


def _ranges(connection: duckdb.DuckDBPyConnection, known: str) -> Iterator[tuple[str, str | None]]:
    """The first id of each chunk of those who are known, and that of the next one."""
    numbered = f"select entity_id, row_number() over (order by entity_id) - 1 as place from ({known})"
    rows = connection.execute(f"select entity_id from ({numbered}) where place % {ROWS_PER_CHUNK} = 0 order by 1").fetchall()
    firsts = [row[0] for row in rows]
    yield from zip_longest(firsts, firsts[1:])
