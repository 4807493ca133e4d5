"""From a dataset and a chosen candidate to a model, and what it says about rows it was not fitted on."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

import numpy as np

from features.propensity import Propensity
from training.backtest import Backtest, Fit, calibrate
from training.candidates import learn, needed
from training.contract import Contract, Floats, Window
from training.dataset import Dataset
from training.model import Model
from training.prior import corrected
from training.split import Mask, Split

REFERENCE_POINTS = 1_001
LIBRARIES = ("foresell", "lightgbm", "numpy", "pandas", "pydantic", "scikit-learn", "scipy")


@dataclass(frozen=True)
class Fitted:
    """A model and what it said about rows it was not fitted on.

    Attributes:
        model: the one that will be registered.
        split: which rows served what.
        probability: calibrated, of each row of `split.test`; by entity, from models that did not see the row's entity.
    """

    model: Model
    split: Split
    probability: Floats


def fit(
    data: Dataset, propensity: Propensity, divided: Split, backtest: Backtest, name: str, rates: tuple[float, float] | None = None
) -> Fitted:
    """The chosen candidate on every row it may learn from. The model returned is the one that was tested, except by entity.

    Args:
        data: the dataset.
        propensity: goes into the contract.
        divided: which rows serve what.
        backtest: of the same split; a fit that is there already is taken as it is.
        name: of the candidate.
        rates: the base rate that was calibrated on and the one it has moved to, where that is corrected for.
    """
    fitted = backtest.fits[name] if backtest.whole and backtest.fits else _fit(data, divided, backtest, name)
    if rates:
        fitted = Fit(fitted.learned, corrected(fitted.calibration, *rates))
    model = _model(data, propensity, divided, fitted, name)
    by_entity = divided.by == "entity"
    probability = backtest.newest.probability[name] if by_entity else model.probability(model.matrix(data.frame[divided.test]))
    reference = np.quantile(probability, np.linspace(0, 1, REFERENCE_POINTS))
    contract = model.contract.model_copy(update={"reference": tuple(reference.tolist())})
    return Fitted(Model(contract, model.predictor), divided, probability)


def _fit(data: Dataset, divided: Split, backtest: Backtest, name: str) -> Fit:
    cross_fit = divided.calibrated == "cross-fitted"
    learned = learn(needed(backtest.candidates, name), data.examples(divided.fit), cross_fit)[name]
    return Fit(learned, calibrate(data, divided, divided.fit, learned))


def _model(data: Dataset, propensity: Propensity, divided: Split, fitted: Fit, name: str) -> Model:
    masks = {"train": divided.fit, "calibration": divided.calibration, "test": divided.test}
    learned = fitted.learned
    contract = Contract(
        propensity=propensity.model_dump(mode="json"),
        candidate=name,
        members=tuple(learned.predictor.files()),
        features=learned.features,
        calibration=fitted.calibration,
        reference=(),
        fingerprint=data.fingerprint,
        windows={name: _window(data, mask) for name, mask in masks.items()},
        split=divided.sentences,
        parameters=learned.parameters,
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
    )
    return Model(contract, learned.predictor)


def _window(data: Dataset, mask: Mask) -> Window:
    rows = data.frame.loc[mask]
    first, last = rows["as_of"].min(), rows["as_of"].max()
    return Window(first=first.isoformat(), last=last.isoformat(), rows=len(rows), positives=int(rows["label"].sum()))
