"""A dataset: one row per cohort row, its label, and what was known before its as_of, joined point-in-time by Feast."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features import store
from features.adapter import ADAPTER_FILE, adapter_folder
from features.catalog import Catalog
from features.cohort import cohort, mature_as_ofs
from features.errors import DataFloorError, LostRowsError, PropensityError
from features.feature import View
from features.propensity import Propensity
from features.settings import SETTINGS_FILE, Workspace
from features.tables import ENTITY_TABLES
from features.views import views
from training.label import labels, recorded_since, require_outcome
from training.leakage import Attribute, declared_at


@dataclass(frozen=True)
class Dataset:
    """What a model is made from.

    Attributes:
        frame: `entity_id`, `as_of`, `label` and the features; numbers float64 with NaN, categories str with None.
        dtypes: `number` or `category` of each feature, in the order of the views.
        dropped: features that were left out because every row has one value.
        attributes: the features that an adapter or `foresell.toml` declared as attributes.
        fingerprint: digest of the frame; equal frames, and hardly any others, have equal ones.
    """

    frame: pd.DataFrame
    dtypes: Mapping[str, str]
    dropped: tuple[str, ...]
    attributes: Mapping[str, Attribute]
    fingerprint: str

    @property
    def labels(self) -> NDArray[np.int8]:
        return self.frame["label"].to_numpy(np.int8)


def as_ofs(workspace: Workspace, propensity: Propensity) -> list[datetime]:
    """The instants a dataset is made of: the mature part of the grid, from the first recorded outcome on.

    Raises:
        PropensityError: a table that the outcome needs was not ingested.
        DataFloorError: no outcome is recorded, or no as_of is mature.
    """
    require_outcome(Catalog.load(workspace), propensity)
    since = recorded_since(workspace, propensity)
    instants = [instant for instant in mature_as_ofs(workspace, propensity) if instant + propensity.horizon > since]
    if not instants:
        now = Catalog.load(workspace).now
        raise DataFloorError(
            f"propensity {propensity.name!r}",
            expected=f"history that reaches at least {propensity.horizon.days} days back from {now:%Y-%m-%d}",
            received="none: no as_of has outcomes that are known by now",
            repair="deliver a longer history, or ask about a shorter horizon",
        )
    return instants


def build(workspace: Workspace, propensity: Propensity, instants: Sequence[datetime]) -> Dataset:
    """Join cohort, labels and features. The snapshots of the instants must exist and Feast must know them.

    Raises:
        PropensityError: the propensity names a view or feature that does not exist, or its outcome's table is absent.
        SnapshotError: a snapshot has not been built.
        DataFloorError: nobody is eligible.
        LostRowsError: the join gave other rows than the cohort has.
    """
    catalog = Catalog.load(workspace)
    present = [view for view in views(workspace, catalog) if view.entity == propensity.entity]
    dtypes = chosen_features(propensity, present)
    rows = cohort(workspace, propensity, instants)
    if rows.empty:
        raise DataFloorError(
            f"propensity {propensity.name!r}",
            expected="entities that fulfil `eligible`",
            received=f"nobody at {len(instants)} dates from {instants[0]:%Y-%m-%d} to {instants[-1]:%Y-%m-%d}",
            repair=f"check the conditions: {' and '.join(propensity.eligible) or 'none'}",
        )
    label = labels(workspace, propensity, rows)
    joined = store.historical(workspace, propensity.entity, rows, list(dtypes))
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
    parts = [rows, label, *(typed[name].rename(name) for name in kept)]
    frame = pd.concat([part.reset_index(drop=True) for part in parts], axis=1)
    attributes = {name: place for name, place in _attributes(workspace, present).items() if name in kept}
    return Dataset(frame, kept, constant, attributes, fingerprint(frame))


def chosen_features(propensity: Propensity, present: Sequence[View]) -> dict[str, str]:
    """Feature name to dtype: every column of every view, or what the propensity's `[features]` lists (`"*"` is a whole view).

    Raises:
        PropensityError: a view or feature of that name does not exist; a near miss is suggested.
    """
    every = {view.name: {feature.name: str(feature.dtype) for feature in view.columns} for view in present}
    if not propensity.features:
        return {name: dtype for columns in every.values() for name, dtype in columns.items()}
    chosen: dict[str, str] = {}
    for view, names in propensity.features.items():
        if view not in every:
            raise _unknown(propensity, f"view {view!r}", view, every)
        for name in every[view] if "*" in names else names:
            if name not in every[view]:
                raise _unknown(propensity, f"feature {name!r} of view {view!r}", name, every[view])
            chosen[name] = every[view][name]
    return chosen


def fingerprint(frame: pd.DataFrame) -> str:
    """SHA-256 over the columns' names and every value, row by row."""
    digest = hashlib.sha256("\n".join(frame.columns).encode())
    digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:32]


def typed_column(column: pd.Series, dtype: str) -> pd.Series:
    """Numbers as float64 with NaN, categories as str with None."""
    if dtype == "number":
        return column.astype("float64")
    text = column.astype(object)
    return text.where(text.notna(), None)


def _attributes(workspace: Workspace, present: Sequence[View]) -> dict[str, Attribute]:
    files = [adapter_folder(workspace.root, workspace.settings) / ADAPTER_FILE, workspace.root / SETTINGS_FILE]
    declared: dict[str, Attribute] = {}
    for view in present:
        table = ENTITY_TABLES[view.entity].name
        for feature in view.columns:
            if feature.kind in ("attribute", "external"):
                source = f"{view.table}.{feature.column or feature.name}"
                declared[feature.name] = Attribute(source, declared_at(files, table, feature.column))
    return declared


def _unknown(propensity: Propensity, what: str, name: str, known: Mapping[str, object]) -> PropensityError:
    near = difflib.get_close_matches(name, known, 1)
    return PropensityError(
        f"propensity {propensity.name!r}, [features]",
        expected=f"one of {', '.join(list(known)[:12])}{', ...' if len(known) > 12 else ''}",
        received=what,
        repair=f"did you mean {near[0]!r}?" if near else "`foresell features list` names them all",
    )
