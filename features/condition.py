"""A condition: `column op value`, parsed once and never evaluated as code.

The same parsed condition filters a feature's events (SQL), decides who is eligible in a snapshot (SQL) and decides who is
eligible for a single record in the service (Python), so that training and serving cannot disagree.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from features.errors import CallError

OPERATORS = ("=", "!=", ">", ">=", "<", "<=", "in", "is null", "is not null")
Value = str | float | bool
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CONDITION = re.compile(
    r"^\s*(?P<column>[a-z_][a-z0-9_]*)\s*"
    r"(?:(?P<nullness>is\s+not\s+null|is\s+null)|(?P<op>!=|>=|<=|=|>|<|in\b)\s*(?P<value>.+?))\s*$"
)

_ITEM = r"'(?:[^']|'')*'|[^,'\s()]+"
_LIST = re.compile(rf"\(\s*(?:{_ITEM})\s*(?:,\s*(?:{_ITEM})\s*)*\)")


@dataclass(frozen=True)
class Condition:
    """One parsed condition. `values` is empty for null tests and has one element unless the operator is `in`."""

    column: str
    operator: str
    values: tuple[Value, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Parse `column op value`; strings in single quotes, lists as `in ('a', 'b')`, also `is null` and `is not null`.

        Raises:
            CallError: the text is not a condition.
        """
        match = _CONDITION.match(text)
        if match is None:
            raise _not_a_condition(text)
        if match["nullness"]:
            return cls(match["column"], " ".join(match["nullness"].split()))
        if match["op"] == "in":
            return cls(match["column"], "in", _parse_list(match["value"], text))
        return cls(match["column"], match["op"], (_parse_value(match["value"], text),))

    def sql(self) -> str:
        """The condition as DuckDB SQL."""
        column = f'"{self.column}"'
        if not self.values:
            return f"{column} {self.operator}"
        literals = [_literal(value) for value in self.values]
        if self.operator == "in":
            return f"{column} in ({', '.join(literals)})"
        return f"{column} {'is distinct from' if self.operator == '!=' else self.operator} {literals[0]}"

    def holds(self, row: Mapping[str, object]) -> bool:
        """Whether the condition holds for one row. A missing value differs from every value; no other comparison holds for it.

        Raises:
            KeyError: the row has no such column.
        """
        value = row[self.column]
        missing = is_missing(value)
        if not self.values:
            return missing == (self.operator == "is null")
        return self.operator == "!=" if missing else self._compare(value)

    def _compare(self, value: object) -> bool:
        if self.operator == "in":
            return value in self.values
        other = self.values[0]
        if self.operator in ("=", "!="):
            return (value == other) == (self.operator == "=")
        compare = _COMPARED[self.operator]
        if isinstance(other, str):
            return compare(str(value), other)
        return compare(value if isinstance(value, float) else float(str(value)), float(other))

    def __str__(self) -> str:
        if not self.values:
            return f"{self.column} {self.operator}"
        words = [_word(value) for value in self.values]
        listed = ", ".join(words)
        return f"{self.column} {self.operator} {f'({listed})' if self.operator == 'in' else listed}"


def is_missing(value: object) -> bool:
    """Whether nothing is known."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _parse_list(text: str, whole: str) -> tuple[Value, ...]:
    if not _LIST.fullmatch(text):
        raise _not_a_condition(whole)
    return tuple(_parse_value(item, whole) for item in re.findall(_ITEM, text[1:-1]))


def _parse_value(text: str, whole: str) -> Value:
    if re.fullmatch(r"'(?:[^']|'')*'", text):
        return text[1:-1].replace("''", "'")
    if text in ("true", "false"):
        return text == "true"
    try:
        number = float(text)
    except ValueError:
        raise _not_a_condition(whole) from None
    if not math.isfinite(number):
        raise _not_a_condition(whole)
    return number


def _literal(value: Value) -> str:
    return f"{_word(value)}e0" if _is_fraction(value) and "e" not in _word(value) else _word(value)


def _is_fraction(value: Value) -> bool:
    """DuckDB reads 0.1 as a decimal and 0.1e0 as the double it is compared with."""
    return isinstance(value, float) and not isinstance(value, bool) and "." in _word(value)


def _word(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else repr(float(value))


def _not_a_condition(text: str) -> CallError:
    return CallError(
        f"condition {text!r}",
        expected=f"`column op value` with op one of {', '.join(OPERATORS)}; strings in single quotes",
        received=repr(text),
        repair="write for example `tenure_days >= 30` or `channel in ('email', 'web')`",
    )
