"""The one door to Feast: declarations applied, features joined point-in-time, records materialised (and `Online`, to read them).

Offline every view is a feature view over its snapshot files. Online everything known of an entity is one packed record
(`features.record`), the only feature of the view `<entity>_record`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features import applied, external, snapshot, storage
from features.catalog import Catalog
from features.console import Tick
from features.database import connect, limit
from features.engine import ROWS_PER_GROUP
from features.errors import LostRowsError, StoreError
from features.feature import Dtype, View
from features.naming import require_names
from features.online import Materialized, Online, write_layout
from features.record import Layout, encode
from features.settings import Workspace
from features.snapshot import relation
from features.stream import by_entity
from features.views import view_of, views

if TYPE_CHECKING:
    import pyarrow
    from feast import FeatureStore

__all__ = ["Materialized", "Online", "apply", "historical", "materialize", "population"]

POSITION = "spine_position"
RECORDS_PER_CHUNK = 2 * ROWS_PER_GROUP


def apply(workspace: Workspace) -> None:
    """Tell Feast what is declared: new views come, changed ones change, vanished ones go. What it knows it is not told again.

    External tables are copied beside the snapshots first, so that a propensity file that is wrong leaves nobody with yesterday's.
    `data/store/feature_store.yaml` is written for the `feast` command.

    Raises:
        TableError: nothing has been ingested, or an external table holds what was not declared.
        WorkspaceError, FeatureError, PropensityError: a setting or declaration is wrong.
        StoreError: the online store does not answer.
    """
    present = views(workspace, Catalog.load(workspace))
    require_names(present)
    external.refresh(workspace)
    with applied.alone(workspace):
        declared, entities = applied.declared(workspace), {view.entity for view in present}
        if not applied.holds(workspace, declared, entities):
            _tell(workspace)
            if applied.declared(workspace) == declared:  # else somebody has changed a file meanwhile
                applied.remember(workspace, declared, entities)
    storage.write(workspace)
    storage.remember_entities(workspace, entities)
    if workspace.settings.store.online == "sqlite":
        _let_read_while_written(workspace)


def _tell(workspace: Workspace) -> None:
    from features.repo.opening import answering, feast_of

    with feast_of(workspace) as store, answering(workspace):
        from features.repo.schema import objects

        declared = objects(workspace)
        store.apply(declared, objects_to_delete=_vanished(store, declared), partial=False)


def historical(workspace: Workspace, entity: str, spine: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """Features of entities at instants, through Feast's point-in-time join.

    Args:
        workspace: with built snapshots and applied declarations.
        entity: `lead` or `customer`.
        spine: one row per entity and as_of: `entity_id` (str), `as_of` (datetime64 with a time zone); any order, repeats allowed.
        features: columns of the entity's views.

    Returns:
        The spine's rows in the spine's order: `entity_id`, `as_of` and the features; numbers float64 with NaN for missing,
        categories str with None for missing. A snapshot is of exactly the as_of; a row of an external table is the newest
        one before it.

    Raises:
        FeatureError: no view of this entity has a feature of that name.
        SnapshotError: a snapshot is missing.
        StoreError: an entity is not in its snapshot, or Feast has not been told of a view.
        LostRowsError: the join gave other rows than the spine has.
    """
    present = views(workspace, Catalog.load(workspace))
    holders = {name: view_of(present, entity, name) for name in features}
    dtypes = {feature.name: feature.dtype for view in holders.values() for feature in view.columns}
    as_of = pd.to_datetime(spine["as_of"], utc=True).astype("datetime64[us, UTC]")
    keys = pd.DataFrame({"entity_id": spine["entity_id"].astype(object).to_numpy(), "as_of": as_of.array})
    if keys.empty or not features:
        return keys.assign(**{name: pd.Series(dtype="float64" if dtypes[name] == "number" else object) for name in features})
    _require_snapshots(workspace, [view for view in dict.fromkeys(holders.values()) if not view.external], keys)
    joined = _join(workspace, entity, keys, holders)
    return pd.concat([keys, _frame(joined, {name: dtypes[name] for name in features})], axis=1)


def population(workspace: Workspace, as_of: datetime) -> dict[str, list[str]]:
    """Per entity of the workspace the ids that were known at an as_of, sorted: those that get a record.

    Raises:
        SnapshotError: there is no snapshot of that as_of.
    """
    known = {}
    with connect(workspace) as connection:
        for view in views(workspace, Catalog.load(workspace)):
            if view.is_profile and not view.external:
                rows = connection.execute(
                    f"select entity_id from {relation(workspace, view, [as_of])} order by entity_id"
                ).fetchall()
                known[view.entity] = [row[0] for row in rows]
    return known


def materialize(workspace: Workspace, as_of: datetime, tick: Tick = lambda _: None) -> tuple[Materialized, ...]:
    """Put what was known before an as_of into the online store, one packed record per entity.

    A record that is there already is written again only if it differs, and never replaced by one of an older as_of. The record
    of an entity that is known no more is emptied. Memory is bounded: records are made and written a chunk at a time.

    Args:
        workspace: with snapshots of the as_of and applied declarations.
        as_of: an instant in UTC.
        tick: called with the number of entities that are done; `population` tells how many there are.

    Raises:
        SnapshotError: there is no snapshot of that as_of.
        StoreError: the online store does not answer.
        LostRowsError: the join lost an entity.
    """
    present = views(workspace, Catalog.load(workspace))
    known = population(workspace, as_of)
    online = Online(workspace)
    done = []
    for entity, ids in known.items():
        layout = Layout.of(feature for view in present if view.entity == entity for feature in view.columns)
        write_layout(workspace, layout)
        gone = online.forget_others(entity, as_of, ids)
        done.append(gone + online.put(entity, as_of, _packed(workspace, entity, as_of, ids, layout), tick))
    return tuple(done)


def _packed(workspace: Workspace, entity: str, as_of: datetime, ids: Sequence[str], layout: Layout) -> Iterator[dict[str, bytes]]:
    """The packed records of entities, a chunk at a time; of nobody, one chunk with nothing in it.

    The snapshots are read as they are: the join of `historical` gives the same to the bit, at twenty times the cost.
    """
    rows = snapshot.select_sql(workspace, entity, [as_of], list(layout.places))
    with connect(workspace) as connection:
        for start in range(0, max(1, len(ids)), RECORDS_PER_CHUNK):
            chunk = ids[start : start + RECORDS_PER_CHUNK]
            query = f"select * from ({rows}) where entity_id between ? and ?"
            table = by_entity(connection.sql(query, params=[chunk[0], chunk[-1]] if chunk else ["", ""]))
            if table["entity_id"].to_pylist() != chunk:
                raise _lost(f"snapshots of {entity}", len(chunk), table["entity_id"].to_pylist())
            yield dict(zip(chunk, encode(layout, as_of, _frame(table, dict(layout.columns))), strict=True))


def _vanished(store: FeatureStore, declared: Iterable[Any]) -> list[Any]:
    """What Feast still knows and nobody declares any more."""
    kept = {(type(thing), thing.name) for thing in declared}
    kept |= {(type(view.batch_source), view.batch_source.name) for view in declared if hasattr(view, "batch_source")}
    known: list[Any] = [
        *store.list_feature_services(),
        *store.list_feature_views(),
        *store.list_data_sources(),
        *store.list_entities(),
    ]
    return [thing for thing in known if (type(thing), thing.name) not in kept]


def _let_read_while_written(workspace: Workspace) -> None:
    """With SQLite's default journal a reader waits while a batch is written: up to 0.4 s when measured, 0.06 s with this one."""
    with closing(sqlite3.connect(workspace.store / "online.db")) as connection:
        connection.execute("pragma journal_mode = wal")


