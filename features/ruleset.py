"""What must hold for each table: rules derived from its contract."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from features.catalog import Catalog, StoredTable
from features.database import identifier
from features.rule import Rule, Severity, broken_rows, tiers
from features.tables import ENTITY_KEYS, ENTITY_TABLES, SQL_TYPES, TABLES, Column, Table

MOSTLY_MISSING = 0.5  # an attribute that is missing more often than this says little
FRESH = timedelta(days=35)  # a monthly export is never called stale
WARN_BELOW, FAIL_BELOW = 0.8, 0.5  # rows against the ingest before


def rules(contract: Table, catalog: Catalog, now: datetime) -> tuple[Rule, ...]:
    """Every rule of one ingested table. `now` is the instant after which nothing can be known.

    An empty table, or one that lacks a required column or has it in another type, gets only the rules that say so: the others
    could not be measured.
    """
    stored = catalog.tables[contract.name]
    structure = (*_row_counts(contract, stored), *_columns(contract, catalog))
    sound = {name for name, sql_type in _types(contract, catalog).items() if stored.columns.get(name) == sql_type}
    if not stored.rows or not _demanded(contract) <= sound:
        return structure
    delivered = replace(contract, columns=tuple(column for column in contract.columns if column.name in sound))
    return (
        *structure,
        *_uniqueness(delivered),
        *_required(delivered),
        *_references(delivered, catalog),
        *_anybody(contract, stored),
        *_values(delivered),
        *_times(delivered, now),
        *_attributes(delivered, catalog),
    )


def _types(contract: Table, catalog: Catalog) -> dict[str, str]:
    """The DuckDB type that each column must have if it is there: the contract's columns, what ingest adds, and attributes."""
    attributes = catalog.attributes.get(contract.name, {})
    return {
        **{column.name: SQL_TYPES[column.type] for column in contract.all_columns},
        "known_until": SQL_TYPES["timestamp"],
        **{name: SQL_TYPES[attribute.type] for name, attribute in attributes.items()},
    }


def _demanded(contract: Table) -> set[str]:
    return {column.name for column in contract.columns if column.required} | {"known_at", "known_until"}


def _row_counts(contract: Table, stored: StoredTable) -> Iterator[Rule]:
    entity = contract in ENTITY_TABLES.values()
    yield Rule(
        contract.name, "", "empty", "error" if entity else "warning",
        "expect_table_row_count_to_be_between", {"min_value": 1},
        holds="the table has rows",
        wrong="the table is empty",
        cost="there is nobody to score" if entity else "every feature of this table is missing or 0 for everybody",
        repair=f"deliver the rows, or take {contract.name}.sql out of the adapter if the CRM does not have them",
    )  # fmt: skip
    limits: tuple[tuple[Severity, float], ...] = (("warning", WARN_BELOW), ("error", FAIL_BELOW))
    for severity, share in limits if stored.previous_rows else ():
        yield Rule(
            contract.name, "", "row count", severity,
            "expect_table_row_count_to_be_between", {"min_value": math.ceil(share * (stored.previous_rows or 0))},
            holds=f"at least {share:.0%} of the {stored.previous_rows:,} rows of the ingest before are there",
            wrong=f"{{seen}} rows where the ingest before had {stored.previous_rows:,}",
            cost="what is missing looks as if it had never happened: activity falls for everybody and scores move with it",
            repair="look whether the export was cut short; if they are gone for good, run `foresell check --accept-fewer-rows`",
        )  # fmt: skip


def _columns(contract: Table, catalog: Catalog) -> Iterator[Rule]:
    for name, sql_type in _types(contract, catalog).items():
        if name in _demanded(contract):
            yield Rule(
                contract.name, name, "column", "error", "expect_column_to_exist", {"column": name},
                holds="the column is there",
                wrong=f"the column `{name}` is not there",
                cost="the table cannot be used",
                repair=f"let the adapter's {contract.name}.sql select `{name}`, then ingest again",
            )  # fmt: skip
        if catalog.has(contract.name, name):
            yield Rule(
                contract.name, name, "type", "error",
                "expect_column_type_to_be", {"column": name, "type_": sql_type.split("(")[0]},
                holds=f"`{name}` is of type {sql_type}",
                wrong=f"`{name}` is of type {{seen}} where {sql_type} is expected",
                cost="features of this column cannot be computed",
                repair="ingest again: it casts every column to its type",
            )  # fmt: skip


