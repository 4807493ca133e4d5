"""Matured outcomes: scores as they were served, with what happened since.

`data/monitor/matured/propensity=NAME/week=2018-05-14/part-0.parquet`, a week being named after its Monday. One row is the first
score that an entity was given in a week by a version on a road, once `scored_at + horizon` has passed. Nothing immature is in it.
"""

from __future__ import annotations

import pyarrow as pa

SCHEMA = pa.schema(
    [
        ("entity_id", pa.string()),
        ("scored_at", pa.timestamp("us", tz="UTC")),  # of a batch its as_of
        ("road", pa.string()),  # batch, http or hook
        ("model_version", pa.string()),
        ("probability", pa.float64()),
        ("score", pa.int32()),
        ("label", pa.int8()),
    ]
)
