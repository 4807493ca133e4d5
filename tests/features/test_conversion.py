"""Every type reads what its line in the table of conversions says, and nothing that would need a guess."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest

from features.conversion import Order, conversion, is_placeholder
from features.settings import IngestSettings
from features.tables import Type

POINT, COMMA = IngestSettings(), IngestSettings(decimal=",")
FAILS, MISSING = "fails", "missing"


def read(value: Any, source: str, target: Type, rules: IngestSettings = POINT, order: Order | None = None) -> Any:
    """One value read: the converted value, or whether it counts as missing or fails."""
    how = conversion('"v"', source, target, rules, order)
    with duckdb.connect() as connection:
        connection.execute("set TimeZone = 'America/Sao_Paulo'")
        row = connection.execute(
            f"select {how.value}, {how.missing}, {how.fails} from (select cast(? as {source}) as v)", [value]
        ).fetchone()
    assert row is not None
    converted, missing, fails = row
    assert not (missing and fails)
    return MISSING if missing else FAILS if fails else converted


@pytest.mark.parametrize(
    ("value", "source", "expected"),
    [
        (" a-1 ", "VARCHAR", "a-1"),
        ("  ", "VARCHAR", MISSING),
        ("007", "VARCHAR", "007"),
        ("None", "VARCHAR", "None"),
        (17850.0, "DOUBLE", "17850"),
        (math.nan, "DOUBLE", MISSING),
        (2.0**60, "DOUBLE", FAILS),
        (2**60, "BIGINT", str(2**60)),
        (True, "BOOLEAN", "true"),
    ],
)
@pytest.mark.parametrize("target", ["id", "category"])
def test_ids_and_categories(value: Any, source: str, expected: Any, target: Type) -> None:
    assert read(value, source, target) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2018-05-15", datetime(2018, 5, 15, 3)),
        ("2018-05-15T10:00", datetime(2018, 5, 15, 13)),
        ("2018/05/15 10:00:00.5", datetime(2018, 5, 15, 13, 0, 0, 500_000)),
        ("2018-05-15 10:00:00Z", datetime(2018, 5, 15, 10)),
        ("2018-05-15T10:00:00+02:00", datetime(2018, 5, 15, 8)),
        ("2018-05-15 10:00:00+0200", datetime(2018, 5, 15, 8)),
        ("20180515", datetime(2018, 5, 15, 3)),
        ("NaT", MISSING),
        (" n/a ", MISSING),
        ("2018-02-30", FAILS),
        ("15/05/2018", FAILS),
        ("15/05/18", FAILS),
        ("43235", FAILS),
        ("infinity", FAILS),
        ("epoch", FAILS),
        ("yesterday", FAILS),
    ],
)
def test_timestamps_from_text(text: str, expected: Any) -> None:
    assert read(text, "VARCHAR", "timestamp") == expected


@pytest.mark.parametrize(
    ("text", "order", "expected"),
    [
        ("03/04/2018", "day first", datetime(2018, 4, 3, 3)),
        ("03/04/2018", "month first", datetime(2018, 3, 4, 3)),
        ("3.4.2018 9:05", "day first", datetime(2018, 4, 3, 12, 5)),
        ("03-04-2018 09:05:06.5", "day first", datetime(2018, 4, 3, 12, 5, 6, 500_000)),
        ("04/03/2018 1:05 PM", "month first", datetime(2018, 4, 3, 16, 5)),
        ("2018-04-03", "day first", datetime(2018, 4, 3, 3)),
        ("13/13/2018", "day first", FAILS),
        ("03/04/18", "day first", FAILS),
    ],
)
def test_dates_that_begin_with_the_day_or_the_month(text: str, order: Order, expected: Any) -> None:
    assert read(text, "VARCHAR", "timestamp", order=order) == expected


@pytest.mark.parametrize(
    ("value", "source", "expected"),
    [
        (datetime(2018, 5, 15, 10), "TIMESTAMP", datetime(2018, 5, 15, 13)),
        (datetime(2018, 5, 15, 10), "TIMESTAMP_NS", datetime(2018, 5, 15, 13)),
        (datetime(2018, 5, 15), "DATE", datetime(2018, 5, 15, 3)),
        ("2018-05-15 10:00+00", "TIMESTAMP WITH TIME ZONE", datetime(2018, 5, 15, 10)),
        (20180515, "BIGINT", datetime(2018, 5, 15, 3)),
        (1526378400, "BIGINT", FAILS),
    ],
)
def test_timestamps_from_typed_columns(value: Any, source: str, expected: Any) -> None:
    assert read(value, source, "timestamp") == expected


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("1234.5", Decimal("1234.5"), FAILS),
        ("1234,5", FAILS, Decimal("1234.5")),
        ("1,234.50", Decimal("1234.5"), FAILS),
        ("1.234,50", FAILS, Decimal("1234.5")),
        ("1.234.567,8", FAILS, Decimal("1234567.8")),
        ("1,234", FAILS, Decimal("1.234")),
        ("1.234", Decimal("1.234"), FAILS),
        ("-.5", Decimal("-0.5"), FAILS),
        ("+1e3", Decimal(1000), Decimal(1000)),
        ("1_000", FAILS, FAILS),
        ("12 EUR", FAILS, FAILS),
        ("inf", FAILS, FAILS),
        ("nan", MISSING, MISSING),
        ("1" * 20, FAILS, FAILS),
    ],
)
def test_money_in_text_has_one_reading_or_none(text: str, point: Any, comma: Any) -> None:
    assert (read(text, "VARCHAR", "money"), read(text, "VARCHAR", "money", COMMA)) == (point, comma)


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (58.9, "DOUBLE", "money", Decimal("58.9")),
        (math.inf, "DOUBLE", "number", FAILS),
        (math.nan, "DOUBLE", "number", MISSING),
        (7, "INTEGER", "number", 7.0),
        ("12", "VARCHAR", "integer", 12),
        ("12.0", "VARCHAR", "integer", 12),
        ("12.5", "VARCHAR", "integer", FAILS),
        (12.5, "DOUBLE", "integer", FAILS),
        (12.0, "DOUBLE", "integer", 12),
        (Decimal("3.50"), "DECIMAL(18,2)", "money", Decimal("3.5")),
        ("2018-05-15", "DATE", "money", FAILS),
    ],
)
def test_numbers(value: Any, source: str, target: Type, expected: Any) -> None:
    assert read(value, source, target) == expected


@pytest.mark.parametrize(
    ("value", "source", "expected"),
    [
        ("Yes", "VARCHAR", True),
        (" f ", "VARCHAR", False),
        ("0", "VARCHAR", False),
        (1, "BIGINT", True),
        (1.0, "DOUBLE", True),
        (2, "BIGINT", FAILS),
        (False, "BOOLEAN", False),
        ("maybe", "VARCHAR", FAILS),
        ("", "VARCHAR", MISSING),
    ],
)
def test_flags(value: Any, source: str, expected: Any) -> None:
    assert read(value, source, "flag") == expected


@pytest.mark.parametrize(
    ("instant", "expected"),
    [
        ("1900-12-31 23:59:59", True),
        ("1901-01-01", False),
        ("2098-12-31 23:59:59.999999", False),
        ("2099-01-01", True),
        ("infinity", True),
        ("-infinity", True),
    ],
)
def test_placeholders_begin_and_end_with_a_year(instant: str, expected: bool) -> None:
    with duckdb.connect() as connection:
        row = connection.execute(f"select {is_placeholder('i')} from (select timestamp '{instant}' as i)").fetchone()
    assert row == (expected,)
