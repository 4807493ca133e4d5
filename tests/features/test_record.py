"""The packed record: what goes in comes out, to the bit, and nothing is decoded with a layout it was not encoded with."""

import math
import struct
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ContractError
from features.feature import Dtype
from features.record import HEADER_SIZE, VERSION, Layout, categories, decode, encode, header, mismatch, pack

AS_OF = datetime(2018, 5, 15, 6, 30, 0, 1, tzinfo=UTC)
LAYOUT = Layout((("orders_count_30d", "number"), ("channel", "category"), ("days_since_last", "number"), ("country", "category")))


def frame(*rows: tuple[object, object, object, object]) -> pd.DataFrame:
    columns = [name for name, _ in LAYOUT.columns]
    typed = pd.DataFrame(list(rows), columns=columns, dtype=object)
    return typed.astype({name: "float64" for name in LAYOUT.numbers})


def bits(number: object) -> bytes:
    return struct.pack("<d", number)


def test_values_come_back_as_they_went_in() -> None:
    (data,) = encode(LAYOUT, AS_OF, frame((3.0, "email", 0.1 + 0.2, "Österreich")))
    assert decode(LAYOUT, data) == {
        "orders_count_30d": 3.0,
        "days_since_last": 0.1 + 0.2,
        "channel": "email",
        "country": "Österreich",
    }
    assert header(data) == (LAYOUT.digest, AS_OF)


def test_missing_is_not_empty() -> None:
    missing, empty = (
        decode(LAYOUT, data) for data in encode(LAYOUT, AS_OF, frame((np.nan, None, 0.0, np.nan), (0.0, "", 0.0, "")))
    )
    assert math.isnan(missing["orders_count_30d"])
    assert (missing["channel"], missing["country"]) == (None, None)
    assert (empty["channel"], empty["country"]) == ("", "")


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)
texts = st.none() | st.text(max_size=40)


@given(st.lists(st.tuples(numbers, texts, numbers, texts), max_size=20))
def test_any_value_survives_to_the_bit(rows: list[tuple[float, str | None, float, str | None]]) -> None:
    for row, data in zip(rows, encode(LAYOUT, AS_OF, frame(*rows)), strict=True):
        values = decode(LAYOUT, data)
        for name, value in zip([name for name, _ in LAYOUT.columns], row, strict=True):
            same = values[name] == value if not isinstance(value, float) else bits(values[name]) == bits(value)
            assert same or (isinstance(value, float) and math.isnan(value) and math.isnan(values[name]))
        assert list(values) == [*LAYOUT.numbers, *LAYOUT.categories]


def test_every_missing_number_has_the_same_bits() -> None:
    odd = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000123))[0]
    first, second = encode(LAYOUT, AS_OF, frame((odd, "a", 1.0, "b"), (np.nan, "a", 1.0, "b")))
    assert first == second


@pytest.mark.parametrize("only", ["number", "category"])
def test_a_layout_of_one_kind_only(only: str) -> None:
    layout = Layout(tuple(column for column in LAYOUT.columns if column[1] == only))
    (data,) = encode(layout, AS_OF, frame((1.0, "a", 2.0, None)))
    assert list(decode(layout, data).values()) == ([1.0, 2.0] if only == "number" else ["a", None])


def test_no_rows() -> None:
    assert encode(LAYOUT, AS_OF, frame()) == []


@pytest.mark.parametrize(
    "columns",
    [
        LAYOUT.columns[::-1],
        LAYOUT.columns[:3],
        (("orders_count_30d", "category"), *LAYOUT.columns[1:]),
        (("orders_count_90d", "number"), *LAYOUT.columns[1:]),
    ],
    ids=["order", "fewer", "dtype", "name"],
)
def test_another_layout_never_decodes(columns: tuple) -> None:
    (data,) = encode(LAYOUT, AS_OF, frame((1.0, "a", 2.0, "b")))
    with pytest.raises(ContractError, match=LAYOUT.digest.hex()):
        decode(Layout(columns), data)


def test_a_layout_survives_json() -> None:
    assert Layout.from_json(LAYOUT.to_json()) == LAYOUT


def test_a_frame_that_lacks_a_column_is_shown_as_a_line_diff() -> None:
    with pytest.raises(ContractError, match="- country") as caught:
        encode(LAYOUT, AS_OF, frame((1.0, "a", 2.0, "b")).drop(columns="country"))
    assert "- channel" not in str(caught.value)


