"""The untidiness of a real CRM's export: copies, half-filled twins, corrections, other spellings, blanks.

None of it changes what a careful reader learns: copies and twins are merged, corrections take effect when they were entered, and
only columns on which no outcome depends are wrong for a while.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def repeated(rng: np.random.Generator, frame: pd.DataFrame, share: float) -> pd.DataFrame:
    """The rows and, after them, a share of them once more: what an export that was restarted delivers."""
    return pd.concat([frame, frame.iloc[_some(rng, frame, share)]], ignore_index=True)


def half_filled(rng: np.random.Generator, frame: pd.DataFrame, column: str, share: float) -> pd.DataFrame:
    """The rows and, after them, a share of them once more without a value in one column: what a merge of two systems delivers."""
    twins = frame.iloc[_some(rng, frame, share)]
    return pd.concat([frame, twins.assign(**{column: blanked(rng, twins[column], 1.0)})], ignore_index=True)


def corrected(
    rng: np.random.Generator, frame: pd.DataFrame, column: str, wrong: Any, share: float, now: np.datetime64
) -> pd.DataFrame:
    """The rows, a share of which was first entered with a wrong value and put right up to ten days later.

    Both versions carry the same key; the right one has the later `logged`.
    """
    rows = _some(rng, frame, share)
    later = frame["logged"].to_numpy()[rows] + rng.integers(3600, 10 * 86400, len(rows)).astype("timedelta64[s]")
    rows, later = rows[later < now], later[later < now]
    right = frame.iloc[rows].assign(logged=later)
    values = frame[column].copy()
    values.iloc[rows] = wrong(values.iloc[rows]) if callable(wrong) else wrong
    return pd.concat([frame.assign(**{column: values}), right], ignore_index=True)


def respelled(rng: np.random.Generator, values: pd.Series, spellings: dict[str, str], share: float) -> pd.Series:
    """The values, a share of them in another spelling of the same word."""
    rows = np.flatnonzero((rng.random(len(values)) < share) & values.isin(list(spellings)).to_numpy())
    is_categorical = isinstance(values.dtype, pd.CategoricalDtype)
    other = values.cat.add_categories(list(spellings.values())) if is_categorical else values.copy()
    other.iloc[rows] = values.iloc[rows].astype(object).map(spellings)
    return other


def blanked(rng: np.random.Generator, values: pd.Series, share: float) -> pd.Series:
    """The values, a share of them left blank."""
    return values.mask(rng.random(len(values)) < share)


def _some(rng: np.random.Generator, frame: pd.DataFrame, share: float) -> np.ndarray:
    return np.flatnonzero(rng.random(len(frame)) < share)
