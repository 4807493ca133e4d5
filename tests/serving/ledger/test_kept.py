"""What is kept of an entity's values reads back to the bit, packed or as the JSON of older releases."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime

import pandas as pd
import pytest

from features.record import Layout, Value, decode, encode
from serving.ledger.kept import Kept, packed, read

AS_OF = datetime(2018, 5, 15, tzinfo=UTC)
LAYOUT = Layout((("channel", "category"), ("visits", "number"), ("city", "category"), ("spent_%", "number")))
ROWS = [("web", 0.1 + 0.2, 'a "quoted"\n],[{', -0.0), (None, math.nan, "Österreich", math.inf), ("", 1e-320, None, 1e300)]


def records(layout: Layout = LAYOUT) -> list[Mapping[str, Value]]:
    frame = pd.DataFrame(ROWS, columns=[name for name, _ in LAYOUT.columns])
    return [decode(layout, data) for data in encode(layout, AS_OF, frame)]


def same(found: Value, value: Value) -> bool:
    if isinstance(value, float) and math.isnan(value):
        return found is None
    return repr(found) == repr(value)


@pytest.mark.parametrize("names", [("spent_%", "channel", "visits", "city"), ("visits",), ("city",), ()])
def test_values_of_records_read_back_to_the_bit(names: tuple[str, ...]) -> None:
    known = records()
    for values, data in zip(known, packed([Kept(one, names) for one in known]), strict=True):
        found = read(data)
        assert found.keys() == set(names) and all(same(found[name], values[name]) for name in names)


def test_values_that_are_no_record_are_kept_as_json() -> None:
    (data,) = packed([Kept({"visits": math.nan, "spent_%": math.inf, "city": "web"}, ("visits", "spent_%"))])
    assert json.loads(data) == {"visits": None, "spent_%": math.inf} == read(data)


def test_each_comes_back_in_its_place_however_they_are_mixed() -> None:
    first, second, third = records()
    other = records(Layout(LAYOUT.columns[:2]))[2]
    kept = [Kept(first, ("city",)), {"city": "bare"}, Kept(second, ("city",)), Kept(other, ("visits",)), Kept(third, ("city",))]
    assert [dict(read(data)) for data in packed(kept)] == [
        {"city": ROWS[0][2]}, {"city": "bare"}, {"city": "Österreich"}, {"visits": 1e-320}, {"city": None},
    ]  # fmt: skip


def test_what_an_older_release_kept_is_read() -> None:
    assert read(b'{"numbers":1.5,"categories":null}') == {"numbers": 1.5, "categories": None}
    assert read(None) == {} == read({})


def test_nobody_gives_packed_nobody() -> None:
    assert packed([]) == []


def test_kept_are_the_named_values_alone() -> None:
    kept = Kept(records()[0], ("visits",))
    assert dict(kept) == {"visits": 0.1 + 0.2} and "channel" not in kept
    with pytest.raises(KeyError):
        kept["channel"]
