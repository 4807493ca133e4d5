"""How good the scores were in parts of those who were scored: by the attributes by which the report of the version has slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.catalog import Catalog
from features.settings import Workspace
from features.views import views
from serving.monitor.known import known
from training.slices import Slice, slices

MOST_ROWS = 20_000
SEED = 17


@dataclass(frozen=True)
class Part:
    """A slice of matured rows, and the AUC that the report says of the same slice; None where it has none."""

    slice: Slice
    promised: float | None


def parts(workspace: Workspace, entity: str, rows: pd.DataFrame, report: Mapping[str, Any]) -> tuple[Part, ...]:
    """The slices of matured rows of one version, of many a sample; none where the report has none or no snapshot is there.

    Raises:
        SnapshotError: a snapshot was left half built.
    """
    told = (report.get("audit") or {}).get("slices") or []
    declared = _declared(workspace, entity)
    wanted = [name for name in dict.fromkeys(one["attribute"] for one in told) if name in declared]
    promised = {(one["attribute"], one["value"]): float(one["auc"]["value"]) for one in told}
    if not wanted or rows.empty:
        return ()
    chosen = rows if len(rows) <= MOST_ROWS else rows.sample(MOST_ROWS, random_state=SEED).sort_index()
    attributes = known(workspace, entity, chosen, wanted)
    mine = chosen.loc[attributes.index].reset_index(drop=True)
    labels, entities = mine["label"].to_numpy(np.int8), mine["entity_id"]
    found = slices(mine["probability"].to_numpy(), labels, entities, attributes.reset_index(drop=True), SEED)
    return tuple(Part(one, promised.get((one.attribute, one.value))) for one in found)


def _declared(workspace: Workspace, entity: str) -> set[str]:
    present = (view for view in views(workspace, Catalog.load(workspace)) if view.entity == entity)
    return {feature.name for view in present for feature in view.columns}
