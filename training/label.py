"""Labels: did the outcome happen inside the horizon?

A label of an as_of looks at `[as_of + lead_time, as_of + horizon)`, half-open, through the latest version of every row: it is
about what happened, not about what was known when. It exists only once it is mature, `as_of + horizon <= observed_until`.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features import snapshot
from features.catalog import Catalog
from features.database import connect, quote
from features.errors import DataFloorError, LostRowsError, PropensityError
from features.propensity import Propensity
from features.settings import Workspace
from features.tables import ENTITY_KEYS, ENTITY_TABLES, TABLES


def labels(
    workspace: Workspace, propensity: Propensity, cohort: pd.DataFrame, thresholds: pd.Series | None = None
) -> pd.Series:  # fmt: skip
    """The label of every cohort row.

    Args:
        workspace: with ingested tables, and snapshots if the outcome compares with a snapshot column.
        propensity: what to look for.
        cohort: `entity_id` (str) and `as_of` (datetime64[us, UTC]), one row per entity and as_of.
        thresholds: what each row's sum must reach, where there is no snapshot of its as_of, as of a score that was asked for.

    Returns:
        `label`, 0 or 1 (int8), with the index of the cohort.

    Raises:
        PropensityError: a table or column that the outcome needs was not ingested.
        DataFloorError: an as_of is too young for its outcome to be known.
    """
    catalog = Catalog.load(workspace)
    require_outcome(catalog, propensity)
    _require_mature(catalog, propensity, cohort)
    rows = cohort[["entity_id"]].assign(
        number=np.arange(len(cohort)),
        begin=_naive(cohort["as_of"] + propensity.lead_time),
        until=_naive(cohort["as_of"] + propensity.horizon),
    )
    if propensity.outcome.sum:
        rows["threshold"] = _thresholds(workspace, propensity, cohort) if thresholds is None else thresholds
    with connect(workspace) as connection:
        connection.register("cohort", rows)
        query = _sum_sql(propensity) if propensity.outcome.sum else _event_sql(propensity)
        found = connection.execute(f"with outcomes as ({outcomes_sql(workspace, catalog, propensity)}) {query}").df()
    if len(found) != len(cohort):
        raise LostRowsError(
            f"labels of {propensity.name}",
            expected=f"{len(cohort):,} rows",
            received=f"{len(found):,} rows",
            repair="the cohort must hold each entity once per as_of",
        )
    return pd.Series(found["label"].to_numpy(np.int8), index=cohort.index, name="label")


def missing(catalog: Catalog, propensity: Propensity) -> str | None:
    """What the propensity needs of the tables and does not find, in words; None when everything is there."""
    outcome, entity = propensity.outcome, ENTITY_TABLES[propensity.entity].name
    needed = {entity: set[str](), outcome.source: {condition.column for condition in outcome.conditions}}
    needed[outcome.source] |= {column for column in (ENTITY_KEYS[propensity.entity], outcome.at, outcome.sum) if column}
    for table, columns in needed.items():
        if not catalog.has(table):
            return f"the table `{table}`"
        absent = sorted(columns - set(catalog.tables[table].columns))
        if absent:
            return f"the column `{table}.{absent[0]}`"
    return None


def require_outcome(catalog: Catalog, propensity: Propensity) -> None:
    """Raise unless the tables hold what the propensity asks about.

    Raises:
        PropensityError: a table or column is absent.
    """
    lacking = missing(catalog, propensity)
    if lacking:
        raise PropensityError(
            f"propensity {propensity.name!r}",
            expected=f"{lacking}, in which its outcome is recorded",
            received=f"tables {', '.join(sorted(catalog.tables))}",
            repair="deliver it through the adapter, or write a propensity file of this name that needs other tables",
        )


def recorded_since(workspace: Workspace, propensity: Propensity) -> datetime:
    """The time of the first outcome on record: before it, a label of 0 means "not recorded", not "did not happen".

    Raises:
        PropensityError: a table or column that the outcome needs was not ingested.
        DataFloorError: there is no outcome on record at all.
    """
    catalog = Catalog.load(workspace)
    require_outcome(catalog, propensity)
    with connect(workspace) as connection:
        row = connection.execute(f"select min(happened) from ({outcomes_sql(workspace, catalog, propensity)})").fetchone()
    if row is None or row[0] is None:
        raise DataFloorError(
            f"propensity {propensity.name!r}",
            expected=f"outcomes in `{propensity.outcome.source}`",
            received="not one row that fits",
            repair="check `[outcome]` in the propensity file against the table's values",
        )
    first: datetime = pd.Timestamp(row[0], tz="UTC").to_pydatetime()
    return first


def outcomes_sql(workspace: Workspace, catalog: Catalog, propensity: Propensity, source: str = "") -> str:
    """The rows in which the outcome shows: entity_id, when it happened, and the summed column if there is one.

    `source` stands after `from`; without it the table's own file does.
    """
    outcome = propensity.outcome
    happened = outcome.at or TABLES[outcome.source].time
    key = ENTITY_KEYS[propensity.entity]
    amount = f', cast("{outcome.sum}" as double) as amount' if outcome.sum else ""
    kept = ["known_until is null", f'"{key}" is not null', f'"{happened}" is not null']
    kept += [f"({condition.sql()})" for condition in outcome.conditions]
    source = source or f"read_parquet('{quote(str(catalog.path(workspace, outcome.source)))}')"
    return (
        f'select cast("{key}" as varchar) as entity_id, "{happened}" as happened{amount} from {source} where {" and ".join(kept)}'
    )


def _event_sql(propensity: Propensity) -> str:
    """The first outcome at or after the beginning decides: it lies inside the horizon or it does not."""
    inside = "coalesce(outcomes.happened < cohort.until, false)"
    label = f"not {inside}" if propensity.outcome.absent else inside
    return (
        f"select cast({label} as tinyint) as label from cohort asof left join outcomes "
        "on cohort.entity_id = outcomes.entity_id and cohort.begin <= outcomes.happened order by cohort.number"
    )


def _sum_sql(propensity: Propensity) -> str:
    """The sum over the horizon, ordered so that it is the same to the bit in every run, against the threshold."""
    total = "coalesce(sum(outcomes.amount order by outcomes.happened, outcomes.amount), 0)"
    return (
        f"select cast(coalesce({total} >= any_value(cohort.threshold), false) as tinyint) as label from cohort "
        "left join outcomes on cohort.entity_id = outcomes.entity_id "
        "and outcomes.happened >= cohort.begin and outcomes.happened < cohort.until "
        "group by cohort.number order by cohort.number"
    )


def _thresholds(workspace: Workspace, propensity: Propensity, cohort: pd.DataFrame) -> pd.Series:
    """What each row's sum must reach; NaN, which nothing reaches, where the snapshot column is missing."""
    times, column = propensity.outcome.threshold
    if column is None:
        return pd.Series(times, index=cohort.index)
    instants = [instant.to_pydatetime() for instant in sorted(cohort["as_of"].unique())]
    values = snapshot.read(workspace, propensity.entity, instants, [column])
    joined = cohort[["entity_id", "as_of"]].merge(values, on=["entity_id", "as_of"], how="left", validate="one_to_one")
    return pd.Series(times * joined[column].to_numpy(float), index=cohort.index)


def _require_mature(catalog: Catalog, propensity: Propensity, cohort: pd.DataFrame) -> None:
    newest = cohort["as_of"].max() if len(cohort) else None
    if newest is not None and newest + propensity.horizon > pd.Timestamp(catalog.now):
        raise DataFloorError(
            f"labels of {propensity.name} as of {newest:%Y-%m-%d}",
            expected=f"outcomes recorded until {newest + propensity.horizon:%Y-%m-%d %H:%M} UTC",
            received=f"outcomes recorded until {catalog.now:%Y-%m-%d %H:%M} UTC",
            repair=f"wait, or take an as_of at least {propensity.horizon / timedelta(days=1):g} days before that",
        )


def _naive(times: pd.Series) -> pd.Series:
    return times.dt.tz_convert("UTC").dt.tz_localize(None).astype("datetime64[us]")
