"""Measuring rules in DuckDB: one pass over a table for the rules about its rows, one query for each that needs more than a row.

Every rule is a Great Expectations expectation; what is measured here are the metrics that GX judges it by. GX itself would
read the table into memory, at about thirty times the cost. `holds` gives the verdict GX gives: a test runs stock GX beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb

from features.database import identifier, quote
from features.rule import Rule
from features.tables import TABLES

EXAMPLES = 5
Arguments = Mapping[str, Any]


@dataclass(frozen=True)
class Fact:
    """What was measured for one rule.

    Attributes:
        rows: the rows of the table.
        considered: the rows the rule is about; a missing value breaks only the rule that demands a value.
        offending: the rows that break it.
        observed: the number, instant or type that a rule about a whole column or table looks at.
        examples: the first five offending rows by key (their key and the columns concerned), when the rule does not hold.
    """

    rows: int
    considered: int = 0
    offending: int = 0
    observed: Any = None
    examples: tuple[dict[str, Any], ...] = ()


def measure(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> list[Fact]:
    """Measure the rules of one table, in their order. The connection knows the tables by their names.

    Raises:
        duckdb.Error: the table cannot be read.
    """
    columns = {name: kind.split("(")[0] for name, kind, *_ in connection.execute(f"describe {rules[0].table}").fetchall()}
    facts = [_count(connection, rule, fact, columns) for rule, fact in zip(rules, _in_one_pass(connection, rules), strict=True)]
    return [
        fact if holds(rule, fact) or not fact.offending else replace(fact, examples=_examples(connection, rule))
        for rule, fact in zip(rules, facts, strict=True)
    ]


def holds(rule: Rule, fact: Fact) -> bool:
    """Whether the rule holds: where no row is concerned nothing is broken; a column without values has no maximum."""
    match rule.expectation:
        case "expect_column_to_exist":
            return fact.observed is not None
        case "expect_column_type_to_be":
            return bool(fact.observed == rule.arguments["type_"])
        case "unexpected_rows_expectation":
            return fact.offending == 0
        case kind if kind in _OBSERVED:
            return fact.observed is not None and bool(fact.observed >= rule.arguments["min_value"])
        case _:
            mostly = rule.arguments.get("mostly", 1.0)
            return not fact.considered or bool((fact.considered - fact.offending) / fact.considered >= mostly)


def _in_one_pass(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> list[Fact]:
    measured = ["count(*)"]
    for rule in rules:
        considered, offending = _ROWS.get(rule.expectation, _nothing)(rule.arguments)
        observed = _OBSERVED.get(rule.expectation, _nothing_observed)(rule.arguments)
        measured += [f"count(*) filter (where {considered})", f"count(*) filter (where {offending})", observed]
    rows, *values = connection.execute(f"select {', '.join(measured)} from {rules[0].table}").fetchall()[0]
    return [Fact(rows, *values[start : start + 3]) for start in range(0, len(values), 3)]


def _count(connection: duckdb.DuckDBPyConnection, rule: Rule, fact: Fact, columns: Mapping[str, str]) -> Fact:
    """The fact, completed by what one pass over the table cannot tell."""
    match rule.expectation:
        case "expect_column_to_exist" | "expect_column_type_to_be":
            return replace(fact, observed=columns.get(rule.column))
        case "unexpected_rows_expectation":
            return replace(fact, considered=fact.rows, offending=_one(connection, f"select count(*) from ({_query(rule)})"))
        case "expect_compound_columns_to_be_unique":
            repeated = f"select coalesce(sum(times), 0) from ({_repeated(rule)})"
            return replace(fact, considered=fact.rows, offending=int(_one(connection, repeated)))
        case _:
            return fact


def _examples(connection: duckdb.DuckDBPyConnection, rule: Rule) -> tuple[dict[str, Any], ...]:
    match rule.expectation:
        case "unexpected_rows_expectation":
            query = f"select * from ({_query(rule)})"
        case "expect_compound_columns_to_be_unique":
            query = _repeated(rule)
        case _:
            offending = _ROWS[rule.expectation](rule.arguments)[1]
            concerned = (rule.arguments.get(name) for name in ("column", "column_A", "column_B"))
            shown = dict.fromkeys([*TABLES[rule.table].key, *(column for column in concerned if column)])
            query = f"select {', '.join(map(identifier, shown))} from {rule.table} where {offending}"
    found = connection.execute(f"{query} order by all limit {EXAMPLES}")
    names = [column[0] for column in found.description]
    return tuple(dict(zip(names, row, strict=True)) for row in found.fetchall())


def _query(rule: Rule) -> str:
    return str(rule.arguments["unexpected_rows_query"]).format(batch=rule.table)


def _repeated(rule: Rule) -> str:
    keys = ", ".join(map(identifier, rule.arguments["column_list"]))
    return f"select {keys}, count(*) as times from {rule.table} group by {keys} having count(*) > 1"


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.execute(query).fetchall()[0][0]


def _not_null(arguments: Arguments) -> tuple[str, str]:
    return "true", f"{identifier(arguments['column'])} is null"


def _in_set(arguments: Arguments) -> tuple[str, str]:
    column = identifier(arguments["column"])
    return f"{column} is not null", f"{column} not in ({', '.join(_literal(value) for value in arguments['value_set'])})"


def _between(arguments: Arguments) -> tuple[str, str]:
    column, lowest, highest = identifier(arguments["column"]), arguments.get("min_value"), arguments.get("max_value")
    below = "false" if lowest is None else f"{column} < {_literal(lowest)}"
    above = "false" if highest is None else f"{column} > {_literal(highest)}"
    return f"{column} is not null", f"{below} or {above}"


def _in_order(arguments: Arguments) -> tuple[str, str]:
    later, earlier = identifier(arguments["column_A"]), identifier(arguments["column_B"])
    return f"{later} is not null and {earlier} is not null", f"{later} < {earlier}"


def _nothing(arguments: Arguments) -> tuple[str, str]:
    return "false", "false"


def _nothing_observed(arguments: Arguments) -> str:
    return "null"


def _literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat()}'"
    return f"'{quote(value)}'" if isinstance(value, str) else repr(value)


_ROWS: dict[str, Callable[[Arguments], tuple[str, str]]] = {  # SQL: which rows a rule is about, and which of them break it
    "expect_column_values_to_not_be_null": _not_null,
    "expect_column_values_to_be_in_set": _in_set,
    "expect_column_values_to_be_between": _between,
    "expect_column_pair_values_a_to_be_greater_than_b": _in_order,
}
_OBSERVED: dict[str, Callable[[Arguments], str]] = {  # SQL: the one number or instant that a rule looks at
    "expect_table_row_count_to_be_between": lambda arguments: "count(*)",
    "expect_column_max_to_be_between": lambda arguments: f"max({identifier(arguments['column'])})",
    "expect_column_unique_value_count_to_be_between": lambda arguments: f"count(distinct {identifier(arguments['column'])})",
}
