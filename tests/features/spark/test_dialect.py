"""The corrections that Spark needs, as text; tests/test_engines.py runs them on data."""

from __future__ import annotations

import pytest

from features.spark.dialect import spark_sql


@pytest.mark.parametrize(
    ("duckdb", "spark"),
    [
        ("select isodow(a)", "SELECT WEEKDAY(a) + 1"),
        ("select epoch_us(a)", "SELECT UNIX_MICROS(CAST(a AS TIMESTAMP))"),
        ("select 1 / 86400000000.0", "SELECT 1 / CAST('86400000000.0' AS DOUBLE)"),
        ("select a > 0.1e0", "SELECT a > CAST('0.1e0' AS DOUBLE)"),
        ("select a >= 30", "SELECT a >= 30"),
        ("select a = '0.5'", "SELECT a = '0.5'"),
        (
            "select arg_max_null(v, row(t, k)) filter (where w = 'o''k\\n')",
            "SELECT MAX_BY(v, STRUCT(t, k)) FILTER(WHERE w = 'o\\'k\\\\n')",
        ),
        ("select hash(a, 'b')", "SELECT CAST(XXHASH64(a, a IS NULL, 'b', 'b' IS NULL) AS DECIMAL(20, 0))"),
    ],
)
def test_what_sqlglot_leaves_or_gets_wrong_is_put_right(duckdb: str, spark: str) -> None:
    assert spark_sql(duckdb) == spark


def test_a_text_is_a_number_only_where_duckdb_takes_it_for_one() -> None:
    """Java would read 5d as 5; and what is inside is translated, too."""
    found = spark_sql("select try_cast(arg_max_null(v, row(t)) as double)")
    assert found.startswith("SELECT CASE WHEN MAX_BY(v, STRUCT(t)) RLIKE '")
    assert found.endswith("THEN TRY_CAST(MAX_BY(v, STRUCT(t)) AS DOUBLE) END")


def test_times_have_no_zone_as_in_the_tables() -> None:
    assert "AS TIMESTAMP_NTZ)" in spark_sql("select timestamp '2018-05-15 00:00:00.000001'")
