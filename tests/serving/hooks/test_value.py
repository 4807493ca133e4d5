"""What a CRM sends for an attribute becomes a value of its type, or is missing, or is no value; nothing is guessed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from serving.hooks.value import NotAValueError, value
from serving.newcomer import Type

AT = datetime(2026, 11, 22, 6, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("sent", "kind", "expected"),
    [
        (7, "number", 7.0),
        ("12.50", "number", 12.5),
        (" -1e3 ", "number", -1000.0),
        (True, "number", 1.0),
        (False, "number", 0.0),
        ("true", "number", 1.0),
        ("False", "number", 0.0),
        (".5", "number", 0.5),
        ("", "number", None),
        (None, "number", None),
        ("  ", "category", None),
        ([], "category", None),
        (" Web ", "category", "Web"),
        (7, "category", "7"),
        (7.0, "category", "7"),
        (7.5, "category", "7.5"),
        (True, "category", "true"),
        ([7, "Web"], "category", "Web"),
        ([7, " "], "category", "7"),
        ({"id": 7, "display_name": "Web"}, "category", "Web"),
        ({"id": 7}, "category", "7"),
        ("x" * 1_000, "category", "x" * 1_000),
        ("2026-11-22 06:07:30.752655", "timestamp", AT.replace(microsecond=752655)),
        ("2026-11-22T06:07:30Z", "timestamp", AT),
        ("2026-11-22T07:07:30+01:00", "timestamp", AT),
        ("2026-11-22T06:07:30.000+0000", "timestamp", AT),
        ("2026-11-22", "timestamp", datetime(2026, 11, 22, tzinfo=UTC)),
        (1795327650000, "timestamp", AT),
        ("1795327650000", "timestamp", AT),
        (1795327650000.0, "timestamp", AT),
        ("", "timestamp", None),
    ],
)
def test_a_value_is_read(sent: Any, kind: Type, expected: Any) -> None:
    found = value(sent, kind)
    assert found == expected and type(found) is type(expected)
    assert not isinstance(found, datetime) or found.tzinfo is UTC


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("NaN", "number"),
        (float("nan"), "number"),
        (float("inf"), "number"),
        ("inf", "number"),
        ("1_000", "number"),
        ("1,5", "number"),
        ("1e999", "number"),
        (10**400, "number"),
        ("٣", "number"),
        ([7, "Web"], "number"),
        ({}, "number"),
        (float("nan"), "category"),
        ([1, 2], "category"),
        ([[1], "x"], "category"),
        ([1, 2, 3], "category"),
        ({}, "category"),
        ("x" * 1_001, "category"),
        ("\ud800", "category"),
        ("a\x00", "category"),
        (1e300, "category"),
        (2.0**53, "category"),
        ("22/11/2026", "timestamp"),
        ("2026-11-31", "timestamp"),
        ("2026-W47-1", "timestamp"),
        ("0001-01-01T00:00:00+14:00", "timestamp"),
        ("9999-12-31", "timestamp"),
        ("1900-01-01", "timestamp"),
        (1795327650, "timestamp"),
        (True, "timestamp"),
        (1e300, "timestamp"),
        (float("nan"), "timestamp"),
        ([AT.isoformat()], "timestamp"),
        ("2026-11-22 25:00", "timestamp"),
        ("99999999999999", "timestamp"),
    ],
)
def test_what_is_no_value_is_not_guessed(sent: Any, kind: Type) -> None:
    with pytest.raises(NotAValueError):
        value(sent, kind)


@pytest.mark.parametrize("kind", ["number", "category", "timestamp"])
def test_false_is_missing_where_the_crm_means_so(kind: Type) -> None:
    assert value(False, kind, false_is_missing=True) is None