def _uniqueness(contract: Table) -> Iterator[Rule]:
    keys = [*contract.key, "known_at"]
    yield Rule(
        contract.name, contract.key[0], "unique", "error", "expect_compound_columns_to_be_unique", {"column_list": keys},
        holds=f"no two rows share {_names(keys)}",
        wrong=f"{{rows}} that share {_names(keys)} with another row",
        cost="each is counted more than once, and which of them holds is left to chance",
        repair='deliver each row once, or set `ingest.duplicates = "merge"` in foresell.toml',
    )  # fmt: skip


def _required(contract: Table) -> Iterator[Rule]:
    for column in (*contract.columns, contract.column("known_at")):
        if column.required or column.name == "known_at":
            yield Rule(
                contract.name, column.name, "missing", "error", "expect_column_values_to_not_be_null", {"column": column.name},
                holds=f"no row lacks its `{column.name}`",
                wrong=f"{{rows}} without `{column.name}`",
                cost=_cost_of_missing(contract, column),
                repair=f"let the adapter's {contract.name}.sql fill `{column.name}`, or leave these rows out",
            )  # fmt: skip


def _cost_of_missing(contract: Table, column: Column) -> str:
    if column.name in contract.key:
        return "they cannot be told apart or corrected"
    if column.references:
        return f"they cannot be joined to {column.references} and count for nobody"
    if column.type == "timestamp":
        return "they have no place in time and no feature sees them"
    return f"features that look at `{column.name}` miss them"


def _references(contract: Table, catalog: Catalog) -> Iterator[Rule]:
    for column in contract.columns:
        if column.references and catalog.has(column.references, key := TABLES[column.references].key[0]):
            yield from _orphans(contract, column.name, key, column.references)
    if contract.kind == "history":
        for entity, table in ENTITY_TABLES.items():
            if catalog.has(table.name, ENTITY_KEYS[entity]):
                yield from _orphans(contract, "entity_id", ENTITY_KEYS[entity], table.name, f"entity = '{entity}' and ")


def _orphans(contract: Table, column: str, key: str, referenced: str, where: str = "") -> Iterator[Rule]:
    value = f"checked.{identifier(column)}"
    nobody = "" if where else f"{value} is not null and "
    condition = f"{where}{nobody}not exists (select 1 from {referenced} as known where known.{identifier(key)} = {value})"
    yield from broken_rows(
        contract, column, f"reference to {referenced}", condition, f"{where}{value} is not null",
        holds=f"every `{column}` is a key of {referenced}",
        wrong=f"{{rows}} with a `{column}` that {referenced} does not have",
        cost=f"they cannot be joined to {referenced} and {_lost(contract, referenced)}",
        repair=f"deliver those {referenced} too, or leave these rows out in the adapter's {contract.name}.sql",
    )  # fmt: skip


def _lost(contract: Table, referenced: str) -> str:
    entities = {table.name for table in ENTITY_TABLES.values()}
    whose = referenced in entities and contract.name not in entities
    return "count for nobody" if whose else f"nothing of {referenced} is known of them"


def _anybody(contract: Table, stored: StoredTable) -> Iterator[Rule]:
    """A table whose rows are about a lead or a customer: neither is required, one of them is."""
    owners = [column.name for column in contract.columns if column.name in ENTITY_KEYS.values()]
    if len(owners) < 2 or contract.key[0] in owners:
        return
    nobody = " and ".join(f"{identifier(owner)} is null" for owner in owners if owner in stored.columns) or "true"
    yield from broken_rows(
        contract, "", "owner", nobody, "true",
        holds=f"every row has a `{'` or a `'.join(owners)}`",
        wrong=f"{{rows}} without {_names(owners)}",
        cost="they belong to nobody and count for nobody",
        repair=f"let the adapter's {contract.name}.sql fill one of them, or leave these rows out",
    )  # fmt: skip


