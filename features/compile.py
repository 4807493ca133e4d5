"""Declarations -> SQL: one statement per view, for many as_of at once.

`visible` is the table as it looked before each as_of: only row versions known before it, only rows that had happened before it,
and every column that is filled later read as null until its own time. `grouped` groups it once per entity and as_of, with one
`filter` clause per window. `measured` joins that to the spine, so that every entity known at an as_of has exactly one row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from features.feature import DERIVED_KINDS, Feature, View
from features.tables import ENTITY_KEYS, ENTITY_TABLES, Table

MICROSECONDS_PER_DAY = "86400000000.0"


def view_sql(view: View, relations: Mapping[str, str], columns: Mapping[str, str], as_ofs: Sequence[datetime]) -> str:
    """The statement that computes a view.

    Args:
        view: the declared view; not an external one.
        relations: for each canonical table, what stands after `from`.
        columns: the columns of the view's table and their DuckDB types.
        as_ofs: the instants, in UTC.

    Returns:
        SQL with one row per entity known at each as_of: `entity_id`, `event_timestamp` (the as_of) and one column per feature,
        numbers as DOUBLE and categories as VARCHAR.
    """
    instants = ", ".join(f"(timestamp '{instant:%Y-%m-%d %H:%M:%S.%f}')" for instant in as_ofs)
    parts = [f"as_ofs(as_of) as (values {instants})", _visible(view, relations, columns)]
    if view.is_profile:
        parts.append(_measured_profile(view))
    else:
        parts += [_spine(view.entity, relations), _grouped(view, columns), _measured(view)]
    outputs = ",\n  ".join(_output(feature) for feature in view.columns)
    return (
        "with "
        + ",\n".join(parts)
        + f"\nselect entity_id, cast(as_of as timestamptz) as event_timestamp,\n  {outputs}\nfrom measured"
    )


def _visible(view: View, relations: Mapping[str, str], columns: Mapping[str, str]) -> str:
    table = view.contract
    needed = sorted((_columns_read(view) & (set(columns) | table.filled_later)) - {"entity_id"})
    read = ", ".join(f'{_masked(name, table, columns)} as "{name}"' for name in needed)
    reach = _reach(view)
    window = f" and t.{table.time} >= a.as_of - interval {reach} day" if reach else ""
    return (
        f'visible as (\n  select t."{view.key}" as entity_id, a.as_of, {read}\n'
        f"  from as_ofs a join {relations[table.name]} t on {_known(table)}{window}\n"
        f'  where t."{view.key}" is not null\n)'
    )


def _spine(entity: str, relations: Mapping[str, str]) -> str:
    table = ENTITY_TABLES[entity]
    return (
        f'spine as (\n  select t."{ENTITY_KEYS[entity]}" as entity_id, a.as_of\n'
        f"  from as_ofs a join {relations[table.name]} t on {_known(table)}\n)"
    )


def _known(table: Table) -> str:
    """A row version is visible when it was known before the as_of, not yet replaced then, and had happened before it."""
    return f"t.known_at < a.as_of and (t.known_until is null or t.known_until >= a.as_of) and t.{table.time} < a.as_of"


def _columns_read(view: View) -> set[str]:
    newest_wanted = any(feature.kind == "latest" for feature in view.features)
    read = {view.contract.time, *(view.contract.key if newest_wanted else ()), *(c.column for c in view.where)}
    for feature in view.features:
        read |= {feature.column, feature.at, *(condition.column for condition in feature.where)} - {""}
    return read


def _masked(name: str, table: Table, columns: Mapping[str, str]) -> str:
    """A column that is filled later reads as null if absent, and until the instant that revealed it lies before the as_of."""
    revealed_by = next((column.revealed_by for column in table.columns if column.name == name), None)
    if revealed_by is None:
        return f't."{name}"'
    present = revealed_by in columns and name in columns
    return f'case when t."{revealed_by}" < a.as_of then t."{name}" end' if present else "null"


def _reach(view: View) -> int | None:
    """How many days back the view looks, or None when a feature looks back for ever or at another time than the table's own."""
    measures = [feature for feature in view.features if feature.kind not in DERIVED_KINDS]
    days = [feature.days + feature.offset_days for feature in measures if feature.days is not None and not feature.at]
    return max(days) if len(days) == len(measures) else None


def _measured_profile(view: View) -> str:
    expressions = ",\n    ".join(f'{_row_value(feature)} as "{feature.name}"' for feature in view.features)
    return f"measured as (\n  select entity_id, as_of,\n    {expressions}\n  from visible\n)"


