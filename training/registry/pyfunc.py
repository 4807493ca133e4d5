"""How MLflow itself loads and asks a version: `mlflow.pyfunc.load_model("models:/churn@champion")`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from training.contract import Floats
from training.model import Model


class Pyfunc:
    """What `mlflow.pyfunc.load_model` gives: calibrated probabilities of a frame of features."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def predict(self, model_input: pd.DataFrame, params: Mapping[str, Any] | None = None) -> Floats:
        """The calibrated probability of each row.

        Raises:
            ContractError: a feature is missing or of another type.
        """
        return self._model.probability(self._model.matrix(model_input))


def _load_pyfunc(path: str) -> Pyfunc:
    """MLflow's hook: the name and the argument are its own."""
    return Pyfunc(Model.load(Path(path)))
