"""From a dataset to a model, its calibration, and what it says about rows it was not fitted on."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass

import numpy as np

from features.console import Tick
from features.propensity import Propensity
from training import calibration, learner
from training.dataset import Dataset
from training.learner import Learned, learn
from training.model import Contract, Floats, Model, Window
from training.split import FOLDS, Mask, Split, folds

REFERENCE_POINTS = 1_001
LIBRARIES = ("foresell", "lightgbm", "numpy", "pandas", "pydantic")


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


def models(divided: Split) -> int:
    """How many models `fit` fits."""
    one = learner.models(int(divided.fit.sum()), divided.calibrated == "cross-fitted")
    without_a_fold = one - 1  # `learn` cross-fits by the same folds, and finds one of them empty
    return one + FOLDS * without_a_fold if divided.by == "entity" else one


def fit(data: Dataset, propensity: Propensity, divided: Split, tick: Tick = lambda _: None) -> Fitted:
    """Learn and calibrate. The model returned is the one that was tested, except by entity, as the split says.

    Args:
        data: the dataset.
        propensity: goes into the contract.
        divided: which rows serve what.
        tick: called with 1 for every model that is fitted.
    """
    cross_fit = divided.calibrated == "cross-fitted"
    learned = _learn(data, divided.fit, cross_fit, tick)
    line = _calibration(data, divided, learned)
    model = _model(data, propensity, divided, learned, line)
    by_entity = divided.by == "entity"
    probability = _by_folds(data, tick) if by_entity else model.probability(model.matrix(data.frame[divided.test]))
    reference = np.quantile(probability, np.linspace(0, 1, REFERENCE_POINTS))
    contract = model.contract.model_copy(update={"reference": tuple(reference.tolist())})
    return Fitted(Model(contract, model.text), divided, probability)


def _learn(data: Dataset, rows: Mask, cross_fit: bool, tick: Tick) -> Learned:
    return learn(data.frame[rows], data.labels[rows], dict(data.dtypes), cross_fit=cross_fit, tick=tick)


def _calibration(data: Dataset, divided: Split, learned: Learned) -> calibration.Calibration:
    """Fitted on scores out of sample: of rows held out, or of cross-fitting."""
    labels = data.labels[divided.calibration]
    if divided.calibrated == "cross-fitted":
        raw = learned.out_of_fold[divided.calibration[divided.fit]]
    else:
        raw = learned.raw(data.frame[divided.calibration])
    return calibration.fit(raw, labels)


def _by_folds(data: Dataset, tick: Tick) -> Floats:
    """Each row's probability from a model that was fitted and calibrated on the other folds."""
    probability = np.empty(len(data.frame))
    fold = folds(data.frame["entity_id"])
    for number in range(FOLDS):
        tested, others = fold == number, fold != number
        learned = _learn(data, others, True, tick)
        line = calibration.fit(learned.out_of_fold, data.labels[others])
        probability[tested] = line.probability(learned.raw(data.frame[tested]))
    return probability


def _model(data: Dataset, propensity: Propensity, divided: Split, learned: Learned, line: calibration.Calibration) -> Model:
    masks = {"train": divided.fit, "calibration": divided.calibration, "test": divided.test}
    contract = Contract(
        propensity=propensity.model_dump(mode="json"),
        features=learned.features,
        calibration=line,
        reference=(),
        fingerprint=data.fingerprint,
        windows={name: _window(data, mask) for name, mask in masks.items()},
        split=divided.sentences,
        parameters=learned.parameters,
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
    )
    return Model(contract, learned.text)


def _window(data: Dataset, mask: Mask) -> Window:
    rows = data.frame.loc[mask]
    first, last = rows["as_of"].min(), rows["as_of"].max()
    return Window(first=first.isoformat(), last=last.isoformat(), rows=len(rows), positives=int(rows["label"].sum()))
