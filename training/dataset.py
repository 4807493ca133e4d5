"""A dataset: one row per cohort row, its label, and what was known before its as_of, joined point-in-time by Feast."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import snapshot, store
from features.catalog import Catalog
from features.cohort import cohort, mature_as_ofs
from features.console import Watch
from features.engine import Name
from features.errors import DataFloorError, LostRowsError, PropensityError, WorkspaceError, nearest
from features.feature import View
from features.propensity import Propensity
from features.settings import SETTINGS_FILE, Workspace
from features.spark import store as spark_store
from features.views import views
from training import spark
from training.examples import Examples
from training.label import labels, recorded_since, require_outcome
from training.leakage.origin import Attribute, declared_attributes
from training.sampling import Sampling
from training.split import Mask


@dataclass(frozen=True)
class Dataset:
    """What a model is made from.

    Attributes:
        frame: `entity_id`, `as_of`, `label` and the features; numbers float64 with NaN, categories str with None.
        dtypes: `number` or `category` of each feature, in the order of the views.
        dropped: features that were left out because every row has one value.
        attributes: the features that an adapter or `foresell.toml` declared as attributes.
        fingerprint: digest of the frame; equal frames, and hardly any others, have equal ones.
        views: the features of each view, by its name.
        aside: snapshot columns, row by row, that reports may look at and models may not: what is protected, worth and age.
        sampling: which share of the rows these are; None where they are all.
        engine: what made the rows.
    """

    frame: pd.DataFrame
    dtypes: Mapping[str, str]
    dropped: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    fingerprint: str
    aside: pd.DataFrame = field(default_factory=pd.DataFrame)
    views: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sampling: Sampling | None = None
    engine: Name = "duckdb"

    @property
    def labels(self) -> NDArray[np.int8]:
        return self.frame["label"].to_numpy(np.int8)

    def examples(self, rows: Mask) -> Examples:
        """Some rows, encoded for a learner."""
        return Examples.of(self.frame[rows], self.labels[rows], dict(self.dtypes))

    @property
    def weights(self) -> NDArray[np.float64]:
        """How many rows each row stands for, from 0 to 1: what a calibration weighs them by."""
        return np.ones(len(self.frame)) if self.sampling is None else self.sampling.weights(self.labels)

    @property
    def plain(self) -> Mask:
        """Rows of both outcomes in one share: those that figures may be computed on."""
        every = np.ones(len(self.frame), dtype=bool)
        return self.sampling.plain(self.frame, self.labels) if self.sampling and self.sampling.thins else every

    def only(self, rows: Mask) -> Dataset:
        """Some of the rows, numbered anew."""
        frame = self.frame[rows].reset_index(drop=True)
        aside = self.aside[rows].reset_index(drop=True) if len(self.aside) else self.aside
        return replace(self, frame=frame, aside=aside, fingerprint=fingerprint(frame))

    def without(self, features: Collection[str]) -> Dataset:
        """The same rows without some features."""
        return replace(self, dtypes={name: dtype for name, dtype in self.dtypes.items() if name not in features})


def as_ofs(workspace: Workspace, propensity: Propensity) -> list[datetime]:
    """The instants a dataset is made of: those mature ones whose labels look at no time before the first recorded outcome.

    Before it a label of 0 means "not recorded". Where every instant looks back beyond it, as in data of a single date whose
    outcomes all lie after it, those stay that look beyond it in part: nothing tells when their recording began.

    Raises:
        PropensityError: a table that the outcome needs was not ingested.
        DataFloorError: no outcome is recorded, or no as_of is mature.
    """
    require_outcome(Catalog.load(workspace), propensity)
    since = recorded_since(workspace, propensity)
    mature = mature_as_ofs(workspace, propensity)
    wholly = [instant for instant in mature if instant + propensity.lead_time >= since]
    instants = wholly or [instant for instant in mature if instant + propensity.horizon > since]
    if not instants:
        now = Catalog.load(workspace).now
        raise DataFloorError(
            f"propensity {propensity.name!r}",
            expected=f"history that reaches at least {propensity.horizon.days} days back from {now:%Y-%m-%d}",
            received="none: no as_of has outcomes that are known by now",
            repair="deliver a longer history, or ask about a shorter horizon",
        )
    return instants


def build(
    workspace: Workspace, propensity: Propensity, instants: Sequence[datetime], engine: Name = "duckdb"
) -> Dataset:  # fmt: skip
    """Join cohort, labels and features. The snapshots of the instants must exist and Feast must know them.

    Spark brings at most about `[train] max_rows` of them here.

    Raises:
        PropensityError: the propensity names a view or feature that does not exist, or its outcome's table is absent.
        WorkspaceError: a protected column does not exist.
        SnapshotError: a snapshot has not been built.
        DataFloorError: nobody is eligible.
        LostRowsError: the join gave other rows than the cohort has.
    """
    catalog = Catalog.load(workspace)
    every = views(workspace, catalog)
    protected = require_protected(workspace.settings.protected, every)
    present = [view for view in every if view.entity == propensity.entity]
    dtypes = chosen_features(propensity, present, protected)
    aside = _aside(propensity, present, protected)
    rows, label, sampling = _labelled(workspace, propensity, instants, engine)
    if rows.empty:
        raise DataFloorError(
            f"propensity {propensity.name!r}",
            expected="entities that fulfil `eligible`",
            received=f"nobody at {len(instants)} dates from {instants[0]:%Y-%m-%d} to {instants[-1]:%Y-%m-%d}",
            repair=f"check the conditions: {' and '.join(propensity.eligible) or 'none'}",
        )
    joined = historical(workspace, propensity.entity, rows, list({**dtypes, **aside}), engine)
    if len(joined) != len(rows):
        raise LostRowsError(
            f"dataset of {propensity.name}",
            expected=f"{len(rows):,} rows, one per cohort row",
            received=f"{len(joined):,}",
            repair="build the snapshots again with `foresell snapshot`",
        )
    typed = {name: typed_column(joined[name], dtype) for name, dtype in dtypes.items()}
    constant = tuple(name for name, column in typed.items() if column.nunique(dropna=False) <= 1)
    kept = {name: dtype for name, dtype in dtypes.items() if name not in constant}
    if not kept:
        raise DataFloorError(
            f"features of {propensity.name}",
            expected="at least one that differs between rows",
            received=f"{len(constant)} that have one value each: {', '.join(constant[:5])}{', ...' if len(constant) > 5 else ''}",
            repair="deliver the tables behind them, or list others under `[features]`",
        )
    frame = pd.concat([rows, label.to_frame(), pd.DataFrame({name: typed[name] for name in kept})], axis=1)
    attributes = {name: place for name, place in declared_attributes(workspace, catalog, present).items() if name in kept}
    seen = pd.DataFrame({name: typed_column(joined[name], dtype) for name, dtype in aside.items()}, index=frame.index)
    of_views = {view.name: tuple(feature.name for feature in view.columns if feature.name in kept) for view in present}
    return Dataset(frame, kept, constant, attributes, fingerprint(frame), seen, of_views, sampling, engine)


def _labelled(
    workspace: Workspace, propensity: Propensity, instants: Sequence[datetime], engine: Name
) -> tuple[pd.DataFrame, pd.Series, Sampling | None]:
    """The cohort, sorted by as_of and entity_id, its labels, and which share of it that is."""
    if engine == "spark":
        return spark.labelled(workspace, propensity, instants)
    rows = cohort(workspace, propensity, instants)
    return rows, labels(workspace, propensity, rows), None


def historical(
    workspace: Workspace, entity: str, spine: pd.DataFrame, features: Sequence[str], engine: Name = "duckdb"
) -> pd.DataFrame:
    """As `features.store.historical`, by either engine."""
    joined = spark_store.historical if engine == "spark" else store.historical
    return joined(workspace, entity, spine, features)


def prepare(
    workspace: Workspace, propensity: Propensity, watch: Watch, dates: Sequence[datetime] = (), engine: Name = "duckdb"
) -> Dataset:
    """Build the snapshots that are missing, tell Feast, and build the dataset of every as_of with mature labels.

    Args:
        workspace: with ingested tables.
        propensity: the question.
        watch: opens a progress bar for a step of so many units.
        dates: only these as_ofs, as an earlier dataset had them.
        engine: where snapshots are built and rows are joined.

    Raises:
        PropensityError, DataFloorError, LostRowsError: as `as_ofs` and `build`.
    """
    instants = dates or as_ofs(workspace, propensity)
    entity = [propensity.entity]
    with watch(f"{propensity.name}: snapshots", snapshot.to_build(workspace, instants, entity)) as tick:
        snapshot.build(workspace, instants, tick, entity, engine=engine)
    with watch(f"{propensity.name}: dataset", 2) as tick:
        (spark_store if engine == "spark" else store).apply(workspace)
        tick(1)
        data = build(workspace, propensity, instants, engine)
        tick(1)
    return data


def require_protected(names: Sequence[str], present: Sequence[View]) -> tuple[str, ...]:
    """The protected columns, each of which a view of some entity has.

    Raises:
        WorkspaceError: none has one of them; a near miss is suggested.
    """
    known = [feature.name for view in present for feature in view.columns]
    unknown = [name for name in names if name not in known]
    if unknown:
        near = nearest(unknown[0], known)
        raise WorkspaceError(
            f"{SETTINGS_FILE}, key `protected`",
            expected="snapshot columns",
            received=unknown[0],
            repair=f"did you mean {near!r}?" if near else "`foresell features list` names them all",
        )
    return tuple(names)


def chosen_features(propensity: Propensity, present: Sequence[View], protected: Sequence[str] = ()) -> dict[str, str]:
    """Feature name to dtype: every column of every view, or what the propensity's `[features]` lists (`"*"` is a whole view).

    A protected column is only chosen where it is listed by its own name.

    Raises:
        PropensityError: a view or feature of that name does not exist; a near miss is suggested.
    """
    every = {view.name: {feature.name: str(feature.dtype) for feature in view.columns} for view in present}
    free = {view: [name for name in columns if name not in protected] for view, columns in every.items()}
    if not propensity.features:
        return {name: every[view][name] for view, names in free.items() for name in names}
    chosen: dict[str, str] = {}
    for view, names in propensity.features.items():
        if view not in every:
            raise _unknown(propensity, f"view {view!r}", view, every)
        for name in (*(free[view] if "*" in names else ()), *(name for name in names if name != "*")):
            if name not in every[view]:
                raise _unknown(propensity, f"feature {name!r} of view {view!r}", name, every[view])
            chosen[name] = every[view][name]
    return chosen


def _aside(propensity: Propensity, present: Sequence[View], protected: Sequence[str]) -> dict[str, str]:
    """Column name to dtype of what only reports look at.

    Raises:
        PropensityError: there is no column of the worth's name, or it holds no numbers.
    """
    known = {feature.name: str(feature.dtype) for view in present for feature in view.columns}
    worth = propensity.value.columns if propensity.value else ()
    for name in worth:
        if name not in known:
            raise _unknown(propensity, f"column {name!r}", name, known, "[value]")
        if known[name] != "number":
            raise PropensityError(
                f"propensity {propensity.name!r}, [value]",
                expected="a column of numbers, what one outcome is worth",
                received=f"column {name!r}, which is a {known[name]}",
                repair="name a column of amounts; `foresell features list` names them all with their types",
            )
    return {name: known[name] for name in (*protected, *worth, age_column(propensity)) if name in known}


def age_column(propensity: Propensity) -> str:
    """The column that tells how long an entity has been known, in days."""
    return f"{propensity.entity}_age_days"


def fingerprint(frame: pd.DataFrame) -> str:
    """32 hexadecimal digits over the columns' names and every value, row by row."""
    named = "\n".join(f"{name} {digest}" for name, digest in digests(frame).items())
    return hashlib.sha256(named.encode()).hexdigest()[:32]


def digests(frame: pd.DataFrame) -> dict[str, str]:
    """16 hexadecimal digits over the values of each column, in the order of the rows."""
    return {str(name): hashlib.sha256(_bytes(column)).hexdigest()[:16] for name, column in frame.items()}


def _bytes(column: pd.Series) -> bytes:
    """Of a plain number as it is; of text and times a hash each, for their arrays hold addresses."""
    plain = isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiub"
    values = column if plain else pd.util.hash_pandas_object(column, index=False)
    return values.to_numpy().tobytes()


def typed_column(column: pd.Series, dtype: str) -> pd.Series:
    """Numbers as float64 with NaN, categories as str with None."""
    if dtype == "number":
        return column.astype("float64")
    text = column.astype(object)
    return text.where(text.notna(), None)


def _unknown(
    propensity: Propensity, what: str, name: str, known: Mapping[str, object], table: str = "[features]"
) -> PropensityError:
    near = nearest(name, known)
    return PropensityError(
        f"propensity {propensity.name!r}, {table}",
        expected=f"one of {', '.join(list(known)[:12])}{', ...' if len(known) > 12 else ''}",
        received=what,
        repair=f"did you mean {near!r}?" if near else "`foresell features list` names them all",
    )
