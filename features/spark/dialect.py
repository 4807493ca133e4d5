"""DuckDB's SQL in Spark's words: sqlglot translates, and here stands what it leaves or gets wrong, each tested on data."""

from __future__ import annotations

import re

from sqlglot import exp, parse_one

# what DuckDB reads as a number; Java, whose reader Spark takes, would also read 5d and 5f
_NUMBER = r"^\s*[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan)\s*$"


def spark_sql(sql: str) -> str:
    """One statement that DuckDB runs, as Spark runs it, with times in UTC and equal to the bit wherever arithmetic is exact."""
    tree = parse_one(sql, read="duckdb")
    for node in reversed(list(tree.dfs())):  # the innermost first, so that what is copied has been translated
        node.replace(_in_spark(node))
    return tree.sql(dialect="spark")


def _in_spark(node: exp.Expr) -> exp.Expr:
    match node:
        case exp.Anonymous():
            return _function(node)
        case exp.DayOfWeekIso():  # sqlglot 30 makes Monday the third day of it
            return exp.Add(this=exp.func("WEEKDAY", node.this), expression=exp.Literal.number(1))
        case exp.TryCast() if node.to.is_type("double"):
            return _number(node)
        case exp.Literal() if not node.is_string and re.search(r"[.eE]", node.this):
            return exp.cast(exp.Literal.string(node.this), "double")  # 86400000000.0 is a decimal to Spark, and its quotient too
    return node


def _function(node: exp.Anonymous) -> exp.Expr:
    """DuckDB's functions that sqlglot does not know."""
    match node.name.lower():
        case "epoch_us":
            return exp.func("UNIX_MICROS", exp.cast(node.expressions[0], "timestamptz"))
        case "arg_max_null":  # with ties broken by the row's key, and a null taken for a value, as there
            return exp.func("MAX_BY", *node.expressions)
        case "row":
            return exp.func("STRUCT", *node.expressions)
        case "hash":  # Spark's passes over nulls, so that a value could move to the next column unseen
            parts = [part for each in node.expressions for part in (each, exp.Is(this=each.copy(), expression=exp.Null()))]
            return exp.cast(exp.func("XXHASH64", *parts), "decimal(20, 0)")
    return node


def _number(node: exp.TryCast) -> exp.Expr:
    text = node.this
    reads = exp.RegexpLike(this=text.copy(), expression=exp.Literal.string(_NUMBER))
    return exp.Case(ifs=[exp.If(this=reads, true=node.copy())])
