"""A trained model and the contract it carries: LightGBM text and JSON, nothing else, no pickle.

The same encoding turns a frame of a million rows and the single record of a request into numbers, so that the nightly batch and
the service cannot disagree. Everything a score needs besides the features' values is in the contract.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from features.catalog import write_atomically
from features.errors import ContractError
from features.propensity import Propensity
from features.settings import Strict
from training.calibration import Calibration

MODEL_FILE, CONTRACT_FILE = "model.txt", "contract.json"
FEW_ROWS = 1_000  # below it, waking other threads costs more than it saves
Floats = NDArray[np.float64]
Value = float | str | None


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
        propensity: the propensity file as it was when the model was trained.
        features: in the order of the matrix.
        calibration: raw score to probability.
        reference: 1,001 evenly spaced quantiles of the probability in the reference population.
        fingerprint: digest of the rows the model was made from.
        windows: `train`, `calibration` and `test`.
        split: how those were chosen, in sentences.
        parameters: LightGBM's, with the number of rounds.
        versions: of the libraries that made the model.
    """

    format: Literal[1] = 1
    propensity: dict[str, Any]
    features: tuple[Column, ...]
    calibration: Calibration
    reference: tuple[float, ...]
    fingerprint: str
    windows: dict[str, Window]
    split: tuple[str, ...] = ()
    parameters: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)


