"""A look: how many eligible entities fell into each bin of a reference on one day.

Kept as `data/monitor/looks/NAME-VERSION.json`, the newest ones, so that what is found today can be followed back to its first
day.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from features import snapshot
from features.catalog import write_atomically
from features.errors import SnapshotError
from features.settings import Workspace
from features.strict import Strict
from serving.monitor.drift.reference import Reference, eligible
from training.contract import Floats
from training.model import Model
from training.registry import Registered

KEPT = 60  # looks
BACK = timedelta(days=35)  # how far nights that nobody looked at are made up for ...
MOST_NIGHTS = 14  # ... and how many


class Look(Strict):
    """One day.

    Attributes:
        as_of: which (UTC).
        rows: the eligible entities.
        features: of each feature the rows in its bins.
        medians: of each feature of numbers that has a value.
        scores: the rows in the bins of the scores.
        probability: their mean; None of no rows.
    """

    as_of: datetime
    rows: int
    features: dict[str, tuple[int, ...]]
    medians: dict[str, float]
    scores: tuple[int, ...]
    probability: float | None


_LOOKS = TypeAdapter(tuple[Look, ...])


def look(model: Model, reference: Reference, as_of: datetime, frame: pd.DataFrame) -> tuple[Look, Floats]:
    """Count the rows of a day, and what the model says of each.

    Raises:
        ContractError: the frame is not what the model was trained on.
    """
    matrix = model.matrix(frame)
    probability = model.probability(matrix)
    counts = {
        name: tuple(counted.bins.count(matrix[:, number]).tolist())
        for number, (name, counted) in enumerate(reference.features.items())
    }
    scores = tuple(reference.scores.bins.count(probability).tolist())
    mean = float(probability.mean()) if len(frame) else None
    return Look(
        as_of=as_of,
        rows=len(frame),
        features=counts,
        medians=_medians(model, matrix),
        scores=scores,
        probability=mean,
    ), probability


def kept(workspace: Workspace, reference: Reference) -> tuple[Look, ...]:
    """The looks that were kept, oldest first; none where another release kept them."""
    try:
        return _LOOKS.validate_json(_place(workspace, reference).read_bytes())
    except (FileNotFoundError, ValidationError):
        return ()


def keep(workspace: Workspace, reference: Reference, looks: Sequence[Look]) -> tuple[Look, ...]:
    """Keep these beside those that are there, a day once, and return them all, oldest first."""
    together = {one.as_of: one for one in (*kept(workspace, reference), *looks)}
    newest = tuple(together[at] for at in sorted(together))[-KEPT:]
    write_atomically(_place(workspace, reference), _LOOKS.dump_json(newest) + b"\n")
    return newest


def make_up(workspace: Workspace, registered: Registered, reference: Reference, as_of: datetime) -> tuple[Look, ...]:
    """Look at the nights before an as_of whose snapshots are there and that nobody looked at, and return all that is kept."""
    known = {one.as_of for one in kept(workspace, reference)}
    since = max(as_of - BACK, reference.dates[-1])
    nights = [at for at in snapshot.instants(workspace, registered.model.propensity.entity) if since < at < as_of]
    made = []
    for night in (at for at in nights[-MOST_NIGHTS:] if at not in known):
        with suppress(SnapshotError):  # a night of which not every view was kept
            made.append(look(registered.model, reference, night, eligible(workspace, registered.model, night))[0])
    return keep(workspace, reference, made)


def _medians(model: Model, matrix: Floats) -> dict[str, float]:
    numbers = [(number, one.name) for number, one in enumerate(model.contract.features) if one.dtype == "number"]
    known = {name: matrix[:, number][~np.isnan(matrix[:, number])] for number, name in numbers}
    return {name: float(np.median(values)) for name, values in known.items() if len(values) and np.isfinite(np.median(values))}


def _place(workspace: Workspace, reference: Reference) -> Path:
    return workspace.watch / "looks" / f"{reference.propensity}-{reference.version}.json"
