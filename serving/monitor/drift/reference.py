"""The reference of a version: how its features and its scores were distributed at the dates it was trained on.

Made once a version from the snapshots of those dates, which are built where they are missing, and kept as
`data/monitor/reference/NAME-VERSION.json`. The dates of a grid share a day of the week, so the six days after the newest are
looked at too: what a Sunday looks like is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from features import snapshot
from features.catalog import Catalog, write_atomically
from features.cohort import cohort
from features.console import Watch
from features.database import connect
from features.errors import SnapshotError
from features.propensity import Propensity
from features.settings import Workspace
from features.snapshot import select_sql
from features.strict import Strict
from serving.monitor.drift.bins import Bins
from serving.monitor.drift.expectation import LEAST_AT_A_DATE, LEVELS, Past
from serving.monitor.drift.youth import young
from training import label, registry
from training.contract import Column, Floats
from training.evaluation import Ranking
from training.model import Model
from training.registry import Registered

MOST_ROWS = 20_000  # of one date: beyond them chance is far below every threshold
MOST_IN_ALL = 500_000  # of all dates, which are in memory at once
Matrices = Mapping[datetime, Floats]


class Counted(Strict):
    """One feature, or the scores: its bins and the rows in each.

    Attributes:
        bins: where its values are counted.
        counts: a row for each reference date, then one for each further day.
        spots: the quantiles of its values at `LEVELS`, of each reference date; empty for a category and where there is no value.
    """

    bins: Bins
    counts: tuple[tuple[int, ...], ...]
    spots: tuple[tuple[float, ...], ...] = ()


class Reference(Strict):
    """What a version was trained on.

    Attributes:
        propensity, version, fingerprint: whose, and the digest of the rows it was made from.
        dates: the dates it was trained on, oldest first (UTC).
        further: the other days of the week after the newest of them, as far as they are known.
        rows: eligible rows that were looked at on each date, then on each further day.
        features: by name, in the order of the contract.
        scores: the probabilities; their bins are the deciles of the contract's reference.
        promised: the deciles' own shares, of rows that the model was not fitted on.
        aucs: the AUC to be expected on each date if every probability is right.
        base_rates: eligible rows and positives of each date; empty where outcomes cannot be told.
        importance: the share that each feature has in the model; they add up to 1.
        young: the features that were still filling at the newest date, for their history was shorter than their window.
    """

    format: int = Field(default=1, ge=1, le=1)
    propensity: str
    version: str
    fingerprint: str
    dates: tuple[datetime, ...]
    further: tuple[datetime, ...] = ()
    rows: tuple[int, ...]
    features: dict[str, Counted]
    scores: Counted
    promised: tuple[float, ...]
    aucs: tuple[float, ...]
    base_rates: tuple[tuple[int, int], ...] = ()
    importance: dict[str, float] = Field(default_factory=dict)
    young: tuple[str, ...] = ()

    def past(self, counted: Counted) -> Past:
        """One of its features as it was, at the dates that have enough rows, or at all where none has."""
        counts, dates, kept = np.array(counted.counts, dtype=np.int64), len(self.dates), self._telling
        further = (np.array([day(one) for one in self.further], dtype=np.float64), counts[dates:])
        edges = np.array(counted.bins.edges)
        spots = np.array(counted.spots)[kept] if counted.spots else None
        if spots is not None and not (np.isfinite(spots).all() and (np.diff(spots[-1]) > 0).all()):
            spots = None  # of values with ties quantiles jump, and no line leads through them
        return Past(np.array([day(one) for one in self.dates])[kept], counts[:dates][kept], spots, edges, further)

    @property
    def ordinary_aucs(self) -> tuple[float, ...]:
        """The AUC to be expected on each date that has enough rows: of three entities any may come out, of one always 0.5."""
        return tuple(auc for auc, tells in zip(self.aucs, self._telling, strict=True) if tells)

    @property
    def _telling(self) -> NDArray[np.bool_]:
        """Which dates have enough rows; where none has, those that have most."""
        rows = np.array(self.rows[: len(self.dates)])
        return np.asarray(rows >= min(LEAST_AT_A_DATE, int(rows.max())))

    @property
    def base_rate(self) -> dict[datetime, float]:
        """The share of positives at each reference date."""
        rates = zip(self.dates, self.base_rates, strict=False)
        return {date: positives / rows for date, (rows, positives) in rates if rows}


def reference(workspace: Workspace, registered: Registered, watch: Watch) -> Reference:
    """The reference of a version, made if it is not there.

    Raises:
        RegistryError: its report does not tell what it was trained on.
        SnapshotError: nobody is eligible at any of those dates any more.
        FeatureError: a feature is no longer declared.
    """
    name = str(registered.model.contract.propensity["name"])
    path = place(workspace, name, registered.version)
    found = _read(path)
    if found is None or found.fingerprint != registered.model.contract.fingerprint:
        found = _make(workspace, registered, name, watch)
        write_atomically(path, (found.model_dump_json() + "\n").encode())
    return found


def place(workspace: Workspace, name: str, version: str) -> Path:
    """Where the reference of a version lies."""
    return workspace.watch / "reference" / f"{name}-{version}.json"


def eligible(workspace: Workspace, model: Model, as_of: datetime, most: int | None = None) -> pd.DataFrame:
    """The features of the eligible entities at an as_of, of at most so many, which are then the same ones at every as_of.

    Returns:
        `entity_id` and the model's features, as `features.snapshot.read`.

    Raises:
        SnapshotError: the snapshot has not been built.
        FeatureError: a feature is no longer declared.
    """
    propensity = model.propensity
    conditions = propensity.conditions
    known = select_sql(workspace, propensity.entity, [as_of], [*model.columns, *(one.column for one in conditions)])
    where = " and ".join(f"({one.sql()})" for one in conditions) or "true"
    wanted = "".join(f', "{name}"' for name in model.columns)
    limit = "" if most is None else f" order by hash(entity_id), entity_id limit {most}"
    with connect(workspace) as connection:
        return connection.execute(f"select entity_id{wanted} from ({known}) where {where}{limit}").df()


def of(
    registered: Registered,
    matrices: Matrices,
    further: Matrices,
    base_rates: Sequence[tuple[int, int]] = (),
    listed: Mapping[str, float] | None = None,
) -> Reference:
    """The reference of a version from encoded rows at each date.

    Args:
        registered: the version.
        matrices: of the dates it was trained on, as `Model.matrix` encodes them, oldest first.
        further: of the further days.
        base_rates: rows and positives at each date.
        listed: how much the features that a report lists move the scores.
    """
    contract = registered.model.contract
    every = [*matrices.values(), *further.values()]
    said = [registered.model.probability(matrix) for matrix in every]
    bins = Bins.of(_SCORE, np.array(contract.reference))
    scores = Counted(bins=bins, counts=_counts(bins, said), spots=_spots(said[: len(matrices)]))
    return Reference(
        propensity=str(contract.propensity["name"]),
        version=registered.version,
        fingerprint=contract.fingerprint,
        dates=tuple(matrices),
        further=tuple(further),
        rows=tuple(map(len, every)),
        features={one.name: _counted(one, number, every, len(matrices)) for number, one in enumerate(contract.features)},
        scores=scores,
        promised=tuple((bins.count(np.array(contract.reference)) / len(contract.reference)).tolist()),
        aucs=tuple(map(promised_auc, said[: len(matrices)])),
        base_rates=tuple(base_rates),
        importance=importance(registered.model, listed or {}),
    )


def importance(model: Model, listed: Mapping[str, float]) -> dict[str, float]:
    """The share that each feature has in a model: of what moves its scores for those that its report lists, in proportion to the
    share they have in training; for the rest that share."""
    trained = model.importance()
    told = {name: moved for name, moved in listed.items() if name in trained}
    rest = {name: share for name, share in trained.items() if name not in told}
    whole = sum(told.values())
    if not whole:
        return trained
    left = max(sum(trained.values()) - sum(rest.values()), 0.0)
    return {**{name: left * moved / whole for name, moved in told.items()}, **rest}


def promised_auc(probability: Floats) -> float:
    """The AUC to be expected if every probability is right; NaN of no rows."""
    if not len(probability):
        return float("nan")
    ranking = Ranking(np.clip(probability, 1e-12, 1 - 1e-12), np.zeros(len(probability), dtype=np.int8))
    return ranking.order_figures(np.ones(len(probability)))[2]


def day(instant: datetime) -> float:
    """In days since 1970."""
    return instant.timestamp() / 86_400


_SCORE = Column.model_validate({"name": "score", "dtype": "number", "typical": {"missing": 0}})


def _counted(column: Column, number: int, every: Sequence[Floats], dates: int) -> Counted:
    values = [matrix[:, number] for matrix in every]
    bins = Bins.of(column, np.concatenate(values[:dates]))
    spots = _spots(values[:dates]) if column.dtype == "number" else ()
    return Counted(bins=bins, counts=_counts(bins, values), spots=spots)


def _counts(bins: Bins, values: Sequence[Floats]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(bins.count(one).tolist()) for one in values)


def _spots(values: Sequence[Floats]) -> tuple[tuple[float, ...], ...]:
    """Of each date; none where a date has no value, or one without end."""
    known = [one[~np.isnan(one)] for one in values]
    if not all(len(one) and np.isfinite(one).all() for one in known):
        return ()
    return tuple(tuple(np.quantile(one, LEVELS).tolist()) for one in known)


def _read(path: Path) -> Reference | None:
    """What was kept; None where nothing was, or another release kept it."""
    try:
        return Reference.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _make(workspace: Workspace, registered: Registered, name: str, watch: Watch) -> Reference:
    model, report = registered.model, registry.report(workspace, name, registered.version)[0]
    dates = _dates(report, name, registered.version)
    newest = [dates[-1] + timedelta(days=number) for number in range(1, 7)]
    days = [one for one in newest if one <= Catalog.load(workspace).now]
    entity = [model.propensity.entity]
    with watch(f"{name}: snapshots of the reference", snapshot.to_build(workspace, [*dates, *days], entity)) as tick:
        snapshot.build(workspace, [*dates, *days], tick, entity)
    most = max(1, min(MOST_ROWS, MOST_IN_ALL // (len(dates) + len(days))))
    matrices: dict[datetime, Floats] = {}
    with watch(f"{name}: reference", len(dates) + len(days)) as tick:
        for date in [*dates, *days]:
            matrices[date] = model.matrix(eligible(workspace, model, date, most))
            tick(1)
    known = [date for date in dates if len(matrices[date])]
    if not known:
        raise _nobody(name, registered.version, dates)
    further = {date: matrices[date] for date in days if len(matrices[date])}
    rates = _base_rates(workspace, model.propensity, known)
    made = of(registered, {date: matrices[date] for date in known}, further, rates, report.get("importance", {}))
    return made.model_copy(update={"young": young(workspace, model.propensity.entity, model.columns, known[-1])})


def _dates(report: Mapping[str, Any], name: str, version: str) -> list[datetime]:
    """The dates a version was trained on, oldest first."""
    told = report.get("provenance", {}).get("as_ofs", ())
    if not told:
        raise registry.incomplete(name, version, "the dates it was trained on")
    instants = [datetime.fromisoformat(text) for text in told]
    return sorted(one.replace(tzinfo=UTC) if one.tzinfo is None else one for one in instants)


def _base_rates(workspace: Workspace, propensity: Propensity, dates: Sequence[datetime]) -> list[tuple[int, int]]:
    """Rows and positives at each date; none where the tables no longer tell outcomes."""
    if label.missing(Catalog.load(workspace), propensity):
        return []
    rows = cohort(workspace, propensity, dates)
    found = label.labels(workspace, propensity, rows).groupby(rows["as_of"]).agg(["size", "sum"])
    return [(int(found["size"].get(pd.Timestamp(one), 0)), int(found["sum"].get(pd.Timestamp(one), 0))) for one in dates]


def _nobody(name: str, version: str, dates: Sequence[datetime]) -> SnapshotError:
    return SnapshotError(
        f"the reference of {name}, version {version}",
        expected="entities that are eligible at the dates it was trained on",
        received=f"nobody at {len(dates)} dates from {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}",
        repair=f"ingest the history again, or train anew: `foresell retrain {name}`",
    )