def test_mismatch_names_what_lacks_and_what_is_too_much() -> None:
    error = mismatch("the record of customer 7", ["a", "b", "c"], ["a", "c", "d"])
    assert error.received.splitlines()[1:] == ["    - b", "    + d"]


@pytest.mark.parametrize("cut", [0, 10, 23, 24, 40, -1])
def test_a_damaged_record_is_refused(cut: int) -> None:
    (data,) = encode(LAYOUT, AS_OF, frame((1.0, "email", 2.0, "AT")))
    with pytest.raises(ContractError, match="whole record"):
        decode(LAYOUT, data[:cut])
    with pytest.raises(ContractError, match="whole record"):
        decode(LAYOUT, data + b"x")


@pytest.mark.parametrize("columns", [(("a", "number"), ("b", "number")), (("a", "number"), ("b", "category"))])
def test_a_record_that_ends_early_is_refused_every_time(columns: tuple[tuple[str, Dtype], ...]) -> None:
    layout, told = Layout(columns), pd.DataFrame({"a": [1.0], "b": [2.0 if columns[1][1] == "number" else "text"]})
    (data,) = encode(layout, AS_OF, told)
    for _ in range(2):
        for cut in range(1, len(data) - HEADER_SIZE):
            with pytest.raises(ContractError, match="whole record"):
                decode(layout, data[:-cut])
        assert decode(layout, data).whole() == told.to_dict("records")[0]


def test_an_unknown_version_is_refused() -> None:
    (data,) = encode(LAYOUT, AS_OF, frame((1.0, "email", 2.0, "AT")))
    with pytest.raises(ContractError, match=f"version {VERSION + 1}"):
        decode(LAYOUT, bytes([VERSION + 1]) + data[1:])


def test_values_are_a_mapping_of_what_was_encoded() -> None:
    (data,) = encode(LAYOUT, AS_OF, frame((3.0, "email", -0.0, None)))
    values = decode(LAYOUT, data)
    assert (
        dict(values) == values.whole() == {"orders_count_30d": 3.0, "days_since_last": 0.0, "channel": "email", "country": None}
    )
    assert len(values) == 4 and "channel" in values and "email" not in values and values.keys() >= {"country"}
    assert values.get("nothing") is None
    with pytest.raises(KeyError):
        values["nothing"]


def test_columns_of_categories_are_those_of_the_rows() -> None:
    rows = [decode(LAYOUT, data) for data in encode(LAYOUT, AS_OF, frame((1.0, "a", 2.0, None), (1.0, "b", 2.0, "AT")))]
    for known in (rows, [dict(row) for row in rows], [rows[0], dict(rows[1])]):
        assert categories(known, ["country", "channel"]) == [[None, "AT"], ["a", "b"]]
        assert categories(known, []) == []
    assert categories(rows, ["orders_count_30d"]) == [[1.0, 1.0]]  # whoever wants text says that these are numbers
    with pytest.raises(KeyError):
        categories(rows, ["nothing"])


@pytest.mark.parametrize("texts", [["x\0y", "x\0z", "x"], ["\0", "", None], ["é", "e\u0301", "É"], ["a"] * 3])
def test_texts_that_differ_anywhere_stay_apart(texts: list[str | None]) -> None:
    layout = Layout((("c", "category"),))
    for made in (encode(layout, AS_OF, pd.DataFrame({"c": texts})), pack(layout, AS_OF, np.empty((3, 0)), [texts])):
        assert [decode(layout, data)["c"] for data in made] == texts


def test_values_are_equal_by_their_bytes_or_as_mappings_are() -> None:
    layout = Layout((("n", "number"), ("c", "category")))
    now, missing = datetime(2026, 11, 26, tzinfo=UTC), pd.DataFrame({"n": [math.nan], "c": [None]})
    (data,), (other,) = encode(layout, now, missing), encode(layout, now, missing.assign(n=1.0))
    later = encode(layout, now + timedelta(days=1), missing.assign(n=1.0))[0]
    assert decode(layout, data) == decode(layout, bytes(bytearray(data))) != decode(layout, other)
    assert decode(layout, other) == decode(layout, later) == {"n": 1.0, "c": None} != {"n": 1.0}