def _row_value(feature: Feature) -> str:
    """The value of a feature that reads the entity's own row."""
    column = f'"{feature.column}"'
    conditions = " and ".join(condition.sql() for condition in feature.where)
    return {
        "attribute": column,
        "age": _days("as_of", column),
        "holds": f"case when {conditions} then 1 else 0 end",
        "weekday": f"isodow({column})",
        "hour": f"hour({column})",
    }[feature.kind]


def _grouped(view: View, columns: Mapping[str, str]) -> str:
    measures = [feature for feature in view.features if feature.kind not in DERIVED_KINDS]
    expressions = ",\n    ".join(f'{_aggregate(feature, view.contract, columns)} as "{feature.name}"' for feature in measures)
    rows = f"visible where {' and '.join(condition.sql() for condition in view.where)}" if view.where else "visible"
    return f"grouped as (\n  select entity_id, as_of,\n    {expressions}\n  from {rows} group by entity_id, as_of\n)"


def _aggregate(feature: Feature, table: Table, columns: Mapping[str, str]) -> str:
    """The value of a feature over the rows of one entity."""
    column, time = f'"{feature.column}"', f'"{feature.at or table.time}"'
    rows = _filter(feature, time)
    newest = f"row({time}, {', '.join(table.key)})"
    total = f"sum({_exact(feature.column, columns)}){rows}"
    return {
        "count": f"count({time}){rows}",
        "sum": total,
        "mean": f"cast({total} as double) / nullif(count({column}){rows}, 0)",
        "min": f"min({column}){rows}",
        "max": f"max({column}){rows}",
        "distinct": f"count(distinct {column}){rows}",
        "latest": _from_text(feature, table, f"arg_max_null({column}, {newest}){rows}"),
        "days_since_last": _days("as_of", f"max({time}){rows}"),
        "days_since_first": _days("as_of", f"min({time}){rows}"),
        "days_until_next": _days(f"min({column}){rows}", "as_of"),
    }[feature.kind]


def _from_text(feature: Feature, table: Table, value: str) -> str:
    """A history keeps every value as text; one that does not read as a number or as yes or no is missing."""
    if feature.kind != "latest" or feature.dtype == "category" or table.column(feature.column).type != "category":
        return value
    text = f"lower(cast({value} as varchar))"
    return f"case when {text} in ('true', 'yes') then 1 when {text} in ('false', 'no') then 0 else try_cast({text} as double) end"


def _filter(feature: Feature, time: str) -> str:
    conditions = [condition.sql() for condition in feature.where]
    if feature.days is not None:
        conditions.append(f"{time} >= as_of - interval {feature.days + feature.offset_days} day")
    if feature.offset_days:
        conditions.append(f"{time} < as_of - interval {feature.offset_days} day")
    if feature.kind == "days_until_next":
        conditions.append(f'"{feature.column}" >= as_of')
    return f" filter (where {' and '.join(conditions)})" if conditions else ""


def _exact(column: str, columns: Mapping[str, str]) -> str:
    """A sum of floating-point numbers depends on the order of the rows; a sum of decimals does not."""
    return f'"{column}"' if columns.get(column, "").startswith("DECIMAL") else f'cast("{column}" as decimal(28,6))'


def _days(later: str, earlier: str) -> str:
    return f"(epoch_us({later}) - epoch_us({earlier})) / {MICROSECONDS_PER_DAY}"


def _measured(view: View) -> str:
    measures = [feature for feature in view.features if feature.kind not in DERIVED_KINDS]
    values = ",\n    ".join(_joined(feature) for feature in measures)
    return (
        f"measured as (\n  select s.entity_id, s.as_of,\n    {values}\n"
        "  from spine s left join grouped g on g.entity_id = s.entity_id and g.as_of = s.as_of\n)"
    )


def _joined(feature: Feature) -> str:
    value = f'g."{feature.name}"'
    return f'{value if feature.empty is None else f"coalesce({value}, {feature.empty:.0f})"} as "{feature.name}"'


def _output(feature: Feature) -> str:
    if feature.kind in DERIVED_KINDS:
        first, second = (f'cast("{name}" as double)' for name in feature.of)
        value = {
            "change": f"({first} - {second}) / nullif({first} + {second}, 0)",
            "ratio": f"{first} / nullif({second}, 0)",
        }[feature.kind]
    else:
        value = f'"{feature.name}"'
    return f'cast({value} as {"double" if feature.dtype == "number" else "varchar"}) as "{feature.name}"'


def is_computable(feature: Feature, view: View, columns: Mapping[str, str]) -> bool:
    """Whether the table has every column that the feature and its view read.

    A condition may name a column that is filled later and was not delivered: without `lost_at`, no lead was ever lost.
    """
    conditions = {condition.column for condition in (*view.where, *feature.where)} - view.contract.filled_later
    return ({feature.column, feature.at} - {""}) | conditions <= set(columns)
