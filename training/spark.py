"""A cohort and its labels on Spark, of which as many rows come here as one machine learns from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from features.catalog import Catalog
from features.propensity import Propensity
from features.settings import Workspace
from features.spark import store
from features.spark.dialect import spark_sql
from features.spark.engine import SparkEngine
from features.spark.session import session, working
from training.label import outcomes_sql, require_outcome
from training.sampling import RESOLUTION, Sampling

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

KNOWN, COHORT = "foresell_known", "foresell_cohort"


def labelled(
    workspace: Workspace, propensity: Propensity, instants: Sequence[datetime]
) -> tuple[pd.DataFrame, pd.Series, Sampling | None]:
    """The eligible entities with their labels, or a sample of them.

    Returns:
        What `features.cohort.cohort` and `training.label.labels` say, in their order, of about `[train] max_rows` rows at most,
        and which share of all that is; None where it is all.

    Raises:
        PropensityError: the tables lack what the propensity asks about.
        SnapshotError: a snapshot has not been built by Spark.
        EngineError: Spark gave up.
    """
    catalog = Catalog.load(workspace)
    require_outcome(catalog, propensity)
    with working(f"labels of {propensity.name}"):
        rows = _labelled(workspace, catalog, propensity, instants).persist()
        counts = {row["label"]: row["count"] for row in rows.groupBy("label").count().collect()}
        dates = rows.select("as_of").distinct().count()
        known, positives = sum(counts.values()), counts.get(1, 0)
        sampling = Sampling.of(known, positives, workspace.settings.train.max_rows, dates)
        found = _kept(rows, sampling).toArrow().to_pandas().sort_values(["as_of", "entity_id"], ignore_index=True)
        rows.unpersist()
    frame = pd.DataFrame({"entity_id": found["entity_id"].astype(object), "as_of": found["as_of"].astype("datetime64[us, UTC]")})
    return (
        frame,
        pd.Series(found["label"].to_numpy(np.int8), index=frame.index, name="label"),
        sampling if len(frame) < known else None,
    )


def _labelled(workspace: Workspace, catalog: Catalog, propensity: Propensity, instants: Sequence[datetime]) -> DataFrame:
    """One row per eligible entity per as_of: `entity_id`, `as_of`, `label`."""
    threshold = propensity.outcome.threshold if propensity.outcome.sum else (0.0, None)
    columns = [condition.column for condition in propensity.conditions]
    columns = list(dict.fromkeys([*columns, *([threshold[1]] if threshold[1] else [])]))
    SparkEngine(workspace, catalog)  # which tells Spark where the tables are
    store.known(workspace, propensity.entity, instants, columns).createOrReplaceTempView(KNOWN)
    eligible = " and ".join(["true", *(f"({condition.sql()})" for condition in propensity.conditions)])
    times, column = threshold
    least = f"{times}e0" + (f' * "{column}"' if column else "")
    cohort = (
        f"select entity_id, as_of, as_of + {_interval(propensity.lead_time)} as begin, "
        f"as_of + {_interval(propensity.horizon)} as until, {least} as threshold from {KNOWN} where {eligible}"
    )
    spark = session(workspace)
    spark.sql(spark_sql(cohort)).createOrReplaceTempView(COHORT)
    outcomes = outcomes_sql(workspace, catalog, propensity, propensity.outcome.source)
    return spark.sql(spark_sql(f"with outcomes as ({outcomes}) {_label_sql(propensity)}"))


def _label_sql(propensity: Propensity) -> str:
    """Whether an outcome lies inside, or what they sum up to; doubles are added in the order in which DuckDB adds them."""
    inside = "count(outcomes.happened) > 0"
    if propensity.outcome.sum:
        pairs = "array_sort(collect_list(struct(outcomes.happened, outcomes.amount)))"
        total = f"aggregate({pairs}, cast(0 as double), (total, one) -> total + coalesce(one.amount, cast(0 as double)))"
        inside = f"coalesce({total} >= any_value(cohort.threshold), false)"
    label = f"not ({inside})" if propensity.outcome.absent else inside
    return (
        f"select cohort.entity_id, cohort.as_of, cast({label} as tinyint) as label from {COHORT} cohort left join outcomes "
        "on cohort.entity_id = outcomes.entity_id and outcomes.happened >= cohort.begin and outcomes.happened < cohort.until "
        "group by cohort.entity_id, cohort.as_of"
    )


def _interval(length: timedelta) -> str:
    return f"interval '{length.total_seconds():.0f} seconds'"


def _kept(rows: DataFrame, sampling: Sampling) -> DataFrame:
    """The rows whose lot, drawn from entity and as_of, falls into the share of their outcome; the same ones always."""
    share = f"case when label = 1 then {sampling.positives_kept!r}D else {sampling.negatives_kept!r}D end"
    return rows.where(f"pmod(xxhash64(entity_id, cast(as_of as string)), {RESOLUTION}) < {share} * {RESOLUTION}")