def _require_snapshots(workspace: Workspace, needed: Sequence[View], keys: pd.DataFrame) -> None:
    """Every entity and as_of has a row in every snapshot; Feast would silently answer missing values for one that has not."""
    as_ofs = [instant.to_pydatetime() for instant in keys["as_of"].drop_duplicates()]
    with connect(workspace) as connection:
        connection.register("spine", keys)
        for view in needed:
            lost = connection.execute(
                f"select count(*), min(entity_id), min(as_of) from spine anti join {relation(workspace, view, as_ofs)} known "
                "on known.entity_id = spine.entity_id and known.event_timestamp = spine.as_of"
            ).fetchall()[0]
            if lost[0]:
                raise _no_snapshot(workspace, view, f"none for {lost[0]:,} of them, for example {lost[1]!r}", lost[2])


def _no_snapshot(workspace: Workspace, view: View, received: str, as_of: datetime) -> StoreError:
    return StoreError(
        f"snapshots of {view.name}",
        expected="a row for every entity at every as_of that was asked for",
        received=received,
        repair=f"run `foresell snapshot --as-of {as_of.astimezone(UTC):%Y-%m-%dT%H:%M:%S} --workspace {workspace.root}`",
    )


def _join(workspace: Workspace, entity: str, keys: pd.DataFrame, holders: Mapping[str, View]) -> pyarrow.Table:
    """Feast's answer, in the order of the keys."""
    from features.repo.opening import feast_of

    with feast_of(workspace) as store:
        import ibis

        _require_applied(workspace, store, holders)
        limit(ibis.get_backend().con, workspace)  # Feast's DuckDB store runs on ibis, which keeps one connection per process
        # a frame of its own, for Feast changes what it is given; the position brings its rows back into order
        asked = keys.set_axis([f"{entity}_id", "event_timestamp"], axis=1).assign(**{POSITION: np.arange(len(keys))})
        references = [f"{view.name}:{name}" for name, view in holders.items()]
        answer = store.get_historical_features(entity_df=asked, features=references).to_arrow()
    return _in_order(answer, entity, len(keys))


