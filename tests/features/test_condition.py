from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.condition import Condition
from features.errors import CallError

VALUES: list[Any] = [None, -1.0, 0.0, 1.0, 30.0, float("nan")]
TEXTS: list[Any] = [None, "", "a", "b", "it's"]


@pytest.mark.parametrize(
    "text", ["x = 1", "x != 1", "x > 0", "x >= 1", "x < 30", "x <= 0", "x in (1, 30)", "x is null", "x is not null"]
)
@pytest.mark.parametrize("value", VALUES)
def test_sql_and_python_agree_on_numbers(text: str, value: float | None) -> None:
    condition = Condition.parse(text)
    stored = None if value is None or value != value else value
    assert condition.holds({"x": value}) == _in_sql(condition, stored, "double")


@pytest.mark.parametrize("text", ["x = 'a'", "x != 'a'", "x in ('a', 'it''s')", "x = 'it''s'", "x > 'a'", "x is null", "x != ''"])
@pytest.mark.parametrize("value", TEXTS)
def test_sql_and_python_agree_on_texts(text: str, value: str | None) -> None:
    condition = Condition.parse(text)
    assert condition.holds({"x": value}) == _in_sql(condition, value, "varchar")


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_sql_and_python_agree_on_any_two_numbers(left: float, right: float) -> None:
    condition = Condition("x", ">=", (right,))
    assert condition.holds({"x": left}) == _in_sql(condition, left, "double")


@pytest.mark.parametrize("value", [True, False, None])
def test_sql_and_python_agree_on_flags(value: bool | None) -> None:
    condition = Condition.parse("x = true")
    assert condition.holds({"x": value}) == _in_sql(condition, value, "boolean")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "x = ",
        "x == 1",
        "x = a",
        "x; drop table",
        "1 = 1",
        "x in 1",
        "x = 'a' or 1 = 1",
        "x in (1, y)",
        "x > nan",
        "x < inf",
    ],
)
def test_what_is_not_a_condition_is_refused(text: str) -> None:
    with pytest.raises(CallError, match="column op value"):
        Condition.parse(text)


def test_a_condition_reads_as_it_was_written() -> None:
    assert str(Condition.parse("tenure_days  >=  30")) == "tenure_days >= 30"


def _in_sql(condition: Condition, value: Any, kind: str) -> bool:
    row = (
        duckdb.connect()
        .execute(f"select coalesce({condition.sql()}, false) from (select cast(? as {kind}) as x)", [value])
        .fetchone()
    )
    assert row is not None
    return bool(row[0])
