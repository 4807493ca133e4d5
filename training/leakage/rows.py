"""Which rows of a dataset are looked at: some whole entities of many, and of an entity the newest row."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
MOST_ROWS = 100_000  # enough to see any leak by; keeps the guard cheap beside the training


def some_entities(entities: pd.Series, most: int = MOST_ROWS) -> Mask:
    """The rows of about so many rows' worth of whole entities, chosen by a digest of their ids alone; all where there are few."""
    if len(entities) <= most:
        return np.ones(len(entities), dtype=bool)
    codes, names = pd.factorize(entities)
    digest = pd.util.hash_array(names.astype(str).to_numpy(dtype=object)) / float(2**64)
    return np.asarray((digest < most / len(entities))[codes])


def newest(rows: pd.DataFrame) -> Mask:
    """The newest row of each entity.

    What was written into a column after an outcome is in all of the entity's rows, also in the earlier ones without that
    outcome. The newest row of an entity that came to a lasting outcome is one with it.

    Args:
        rows: `entity_id` and `as_of`, each entity once per as_of.
    """
    return rows["as_of"].eq(rows.groupby("entity_id", sort=False)["as_of"].transform("max")).to_numpy()


def constant(rows: pd.DataFrame, column: str) -> bool:
    """Whether a column has no more than one value for each entity, wherever it has one."""
    first = rows.groupby("entity_id", sort=False)[column].transform("first")
    return bool((rows[column].eq(first) | rows[column].isna()).all())
