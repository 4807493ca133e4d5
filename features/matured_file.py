"""Matured outcomes as `foresell monitor` leaves them, for whoever reads them.

`data/monitor/matured/propensity=NAME/week=2018-05-14/part-0.parquet`, a week being named after its Monday; the columns are
those of `serving.monitor.matured`. One row is the first score that an entity was given in a week by a version on a road, with
its label.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.disk import broken
from features.settings import Workspace

COLUMNS = ("entity_id", "scored_at", "road", "model_version", "probability", "label")


def folder(workspace: Workspace, propensity: str) -> Path:
    """Where the weeks of a propensity lie."""
    return workspace.watch / "matured" / f"propensity={propensity}"


def of_version(workspace: Workspace, propensity: str, version: str, since: datetime | None = None) -> pd.DataFrame:
    """What a version said, and what happened.

    Args:
        workspace: which `foresell monitor` has looked at; where it has not, there is no row.
        propensity: which question.
        version: of the model.
        since: only scores given at this instant or later; None: all.

    Returns:
        `COLUMNS`, by scored_at, entity_id and road.

    Raises:
        StoreError: a file cannot be read.
    """
    wanted = [("model_version", "==", version), *([("scored_at", ">=", since)] if since else [])]
    files = sorted(folder(workspace, propensity).glob("week=*/*.parquet"))
    try:
        tables = [pq.read_table(path, columns=list(COLUMNS), filters=wanted, partitioning=None) for path in files]
    except (OSError, pa.ArrowException) as problem:
        raise broken(f"matured outcomes of {propensity!r}", problem) from problem
    frame = pa.concat_tables(tables).to_pandas() if tables else pd.DataFrame(columns=list(COLUMNS))
    return frame.sort_values(["scored_at", "entity_id", "road"], ignore_index=True)