class Model:
    """A model that can score. Equal inputs give equal outputs to the bit, one row or many."""

    def __init__(self, contract: Contract, text: str) -> None:
        """Build from a contract and the LightGBM text it belongs to.

        Raises:
            ContractError: the text is of a model with other features.
        """
        self.contract = contract
        self.text = text
        self.booster = lightgbm.Booster(model_str=text)
        if self.booster.feature_name() != list(self.columns):
            raise _mismatch("model.txt", list(self.columns), self.booster.feature_name())
        self._codes = [_coder(column) for column in contract.features]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The features' names, in the order of the matrix."""
        return tuple(column.name for column in self.contract.features)

    @cached_property
    def propensity(self) -> Propensity:
        """The question this model answers, as it was put when it was trained.

        Raises:
            ContractError: the question is of another release of Foresell.
        """
        try:
            return Propensity.model_validate(self.contract.propensity)
        except ValidationError as problem:
            raise ContractError(
                f"the question in {CONTRACT_FILE}",
                expected="a propensity of this version of Foresell",
                received=" ".join(str(problem).split()),
                repair="train again with this version of Foresell",
            ) from None

    def matrix(self, frame: pd.DataFrame) -> Floats:
        """Encode a frame that has at least the contract's columns; numbers as they are, categories as codes, missing as NaN.

        Raises:
            ContractError: a column is missing or of another type; shown as a line diff.
        """
        return encode(frame, self.contract.features)

    def row(self, values: Mapping[str, Value]) -> Floats:
        """Encode one record, equal to the bit to `matrix` of a frame of that one row.

        Raises:
            ContractError: a feature is missing from the record, or is text where a number belongs.
        """
        try:
            coded = [_encode_value(values[name], codes) for name, codes in zip(self.columns, self._codes, strict=True)]
        except (KeyError, TypeError, ValueError):
            received = [f"{name}: {'category' if isinstance(value, str) else 'number'}" for name, value in values.items()]
            raise _mismatch("a record", _lines(self.contract.features), received) from None
        return np.array([coded], dtype=np.float64)

    def raw(self, matrix: Floats) -> Floats:
        """LightGBM's raw score (log-odds before calibration), one per row."""
        return np.asarray(self.booster.predict(matrix, raw_score=True, **_threads(matrix)), dtype=np.float64)

    def probability(self, matrix: Floats) -> Floats:
        """The calibrated probability of the outcome, one per row."""
        return self.contract.calibration.probability(self.raw(matrix))

    def contributions(self, matrix: Floats) -> Floats:
        """Exact TreeSHAP contributions to the raw score, in log-odds: a column a feature, last the base; rows add up to `raw`."""
        return np.asarray(self.booster.predict(matrix, pred_contrib=True, **_threads(matrix)), dtype=np.float64)

    def percentile(self, probability: Floats) -> Floats:
        """The share of the reference population with a lower probability, 0 to 1."""
        below = np.searchsorted(self._reference, probability, side="left")
        shares: Floats = below / len(self._reference)
        return shares

    def unseen(self, values: Mapping[str, Value]) -> list[str]:
        """The categorical features whose value was unseen, or too rare to tell apart, when the model was fitted."""
        pairs = zip(self.columns, self._codes, strict=True)
        return [name for name, codes in pairs if codes is not None and values[name] is not None and values[name] not in codes]

    def importance(self) -> dict[str, float]:
        """The share of the total gain that each feature brought in training, largest first."""
        gain = self.booster.feature_importance("gain")
        total = float(gain.sum()) or 1.0
        pairs = sorted(zip(self.columns, gain, strict=True), key=lambda pair: (-pair[1], pair[0]))
        return {name: float(value) / total for name, value in pairs}

    def save(self, folder: Path) -> None:
        """Write `model.txt` and `contract.json`, each whole or not at all."""
        write_atomically(folder / MODEL_FILE, self.text.encode())
        contract = json.dumps(self.contract.model_dump(mode="json"), indent=1, allow_nan=False)
        write_atomically(folder / CONTRACT_FILE, contract.encode())

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read what `save` wrote.

        Raises:
            ContractError: a file is missing, the contract is of another format, or it does not belong to the text.
        """
        try:
            contract = Contract.model_validate_json((folder / CONTRACT_FILE).read_bytes())
            text = (folder / MODEL_FILE).read_text(encoding="utf-8")
        except (FileNotFoundError, ValidationError) as problem:
            raise ContractError(
                f"model in {folder}",
                expected=f"{MODEL_FILE} and {CONTRACT_FILE} of format 1",
                received=" ".join(str(problem).split()),
                repair="train again with this version of Foresell",
            ) from None
        return cls(contract, text)

    @cached_property
    def _reference(self) -> Floats:
        return np.array(self.contract.reference)


def encode(frame: pd.DataFrame, features: Sequence[Column]) -> Floats:
    """The matrix of a frame under a contract.

    Raises:
        ContractError: a column is missing or of another type; shown as a line diff.
    """
    expected, received = _lines(features), _received(frame, features)
    if expected != received:
        extra = [str(name) for name in frame.columns if str(name) not in {column.name for column in features}]
        raise _mismatch("a frame", expected, received + extra)
    matrix = np.empty((len(frame), len(features)), dtype=np.float64)
    for position, column in enumerate(features):
        matrix[:, position] = _encode_series(frame[column.name], column)
    return matrix


def _threads(matrix: Floats) -> dict[str, Any]:
    return {"num_threads": 1} if len(matrix) < FEW_ROWS else {}


def _encode_series(series: pd.Series, column: Column) -> Floats:
    if column.dtype == "number":
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    codes = pd.Index(column.categories, dtype=object).get_indexer(pd.Index(series, dtype=object)).astype(np.float64)
    codes[codes < 0] = column.other
    codes[series.isna().to_numpy()] = np.nan
    return codes


def _coder(column: Column) -> dict[str, float] | None:
    return {value: float(code) for code, value in enumerate(column.categories)} if column.dtype == "category" else None


def _encode_value(value: Value, codes: dict[str, float] | None) -> float:
    if value is None:
        return np.nan
    if codes is None:
        if isinstance(value, str):
            raise TypeError(value)
        return float(value)
    if isinstance(value, str):
        return codes.get(value, float(len(codes)))
    if value != value:
        return np.nan
    raise TypeError(value)


def _lines(features: Sequence[Column]) -> list[str]:
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


def _mismatch(what: str, expected: Sequence[str], received: Sequence[str]) -> ContractError:
    diff = [line for line in difflib.ndiff(list(expected), list(received)) if not line.startswith(("  ", "?"))]
    return ContractError(
        f"the columns of {what}",
        expected=f"the {len(expected)} features the model was trained on, in any order, with their types",
        received="\n    " + "\n    ".join(diff[:40] + ([f"... and {len(diff) - 40} more lines"] if len(diff) > 40 else [])),
        repair="`-` lines are missing or of another type, `+` lines came instead; build the snapshots again, or train again",
    )