def _in_order(answer: pyarrow.Table, entity: str, rows: int) -> pyarrow.Table:
    """The answer sorted by position, once it is certain that every row of the spine is in it, once."""
    position = answer[POSITION].to_numpy()
    order = np.argsort(position, kind="stable")
    if not np.array_equal(position[order], np.arange(rows)):
        raise _lost(f"point-in-time join of {entity}", rows, position)
    return answer.take(order)


def _lost(where: str, expected: int, received: Sequence[object] | np.ndarray) -> LostRowsError:
    return LostRowsError(
        where,
        expected=f"{expected:,} rows, one for each that was asked for",
        received=f"{len(received):,} rows, {len(set(received)):,} of them different",
        repair="report this with the versions of Feast and DuckDB: every row must be kept",
    )


def _require_applied(workspace: Workspace, store: FeatureStore, holders: Mapping[str, View]) -> None:
    told = {(view.name, field.name) for view in store.list_feature_views() for field in view.features}
    lacking = [f"{view.name}:{name}" for name, view in holders.items() if (view.name, name) not in told]
    if lacking:
        raise StoreError(
            f"Feast's registry of {workspace.root}",
            expected=f"the {len(holders)} features that were asked for",
            received=f"no {', '.join(lacking[:5])}",
            repair=f"run `foresell snapshot --workspace {workspace.root}`, which tells Feast of what is declared",
        )


def _frame(table: pyarrow.Table, dtypes: Mapping[str, Dtype]) -> pd.DataFrame:
    """Features as they are told: numbers float64 with NaN for missing, categories str with None for missing."""
    read = {"number": _numbers, "category": _categories}
    return pd.DataFrame({name: read[dtype](table[name]) for name, dtype in dtypes.items()})


def _numbers(column: pyarrow.ChunkedArray) -> np.ndarray:
    numbers = column.cast("float64").to_numpy()
    return np.where(np.isnan(numbers), np.nan, numbers)  # one bit pattern for missing, as in a record


def _categories(column: pyarrow.ChunkedArray) -> pd.Series:
    return column.cast("string").to_pandas().astype(object)
