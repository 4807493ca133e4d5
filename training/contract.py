"""The contract a model carries: what it must be given, and everything a score needs besides the features' values.

The same encoding turns a frame of a million rows and the single record of a request into numbers, so that the nightly batch and
the service cannot disagree.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from features.errors import ContractError
from features.strict import Strict
from training.calibration import Calibration

Floats = NDArray[np.float64]


class Explained(NamedTuple):
    """What a predictor says of rows: the raw score of each, and its parts.

    Attributes:
        raw: log-odds before calibration, one per row.
        contributions: what each feature adds: a column a feature, last the base; rows add up to `raw`.
    """

    raw: Floats
    contributions: Floats


class Typical(Strict):
    """What a feature looked like in the reference population: quantiles of a number, or the commonest category."""

    missing: float
    p10: float | None = None
    p25: float | None = None
    median: float | None = None
    p75: float | None = None
    p90: float | None = None
    commonest: str | None = None


class Column(Strict):
    """One feature of the contract. `categories` are those the model tells apart; all others count as one, "other"."""

    name: str
    dtype: Literal["number", "category"]
    categories: tuple[str, ...] = ()
    typical: Typical

    @property
    def other(self) -> float:
        """The code of a category that was rare or unseen when the model was fitted."""
        return float(len(self.categories))


class Window(Strict):
    """The rows of one period: first and last as_of (ISO, UTC), rows, positives."""

    first: str
    last: str
    rows: int
    positives: int


class Contract(Strict):
    """Everything a model must be given and everything needed to read its output.

    Attributes:
        format: the version of this layout.
        candidate: the family that was chosen, a name of `training.candidates`.
        members: the files the predictor is read from, beside this one; the mean of them where there are several.
        propensity: the propensity file as it was when the model was trained.
        features: in the order of the matrix.
        calibration: raw score to probability.
        reference: 1,001 evenly spaced quantiles of the probability in the reference population.
        fingerprint: digest of the rows the model was made from.
        windows: `train`, `calibration` and `test`.
        split: how those were chosen, in sentences.
        parameters: what it was fitted with; for LightGBM with the number of rounds.
        versions: of the libraries that made the model.
    """

    format: Literal[2] = 2
    candidate: str
    members: tuple[str, ...]
    propensity: dict[str, Any]
    features: tuple[Column, ...]
    calibration: Calibration
    reference: tuple[float, ...]
    fingerprint: str
    windows: dict[str, Window]
    split: tuple[str, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


def encode(frame: pd.DataFrame, features: Sequence[Column]) -> Floats:
    """The matrix of a frame under a contract.

    Raises:
        ContractError: a column is missing or of another type; shown as a line diff.
    """
    expected, received = lines(features), _received(frame, features)
    if expected != received:
        extra = [str(name) for name in frame.columns if str(name) not in {column.name for column in features}]
        raise mismatch("a frame", expected, received + extra)
    matrix = np.empty((len(frame), len(features)), dtype=np.float64)
    for position, column in enumerate(features):
        matrix[:, position] = _encode_series(frame[column.name], column)
    return matrix


def _encode_series(series: pd.Series, column: Column) -> Floats:
    if column.dtype == "number":
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    codes = pd.Index(column.categories, dtype=object).get_indexer(pd.Index(series, dtype=object)).astype(np.float64)
    codes[codes < 0] = column.other
    codes[series.isna().to_numpy()] = np.nan
    return codes


def lines(features: Sequence[Column]) -> list[str]:
    return [f"{column.name}: {column.dtype}" for column in features]


def _received(frame: pd.DataFrame, features: Sequence[Column]) -> list[str]:
    present = [column for column in features if column.name in frame.columns]
    return [f"{column.name}: {_dtype(frame[column.name], column)}" for column in present]


def _dtype(series: pd.Series, column: Column) -> str:
    """`number` or `category`; a column without a single value is of whatever type is wanted."""
    if pd.api.types.is_numeric_dtype(series.dtype):
        empty = column.dtype == "category" and bool(series.isna().all())
        return "category" if empty else "number"
    empty = column.dtype == "number" and bool(series.isna().all())
    return "number" if empty else "category"


def mismatch(what: str, expected: Sequence[str], received: Sequence[str]) -> ContractError:
    diff = [line for line in difflib.ndiff(list(expected), list(received)) if not line.startswith(("  ", "?"))]
    return ContractError(
        f"the columns of {what}",
        expected=f"the {len(expected)} features the model was trained on, in any order, with their types",
        received="\n    " + "\n    ".join(diff[:40] + ([f"... and {len(diff) - 40} more lines"] if len(diff) > 40 else [])),
        repair="`-` lines are missing or of another type, `+` lines came instead; build the snapshots again, or train again",
    )
