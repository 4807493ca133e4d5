"""How a delivered value becomes a value of the contract: SQL expressions, one per type, that never guess.

| type | text that is read |
| --- | --- |
| id, category | as it is, without blanks around it; a blank is missing; in a column of numbers 17850.0 is 17850 |
| timestamp | ISO, with or without a zone (2018-05-15, 2018-05-15T10:00:00+02:00); 20180515; 25/12/2018 or 25.12.2018 with an optional time, if the order of day and month is certain; without a zone it is local to `timezone` |
| money, number | 1234.5, 1,234.50 with `decimal = "."`; 1234,5, 1.234,50 with `decimal = ","`; 1,234 alone could be either and is refused |
| integer | the same, without a fraction |
| flag | true/false, t/f, yes/no, y/n, 1/0, in any case |

In types other than id and category a blank, null, none, nan, nat and n/a are missing. Expressions are for a connection whose
TimeZone is the export's, which is what makes a time without a zone local.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from features.settings import IngestSettings
from features.tables import SQL_TYPES, Type

Family = Literal["text", "time", "whole", "fraction", "flag"]
Order = Literal["day first", "month first"]

EXAMPLES: Mapping[Type, str] = {
    "id": "an id",
    "category": "text",
    "timestamp": "a date or time, such as 2018-05-15 or 2018-05-15T10:00:00+02:00",
    "money": "an amount, such as 1234.50",
    "number": "a number, such as 12.5",
    "integer": "a whole number, such as 12",
    "flag": "true or false, yes or no, 1 or 0",
}
EARLIEST, LATEST = 1900, 2099  # years up to and from which a date is a placeholder for "none" or "for ever"

_MISSING = "('', 'null', 'none', 'nan', 'nat', 'n/a')"
_TRUE, _FALSE = "('true', 't', 'yes', 'y', '1')", "('false', 'f', 'no', 'n', '0')"
_SAFE = 2**53  # whole numbers up to here are exact in a floating-point column
_FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE"), "time"),
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "whole"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "whole"),
    **dict.fromkeys(("FLOAT", "DOUBLE", "DECIMAL"), "fraction"),
    "BOOLEAN": "flag",
}
_ORDERS: Mapping[Order, str] = {"day first": "%d/%m/%Y", "month first": "%m/%d/%Y"}
_CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")


@dataclass(frozen=True)
class Conversion:
    """Two SQL expressions over one delivered column: the value in the contract's type, and whether the raw value says "missing".

    A row fails where the value is null and nothing is missing.
    """

    value: str
    missing: str

    @property
    def fails(self) -> str:
        return f"case when ({self.value}) is null then not ({self.missing}) else false end"

    @property
    def is_empty(self) -> str:
        return f"case when ({self.value}) is null then {self.missing} else false end"


def conversion(column: str, source: str, target: Type, rules: IngestSettings, order: Order | None = None) -> Conversion:
    """How a column of DuckDB type `source` is read as `target`; `column` is an SQL identifier.

    `order` is how dates such as 01/02/2018 are read; None reads only dates that need no order.
    """
    kind = family(source)
    text = as_text(column, kind)
    if target in ("id", "category"):
        return Conversion(f"nullif({text}, '')", f"{column} is null or trim(cast({column} as varchar)) in ('', 'nan')")
    missing = f"{column} is null or lower({text}) in {_MISSING}" if kind == "text" else _missing(column, kind)
    return Conversion(_value(column, text, kind, target, rules, order), missing)


def family(source: str) -> Family:
    """What kind of values a DuckDB type holds; everything unfamiliar is read through its text."""
    return _FAMILIES.get(source.partition("(")[0], "text")


def is_placeholder(value: str) -> str:
    """Whether a timestamp expression is a date that stands for "none" or "for ever"."""
    return f"(not isfinite({value}) or year({value}) <= {EARLIEST} or year({value}) >= {LATEST})"


def has_order(column: str) -> str:
    """Whether a text value is a date that begins with the day or the month."""
    return rf"regexp_matches(trim({column}), '^\d{{1,2}}[./-]\d{{1,2}}[./-]\d{{4}}(\D|$)')"


def ordered(column: str, order: Order) -> str:
    """A text date that begins with the day or the month, read in that order; null where that is impossible."""
    slashed = rf"regexp_replace(trim({column}), '^(\d{{1,2}})[./-](\d{{1,2}})[./-](\d{{4}})', '\1/\2/\3')"
    formats = ", ".join(f"'{_ORDERS[order]}{clock}'" for clock in _CLOCKS)
    return f"case when {has_order(column)} then try_strptime({slashed}, [{formats}]) end"


def as_text(column: str, kind: Family) -> str:
    """A column as text without blanks around it; a whole number in a column of fractions has no fraction."""
    if kind == "fraction":
        whole = f"when {column} = trunc({column}) then cast(cast({column} as hugeint) as varchar)"
        return f"case when abs({column}) > {_SAFE} then null {whole} else cast({column} as varchar) end"
    return f"trim(cast({column} as varchar))"


def _missing(column: str, kind: Family) -> str:
    return f"{column} is null or isnan(cast({column} as double))" if kind == "fraction" else f"{column} is null"


def _value(column: str, text: str, kind: Family, target: Type, rules: IngestSettings, order: Order | None) -> str:
    if target == "timestamp":
        return _time(column, text, kind, order)
    if target == "flag":
        return (
            column
            if kind == "flag"
            else f"case when lower({text}) in {_TRUE} then true when lower({text}) in {_FALSE} then false end"
        )
    if kind in ("whole", "fraction"):
        return _number(column, f"isfinite(cast({column} as double))", target)
    return _number(f"({_digits(text, rules.decimal)})", "true", target)


def _time(column: str, text: str, kind: Family, order: Order | None) -> str:
    """Microseconds in UTC; a time without a zone is local to the connection's TimeZone."""
    if kind == "time":
        return f"try_cast({column} as timestamptz) at time zone 'UTC'"
    iso = rf"case when regexp_matches({text}, '^\d{{4}}[-/]\d') then try_cast({text} as timestamptz) end"
    compact = rf"case when regexp_matches({text}, '^\d{{8}}$') then cast(try_strptime({text}, '%Y%m%d') as timestamptz) end"
    spoken = f", cast({ordered(text, order)} as timestamptz)" if order else ""
    return f"coalesce({iso}, {compact}{spoken}) at time zone 'UTC'"


def _number(number: str, sound: str, target: Type) -> str:
    fits = f"{sound} and try_cast({number} as double) = trunc(try_cast({number} as double))" if target == "integer" else sound
    return f"case when {fits} then try_cast({number} as {SQL_TYPES[target]}) end"


def _digits(text: str, decimal: str) -> str:
    """Text as a plain number; null where the text is none, or where its one mark could group or divide."""
    group = "," if decimal == "." else "."
    mark, grouping = f"[{decimal}]", f"[{group}]"
    pattern = rf"[+-]?(\d+({mark}\d*)?|{mark}\d+|\d{{1,3}}({grouping}\d{{3}})+{mark}\d+)([eE][+-]?\d+)?"
    plain = f"replace(replace({text}, '{group}', ''), '{decimal}', '.')"
    return f"case when regexp_full_match({text}, '{pattern}') then {plain} end"