def _values(contract: Table) -> Iterator[Rule]:
    for column in contract.columns:
        if column.allowed:
            words = ", ".join(column.allowed)
            yield from tiers(Rule(
                contract.name, column.name, "allowed", "warning",
                "expect_column_values_to_be_in_set", {"column": column.name, "value_set": list(column.allowed)},
                holds=f"`{column.name}` is one of {words}",
                wrong=f"{{rows}} whose `{column.name}` is none of {words}",
                cost=f"features that count by `{column.name}` miss them",
                repair=f"map them to an allowed value in the adapter's {contract.name}.sql, or to null",
            ))  # fmt: skip
        if column.low is not None or column.high is not None:
            bounds = {"min_value": column.low, "max_value": column.high}
            limits = [
                f"{name} {limit:,g}" for name, limit in (("at least", column.low), ("at most", column.high)) if limit is not None
            ]
            words = " and ".join(limits)
            yield from tiers(Rule(
                contract.name, column.name, "range", "warning",
                "expect_column_values_to_be_between", {"column": column.name, **bounds},
                holds=f"`{column.name}` is {words}",
                wrong=f"{{rows}} whose `{column.name}` is not {words}",
                cost=f"sums and means of `{column.name}` are wrong for everybody they belong to",
                repair=f"look at the unit and the sign in the adapter's {contract.name}.sql; null is better than a wrong number",
            ))  # fmt: skip


def _times(contract: Table, now: datetime) -> Iterator[Rule]:
    until = now.replace(tzinfo=None)
    planned = contract.kind in ("period", "history")  # what will begin may be known before it does
    for name in ("known_at", contract.time):
        rule = Rule(
            contract.name, name, "future", "warning", "expect_column_values_to_be_between", {"column": name, "max_value": until},
            holds=f"`{name}` is not after {until}",
            wrong=f"{{rows}} whose `{name}` is after {until}, the instant up to which the data are known",
            cost="they are not seen before that instant; if the clock or the time zone is wrong, everything else is shifted too",
            repair="check `ingest.timezone` and `now` in foresell.toml, and the year in the export",
        )  # fmt: skip
        yield from [rule] if planned and name == contract.time else tiers(rule)
    later = [column.name for column in contract.columns if column.revealed_by == column.name]
    known_too_early = [] if planned else [("known_at", "they are seen only from their own time on")]
    for name, cost in known_too_early + [(name, f"durations up to `{name}` are negative") for name in later]:
        yield Rule(
            contract.name, name, "order of times", "warning", "expect_column_pair_values_a_to_be_greater_than_b",
            {"column_A": name, "column_B": contract.time, "or_equal": True, "ignore_row_if": "either_value_is_missing"},
            holds=f"`{name}` is not before `{contract.time}`",
            wrong=f"{{rows}} whose `{name}` is before `{contract.time}`",
            cost=cost,
            repair="correct the dates in the CRM; a few such rows do no harm",
        )  # fmt: skip
    yield Rule(
        contract.name, "known_at", "fresh", "warning", "expect_column_max_to_be_between",
        {"column": "known_at", "min_value": until - FRESH},
        holds=f"something became known within the last {FRESH.days} days",
        wrong=f"nothing became known since {{seen}}, more than {FRESH.days} days before {until}",
        cost="whatever happened since then counts as not having happened",
        repair="look whether this part of the export still runs",
    )  # fmt: skip


def _attributes(contract: Table, catalog: Catalog) -> Iterator[Rule]:
    """Of the attributes that features read from this table; those that change are read from their history."""
    repair = "fill it in the CRM, or take it out of `[attributes]`; the model can do without it"
    for name, attribute in catalog.attributes.get(contract.name, {}).items():
        if not (attribute.fixed and catalog.has(contract.name, name)):
            continue
        yield Rule(
            contract.name, name, "mostly missing", "warning",
            "expect_column_values_to_not_be_null", {"column": name, "mostly": 1 - MOSTLY_MISSING},
            holds=f"at least {1 - MOSTLY_MISSING:.0%} of the rows have `{name}`",
            wrong=f"{{rows}} without `{name}`",
            cost="it tells the model about a minority only",
            repair=repair,
        )  # fmt: skip
        yield Rule(
            contract.name, name, "constant", "warning",
            "expect_column_unique_value_count_to_be_between", {"column": name, "min_value": 2},
            holds=f"`{name}` has more than one value",
            wrong=f"`{name}` has {{seen}} distinct value(s)",
            cost="it cannot tell anybody apart",
            repair=repair,
        )  # fmt: skip


def _names(columns: list[str]) -> str:
    return " and ".join(", ".join(f"`{name}`" for name in columns).rsplit(", ", 1))
