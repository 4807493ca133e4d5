"""Which rows of a dataset are looked at: some whole entities of many, and those that a later outcome cannot have touched."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Labels = NDArray[np.int8]
MOST_ROWS = 100_000  # enough to see any leak by; keeps the guard cheap beside the training


def some_entities(entities: pd.Series, most: int = MOST_ROWS) -> Mask:
    """The rows of about so many rows' worth of whole entities, chosen by a digest of their ids alone; all where there are few."""
    if len(entities) <= most:
        return np.ones(len(entities), dtype=bool)
    codes, names = pd.factorize(entities)
    digest = pd.util.hash_array(names.astype(str).to_numpy(dtype=object)) / float(2**64)
    return np.asarray((digest < most / len(entities))[codes])


def conclusive(entities: pd.Series, labels: Labels) -> Mask:
    """The rows with the outcome, and those of entities that never come to it.

    What was written into a column after an outcome is in all of the entity's rows, also in the earlier ones without that outcome:
    these would hide it. What remains still compares entities at the same dates, so that a column that was introduced lately, and
    is filled for those who came since, is not taken for one that is filled from the outcome.

    Args:
        entities: the entity of each row.
        labels: 0 or 1.
    """
    ever = pd.Series(labels, index=entities.index).groupby(entities, sort=False).transform("max").to_numpy()
    return np.asarray((labels == 1) | (ever == 0))


def constant(rows: pd.DataFrame, column: str) -> bool:
    """Whether a column has no more than one value for each entity, wherever it has one."""
    first = rows.groupby("entity_id", sort=False)[column].transform("first")
    return bool((rows[column].eq(first) | rows[column].isna()).all())
