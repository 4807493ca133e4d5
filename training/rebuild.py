"""A rebuild: a version trained again from what it was made from, and held against itself to the last bit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from features.console import Watch
from features.errors import ContractError, ForesellError, RegistryError
from features.forgetting import forgotten
from features.propensity import Propensity, load
from features.settings import Workspace
from training import dataset, registry
from training.contract import Contract
from training.dataset import Dataset, fingerprint
from training.model import Model
from training.provenance import Provenance, moved, provenance
from training.selection import select

COMPARED = tuple(name for name in Contract.model_fields if name not in ("propensity", "versions"))  # what was given


@dataclass(frozen=True)
class Rebuilt:
    """How a rebuilt version compares with the registered one.

    Attributes:
        propensity, version: which.
        files: the model's files that are not the same text.
        contract: the entries of the contract that are not equal, leaving out what the rebuild was given.
        rows: of the dataset.
        different: how many of them get another probability; None where the registered model cannot read them.
        largest: the largest difference between two probabilities.
        moved: what is not as it was when the version was trained, in sentences.
    """

    propensity: str
    version: str
    files: tuple[str, ...]
    contract: tuple[str, ...]
    rows: int
    different: int | None
    largest: float
    moved: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether model, contract and every probability are the same to the last bit."""
        return not self.files and not self.contract and self.different == 0


def rebuild(workspace: Workspace, name: str, version: str | None, watch: Watch) -> Rebuilt:
    """Train a version again from its recorded dates, propensity and seeds, on the tables as they are now; nothing is registered.

    Args:
        workspace: with ingested tables; missing snapshots are built.
        name: of the propensity.
        version: which one; without it, the newest.
        watch: opens a progress bar for a step of so many units.

    Raises:
        RegistryError: there is no such version, or it was trained by a release that kept no provenance.
        DataFloorError: the tables no longer hold the rows.
    """
    document, _ = registry.report(workspace, name, version)
    before = _provenance(document)
    stored = registry.load(workspace, name, document["version"]).model
    whole = dataset.prepare(workspace, stored.propensity, watch, before.instants, before.engine)
    data = as_recorded(whole, before)
    with tempfile.TemporaryDirectory() as folder:  # of its own, so that no search of parameters is remembered
        again = select(data, _as_searched(stored.propensity, before.trials), Path(folder), watch).fitted.model
    now = provenance(whole, before.trials)
    gone = _forgotten(workspace, name, document["version"])
    told = (*gone, *moved(before, now), *_edited(workspace, stored.propensity))
    return compare(document["version"], stored, again, data.frame, told)


def as_recorded(data: Dataset, before: Provenance) -> Dataset:
    """The dataset without columns that a version never saw; as it is where one that it did see is gone."""
    new = {str(name) for name in data.frame} - set(before.columns)
    if not new or not set(before.columns) <= set(data.frame):
        return data
    frame = data.frame.drop(columns=list(new))
    views = {view: tuple(name for name in names if name not in new) for view, names in data.views.items()}
    return replace(data.without(new), frame=frame, fingerprint=fingerprint(frame), views=views)


def compare(version: str, stored: Model, again: Model, frame: pd.DataFrame, moved: tuple[str, ...]) -> Rebuilt:
    """Hold two models against each other, on the rows of a dataset.

    Args:
        version: of the registered one.
        stored: the registered one.
        again: the rebuilt one.
        frame: the rows.
        moved: what is not as it was.
    """
    then, now = stored.predictor.files(), again.predictor.files()
    different, largest = _differences(stored, again, frame)
    return Rebuilt(
        propensity=stored.propensity.name,
        version=version,
        files=tuple(name for name in sorted({*then, *now}) if then.get(name) != now.get(name)),
        contract=tuple(name for name in COMPARED if getattr(stored.contract, name) != getattr(again.contract, name)),
        rows=len(frame),
        different=different,
        largest=largest,
        moved=moved,
    )


def _differences(stored: Model, again: Model, frame: pd.DataFrame) -> tuple[int | None, float]:
    """How many probabilities differ, and by how much at most."""
    try:
        then = stored.probability(stored.matrix(frame))
    except ContractError:
        return None, float("nan")
    now = again.probability(again.matrix(frame))
    return int((then != now).sum()), float(np.abs(then - now).max())


def _as_searched(propensity: Propensity, trials: int) -> Propensity:
    """With the number of trials that were made, where a budget in minutes made as many as the machine could."""
    if not propensity.tuning.wanted:
        return propensity
    return propensity.model_copy(update={"tuning": propensity.tuning.model_copy(update={"trials": trials, "minutes": 0.0})})


def _edited(workspace: Workspace, recorded: Propensity) -> list[str]:
    """Whether the propensity's file says something else by now; the rebuild goes by the recorded one."""
    try:
        same = load(workspace, recorded.name).model_dump(mode="json") == recorded.model_dump(mode="json")
    except ForesellError:
        same = False
    return [] if same else ["the propensity file: it was edited since (the rebuild goes by the recorded one)"]


def _forgotten(workspace: Workspace, name: str, version: str) -> list[str]:
    """Whether rows of people are missing who were forgotten since; then the version can never be made again to the bit."""
    people = forgotten.trained_on(workspace, name, version)
    told = f"rows of {people:,} forgotten {'person' if people == 1 else 'people'} are missing: they were erased since, for good"
    return [told] if people else []


def _provenance(document: dict[str, object]) -> Provenance:
    if "provenance" not in document:
        raise RegistryError(
            f"propensity {document['propensity']!r} version {document['version']}",
            expected="a version that was registered with what it was made from",
            received="none of it",
            repair="train again; versions of this release keep it",
        )
    return Provenance.model_validate(document["provenance"])
