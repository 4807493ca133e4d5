"""What was known, joined point-in-time by Feast's Spark offline store: rows stay on the cluster."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

from features import external, snapshot
from features.catalog import Catalog
from features.errors import LostRowsError, SnapshotError
from features.feature import View
from features.settings import Workspace
from features.spark.place import Place, place
from features.spark.session import session, working
from features.views import view_of, views
from features.wire import join_key

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

EVENT_TIMESTAMP = "event_timestamp"


def apply(workspace: Workspace) -> None:
    """Tell Feast's Spark store what is declared; doing it again changes nothing.

    Raises:
        TableError: nothing has been ingested, or an external table holds what was not declared.
        WorkspaceError, FeatureError: a setting or declaration is wrong.
        CallError: Spark cannot be started.
    """
    from features.repo.opening import feast_of

    external.refresh(workspace)
    for view in views(workspace, Catalog.load(workspace)):
        if view.external:
            copy = snapshot.folder(workspace, view) / snapshot.EXTERNAL_FILE
            place(workspace, copy).fill(copy, again=True)
    session(workspace)  # Feast takes the one there is
    with feast_of(workspace, "spark") as store:
        from features.repo.schema import spark_views

        store.apply(spark_views(workspace))


def historical(workspace: Workspace, entity: str, spine: pd.DataFrame, features: Sequence[str]) -> pd.DataFrame:
    """As `features.store.historical`, joined on the cluster and brought here: for as many rows as one machine learns from.

    Raises:
        FeatureError, SnapshotError: as `known`.
        LostRowsError: the join gave other rows than the spine has.
        EngineError: Spark gave up.
    """
    as_of = pd.to_datetime(spine["as_of"], utc=True).astype("datetime64[us, UTC]")
    keys = pd.DataFrame({"entity_id": spine["entity_id"].astype(object).to_numpy(), "as_of": as_of.array})
    if keys.empty:
        return keys.assign(**{name: pd.Series(dtype=object) for name in features})
    with working(f"features of {entity}"):
        among = session(workspace).createDataFrame(pa.Table.from_pandas(keys, preserve_index=False))
        instants = [instant.to_pydatetime() for instant in keys["as_of"].drop_duplicates()]
        joined = known(workspace, entity, instants, features, among).toArrow().to_pandas()
    joined["as_of"] = joined["as_of"].astype("datetime64[us, UTC]")
    found = keys.merge(joined, on=["entity_id", "as_of"], how="left", indicator=True)
    if len(found) != len(keys) or not found["_merge"].eq("both").all():
        raise LostRowsError(
            f"point-in-time join of {entity} by Spark",
            expected=f"{len(keys):,} rows, one for each that was asked for",
            received=f"{len(joined):,} rows",
            repair="each entity may be asked for once per as_of; else report this with the versions of Feast and Spark",
        )
    return found.drop(columns="_merge")


def known(
    workspace: Workspace, entity: str, as_ofs: Sequence[datetime], columns: Sequence[str], among: DataFrame | None = None
) -> DataFrame:
    """Everybody known at these instants, or of them those among `entity_id` and `as_of` that are given, with features.

    Returns:
        One row per entity per as_of, in no order: `entity_id` (string), `as_of` (timestamp) and the columns; numbers double and
        categories string, null for missing.

    Raises:
        FeatureError: no view of this entity has a feature of that name.
        SnapshotError: a snapshot has not been built by Spark, or is not whole.
    """
    from pyspark.sql import functions as f

    from features.repo.opening import feast_of

    present = views(workspace, Catalog.load(workspace))
    holders = {name: view_of(present, entity, name) for name in columns}
    profile = _profile(present, entity)
    _require_whole(workspace, [profile, *(view for view in holders.values() if not view.external)], as_ofs)
    folder, spark = _folder(workspace, profile), session(workspace)
    everybody = spark.read.parquet(*(str(file) for as_of in as_ofs for file in snapshot.files(folder, as_of)))
    spine = (among or everybody.withColumnRenamed(EVENT_TIMESTAMP, "as_of")).select(
        f.col("entity_id").alias(join_key(entity)),
        # without a zone: Feast fetches the first and the last into Python, which would tell them in this machine's zone
        f.col("as_of").cast("timestamp_ntz").alias(EVENT_TIMESTAMP),
    )
    joined = spine
    if holders:
        with feast_of(workspace, "spark") as store:
            references = [f"{view.name}:{name}" for name, view in holders.items()]
            frame: Any = spine  # Feast types it as pandas, and takes either
            job: Any = store.get_historical_features(entity_df=frame, features=references)
            joined = job.to_spark_df()
        spark.conf.set("spark.sql.parser.quotedRegexColumnNames", "false")  # Feast leaves it on
    as_of = f.col(EVENT_TIMESTAMP).cast("timestamp").alias("as_of")
    return joined.select(f.col(join_key(entity)).alias("entity_id"), as_of, *columns)


def size(workspace: Workspace, entity: str, as_of: datetime) -> int:
    """How many entities were known at an as_of.

    Raises:
        SnapshotError: the snapshot has not been built.
    """
    profile = _profile(views(workspace, Catalog.load(workspace)), entity)
    _require_whole(workspace, [profile], [as_of])
    return snapshot.rows(_folder(workspace, profile), as_of) or 0


def _profile(present: Sequence[View], entity: str) -> View:
    return next(view for view in present if view.entity == entity and view.is_profile)


def _folder(workspace: Workspace, view: View) -> Place:
    return place(workspace, snapshot.folder(workspace, view))


def _require_whole(workspace: Workspace, needed: Sequence[View], as_ofs: Sequence[datetime]) -> None:
    """Every view has a row for everybody: Feast would silently answer missing values where there is none."""
    for as_of in as_ofs:
        rows = {view.name: snapshot.rows(_folder(workspace, view), as_of) for view in dict.fromkeys(needed)}
        if None in rows.values() or len(set(rows.values())) > 1:
            raise SnapshotError(
                f"snapshots of {snapshot.label(as_of)} in {place(workspace, workspace.snapshots)}",
                expected="as many rows in every view",
                received=", ".join(f"{name}: {'none' if count is None else f'{count:,}'}" for name, count in rows.items()),
                repair=f"run `foresell snapshot --engine spark --workspace {workspace.root}`",
            )
