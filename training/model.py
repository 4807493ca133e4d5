"""A trained model and the contract it carries: LightGBM text and JSON, nothing else, no pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import ValidationError

from features.catalog import write_atomically
from features.errors import ContractError
from features.propensity import Propensity
from features.record import categories, numbers
from training.contract import Column, Contract, Floats, encode, lines, mismatch
from training.predictor import Predictor, read

CONTRACT_FILE = "contract.json"
Value = float | str | None


class Foreseen(NamedTuple):
    """What a model says of rows.

    Attributes:
        probability: calibrated, one per row.
        contributions: to the raw score, in log-odds: a column a feature, last the base.
    """

    probability: Floats
    contributions: Floats


class Model:
    """A model that can score. Equal inputs give equal outputs to the bit, one row or many."""

    def __init__(self, contract: Contract, predictor: Predictor) -> None:
        """Join a contract and the predictor it belongs to.

        Raises:
            ContractError: the predictor is of other features.
        """
        self.contract = contract
        self.predictor = predictor
        if predictor.columns != self.columns:
            raise mismatch("the predictor", list(self.columns), list(predictor.columns))
        self._codes = {column.name: _Codes(column) for column in contract.features if column.dtype == "category"}
        self._categories = [(place, name) for place, name in enumerate(self.columns) if name in self._codes]
        self._of_categories = [place for place, _ in self._categories]
        self.categories: tuple[str, ...] = tuple(name for _, name in self._categories)
        self._others = np.array([len(self._codes[name]) for _, name in self._categories], dtype=np.float64)
        self._numbers = tuple(name for name in self.columns if name not in self._codes)
        self._places = [place for place, name in enumerate(self.columns) if name not in self._codes]

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

    def rows(self, records: Sequence[Mapping[str, Value]]) -> Floats:
        """Encode records, equal to the bit to `matrix` of a frame of those rows.

        Raises:
            ContractError: a feature is missing from a record, or is text where a number belongs.
        """
        matrix = np.empty((len(records), len(self.columns)), dtype=np.float64)
        try:
            matrix[:, self._places] = numbers(records, self._numbers)
            for (place, name), column in zip(self._categories, categories(records, self.categories), strict=True):
                matrix[:, place] = list(map(self._codes[name].__getitem__, column))
        except (KeyError, TypeError, ValueError):
            raise self._mismatch(records) from None
        return matrix

    def _mismatch(self, records: Sequence[Mapping[str, Value]]) -> ContractError:
        """The error of the first record that cannot be encoded."""
        expected = lines(self.contract.features)
        told = ([_line(column, values) for column in self.contract.features if column.name in values] for values in records)
        return mismatch("a record", expected, next((received for received in told if received != expected), expected))

    def raw(self, matrix: Floats) -> Floats:
        """The raw score (log-odds before calibration), one per row."""
        return self.predictor.raw(matrix)

    def probability(self, matrix: Floats) -> Floats:
        """The calibrated probability of the outcome, one per row."""
        return self.contract.calibration.probability(self.raw(matrix))

    def foreseen(self, matrix: Floats) -> Foreseen:
        """Probabilities, and exact contributions to the raw score.

        Of trees these are TreeSHAP values; of an additive model each term, as far as it departs from its mean in training.
        """
        raw, contributions = self.predictor.explained(matrix)
        return Foreseen(self.contract.calibration.probability(raw), contributions)

    def percentile(self, probability: Floats) -> Floats:
        """The share of the reference population with a lower probability, 0 to 1."""
        below = np.searchsorted(self._reference, probability, side="left")
        shares: Floats = below / len(self._reference)
        return shares

    def unseen(self, matrix: Floats) -> list[tuple[str, ...]]:
        """For each row the categorical features whose value was unseen, or too rare to tell apart, when the model was fitted."""
        found: list[tuple[str, ...]] = [()] * len(matrix)
        names, others = self.others(matrix)
        for row in np.flatnonzero(others.any(axis=1)).tolist():
            found[row] = tuple(compress(names, others[row]))
        return found

    def others(self, matrix: Floats) -> tuple[tuple[str, ...], NDArray[np.bool_]]:
        """The categorical features, and for each row and each of them whether its value was unseen or too rare, as `unseen`."""
        return self.categories, matrix[:, self._of_categories] == self._others

    def importance(self) -> dict[str, float]:
        """The share that each feature had in training, largest first: of the gain of trees, of the spread of terms."""
        pairs = sorted(zip(self.columns, self.predictor.importance().tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))
        return dict(pairs)

    @property
    def files(self) -> dict[str, str]:
        """The predictor as file name to text; equal models have equal files."""
        return self.predictor.files()

    @property
    def texts(self) -> dict[str, str]:
        """Everything there is of a model, as file name to text: the predictor's files and `contract.json`."""
        contract = json.dumps(self.contract.model_dump(mode="json"), indent=1, allow_nan=False)
        return {**self.files, CONTRACT_FILE: contract}

    def save(self, folder: Path) -> None:
        """Write the predictor's files and `contract.json`, each whole or not at all."""
        for name, text in self.texts.items():
            write_atomically(folder / name, text.encode())

    @classmethod
    def load(cls, folder: Path) -> Model:
        """Read what `save` wrote.

        Raises:
            ContractError: a file is missing, the contract is of another format, or it does not belong to the text.
        """
        return cls._read(f"model in {folder}", lambda name: (folder / name).read_text(encoding="utf-8"))

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Model:
        """The model of these `texts`.

        Raises:
            ContractError: as `load`.
        """
        return cls._read("a model", texts.__getitem__)

    @classmethod
    def _read(cls, where: str, text: Callable[[str], str]) -> Model:
        try:
            contract = Contract.model_validate_json(text(CONTRACT_FILE))
            predictor = read({name: text(name) for name in contract.members})
        except (FileNotFoundError, KeyError, ValidationError) as problem:
            raise ContractError(
                where,
                expected=f"{CONTRACT_FILE} of format 2 and the files it names",
                received=" ".join(str(problem).split()),
                repair="train again with this version of Foresell",
            ) from None
        return cls(contract, predictor)

    @cached_property
    def _reference(self) -> Floats:
        return np.array(self.contract.reference)


def _line(column: Column, values: Mapping[str, Value]) -> str:
    """What one record holds, as the contract would name it; a missing value is of whatever type is wanted."""
    value = values[column.name]
    is_missing = value is None or value != value
    return f"{column.name}: {column.dtype if is_missing else 'category' if isinstance(value, str) else 'number'}"


class _Codes(dict[Value, float]):
    """The code of each category; one more than there are for a value that was rare or unseen."""

    def __init__(self, column: Column) -> None:
        super().__init__((value, float(code)) for code, value in enumerate(column.categories))

    def __missing__(self, value: Value) -> float:
        if isinstance(value, str):
            return float(len(self))
        if value is None or value != value:
            return math.nan
        raise TypeError(value)
