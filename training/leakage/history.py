"""Values from after the as_of: attributes declared fixed that have changed, by their own history or from version to version."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from features.catalog import Catalog
from features.database import connect, identifier, quote
from features.settings import Workspace
from features.tables import ATTRIBUTE_HISTORY, ENTITY_KEYS, ENTITY_TABLES
from training.dataset import Dataset
from training.leakage.columns import LEAST_FILLED
from training.leakage.finding import Finding
from training.leakage.origin import Attribute
from training.leakage.rows import some_entities

TOLERATED = 0.01  # of the rows: a handful of late entries in a history is no overwritten column
_YES_NO = {"true": "1", "yes": "1", "false": "0", "no": "0"}


def history_findings(workspace: Workspace, entity: str, data: Dataset) -> list[Finding]:
    """Attributes that are declared fixed and are not.

    Args:
        workspace: with ingested tables.
        entity: `lead` or `customer`.
        data: the rows whose values are compared with what the history says of their as_of.
    """
    catalog = Catalog.load(workspace)
    fixed = {name: attribute for name, attribute in data.attributes.items() if attribute.lasting}
    rows = data.frame[some_entities(data.frame["entity_id"])]
    found = []
    for name, history in _histories(workspace, catalog, entity, fixed).items():
        later, told = later_values(rows[["entity_id", "as_of"]].assign(value=rows[name]), history), fixed[name]
        if later:
            found.append(_overwritten(name, told, later, len(rows)))
    changed = _changed(workspace, catalog, entity, fixed)
    return found + [_versions(name, fixed[name], *counts) for name, counts in changed.items() if counts[0]]


def later_values(rows: pd.DataFrame, history: pd.DataFrame) -> int:
    """How many rows hold the newest value of their entity though it became known only at or after their as_of.

    Args:
        rows: `entity_id`, `as_of` (UTC) and `value`, what the dataset holds.
        history: `entity_id`, `known` (UTC), from when on a value was known to hold, and `value` as text.
    """
    history = history.sort_values("known", kind="stable")
    newest = history.groupby("entity_id").tail(1).set_index("entity_id")
    rows = rows.sort_values("as_of").astype({"as_of": history["known"].dtype})
    at_as_of = pd.merge_asof(
        rows, history, left_on="as_of", right_on="known", by="entity_id",
        suffixes=("", "_then"), allow_exact_matches=False,
    )  # fmt: skip
    held = _plain(at_as_of["value"])
    final = _plain(at_as_of["entity_id"].map(newest["value"]))
    too_late = (at_as_of["entity_id"].map(newest["known"]) >= at_as_of["as_of"]).to_numpy()
    return int((too_late & held.notna() & (held == final) & (held != _plain(at_as_of["value_then"]))).sum())


def _plain(values: pd.Series) -> pd.Series:
    """Numbers, flags and text in one spelling, missing as None."""
    text = values.astype(object).where(values.notna(), None)
    plain = text.map(lambda value: str(value).strip().lower(), na_action="ignore").replace(_YES_NO)
    number = pd.to_numeric(plain, errors="coerce")
    return plain.where(number.isna(), number.astype(object))


def _histories(workspace: Workspace, catalog: Catalog, entity: str, fixed: Mapping[str, Attribute]) -> dict[str, pd.DataFrame]:
    """What `attribute_history` says of attributes that are declared fixed."""
    if not catalog.has(ATTRIBUTE_HISTORY.name) or not fixed:
        return {}
    path = quote(str(catalog.path(workspace, ATTRIBUTE_HISTORY.name)))
    with connect(workspace) as connection:
        query = f"select entity_id, field, value, greatest(valid_from, known_at) as known from '{path}' where entity = ?"
        every = connection.execute(f"{query} and field in (select unnest(?))", [entity, [a.column for a in fixed.values()]]).df()
    every["known"] = every["known"].astype("datetime64[us]").dt.tz_localize("UTC")
    by_field = dict(list(every.groupby("field")))
    return {name: by_field[a.column].drop(columns="field") for name, a in fixed.items() if a.column in by_field}


def _changed(workspace: Workspace, catalog: Catalog, entity: str, fixed: Mapping[str, Attribute]) -> dict[str, tuple[int, int]]:
    """For each attribute, how many entities have had more than one value of it, and how many have more than one version."""
    table, key = ENTITY_TABLES[entity].name, ENTITY_KEYS[entity]
    present = {name: a for name, a in fixed.items() if catalog.has(table, a.column)}
    if not present:
        return {}
    path = quote(str(catalog.path(workspace, table)))
    distinct = ", ".join(f"count(distinct {identifier(a.column)}) as n{i}" for i, a in enumerate(present.values()))
    sums = ", ".join(f"count(*) filter (n{i} > 1)" for i in range(len(present)))
    with connect(workspace) as connection:
        query = f"select {sums}, count(*) from (select {distinct} from '{path}' group by {identifier(key)} having count(*) > 1)"
        *counts, versions = connection.execute(query).fetchone() or ()
    return {name: (count, versions) for name, count in zip(present, counts, strict=True)}


def _overwritten(name: str, attribute: Attribute, later: int, rows: int) -> Finding:
    severe = later >= LEAST_FILLED and later / rows > TOLERATED
    sentence = (
        f"{name} holds in {later:,} of {rows:,} rows a value that attribute_history dates at or after their as_of: "
        f"`{attribute.source}` is declared fixed and was overwritten"
    )
    where = f" and {attribute.selected}" if attribute.selected else ""
    repair = f"{attribute.declared}{where}: take out `fixed = true` and the column; attribute_history already tells its values"
    return Finding("history", "error" if severe else "warning", name, sentence, repair)


def _versions(name: str, attribute: Attribute, changed: int, versions: int) -> Finding:
    sentence = (
        f"{name} is declared fixed, yet {changed:,} of the {versions:,} with more than one version of their row have had more "
        "than one value of it; where no earlier version was kept, an older as_of sees the newer value"
    )
    return Finding("versions", "warning", name, sentence, attribute.repair)
