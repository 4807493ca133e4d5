"""What was known of those who were scored, from the snapshots that are there: slices, worth and thresholds are made of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features import snapshot
from features.database import connect, identifier
from features.propensity import Value
from features.settings import Workspace
from serving.monitor.figures import Floats
from serving.monitor.served import WEEK

DAYS = WEEK.days


def known(workspace: Workspace, entity: str, scored: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of the newest snapshot at or before each score.

    Args:
        workspace: with snapshots.
        entity: `lead` or `customer`.
        scored: `entity_id` and `scored_at`, in any order.
        columns: of the entity's snapshots.

    Returns:
        The columns, with the index of `scored`; without the rows whose entity is in no such snapshot.

    Raises:
        FeatureError: no view of this entity has a column of that name.
        SnapshotError: a snapshot was left half built.
    """
    there = pd.DataFrame({"of": pd.DatetimeIndex(snapshot.instants(workspace, entity), tz="UTC").as_unit("us")})
    spine = pd.DataFrame(
        {"entity_id": scored["entity_id"].astype(object), "at": scored["scored_at"].astype("datetime64[us, UTC]")},
    ).assign(number=np.arange(len(scored)))  # fmt: skip
    dated = pd.merge_asof(spine.sort_values("at", kind="stable"), there, left_on="at", right_on="of").dropna(subset="of")
    if dated.empty:
        return pd.DataFrame({name: pd.Series(dtype=object) for name in columns}, index=scored.index[:0])
    instants = [at.to_pydatetime() for at in sorted(dated["of"].unique())]
    told = ", ".join(identifier(name) for name in dict.fromkeys(columns))
    with connect(workspace) as connection:
        connection.register("spine", dated[["number", "entity_id", "of"]])
        snapshots = snapshot.select_sql(workspace, entity, instants, columns)
        joined = f"from spine join ({snapshots}) known on known.entity_id = spine.entity_id and known.as_of = spine.of"
        found = connection.execute(f"select number, {told} {joined} order by number").df()
    return found.set_index(scored.index[found.pop("number").to_numpy()])


def earned(workspace: Workspace, entity: str, value: Value, rows: pd.DataFrame) -> pd.Series:
    """What contacting each row brought, 0 of one that would not have been contacted, with the index of the rows.

    Contacted are those from whom more is expected than a contact costs, of a week the best ones, as many as the capacity reaches
    (`training.decision`); an unknown worth counts as 0.

    Args:
        workspace: with the snapshots of the scores.
        entity: whose worth.
        value: worth, cost, success and capacity.
        rows: matured rows of one version.
    """
    worth = _worth(workspace, entity, value, rows) * value.success
    expected = pd.Series(rows["probability"].to_numpy() * worth - value.cost, index=rows.index)
    contacted = expected > 0
    if value.capacity_per_day is not None:
        week = rows["scored_at"].dt.tz_convert("UTC").dt.tz_localize(None).dt.to_period("W-SUN")
        contacted &= expected.groupby(week).rank(method="first", ascending=False) <= DAYS * value.capacity_per_day
    return pd.Series((rows["label"].to_numpy() * worth - value.cost) * contacted.to_numpy(), index=rows.index)


def _worth(workspace: Workspace, entity: str, value: Value, rows: pd.DataFrame) -> Floats:
    if value.column is None:
        return np.full(len(rows), float(value.amount or 0.0))
    column = known(workspace, entity, rows, [value.column])[value.column].reindex(rows.index)
    found: Floats = value.times * np.nan_to_num(column.to_numpy(dtype=float))
    return found
