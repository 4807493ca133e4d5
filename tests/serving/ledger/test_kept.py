"""What is kept of an entity's values reads back to the bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

import pandas as pd
import pytest

from features.record import Layout, Value, Values, decode, encode
from serving.ledger.kept import Kept, packed

AS_OF = datetime(2018, 5, 15, tzinfo=UTC)
COLUMNS = (("channel", "category"), ("visits", "number"), ("city", "category"), ("spent_%", "number"))
LAYOUT = Layout(COLUMNS)
ROWS = [("web", 0.1 + 0.2, 'a "quoted"\n],[{', -0.0), (None, math.nan, "Österreich", math.inf), ("", 1e-320, None, 1e300)]
TEXTS, VISITS = Layout(COLUMNS[2:3]), Layout(COLUMNS[1:2])


def records(layout: Layout = LAYOUT) -> list[Values]:
    frame = pd.DataFrame(ROWS, columns=[name for name, _ in LAYOUT.columns])
    return [decode(layout, data) for data in encode(layout, AS_OF, frame)]


def told(layout: Layout, data: bytes | None) -> Mapping[str, Value]:
    assert data is not None
    return decode(layout, data)


@pytest.mark.parametrize("places", [(3, 0, 1, 2), (1,), (2,), ()])
def test_values_of_records_read_back_to_the_bit(places: tuple[int, ...]) -> None:
    layout, known = Layout(tuple(COLUMNS[place] for place in places)), records()
    for values, data in zip(known, packed([Kept(one, layout) for one in known]), strict=True):
        found = told(layout, data)
        assert found.keys() == {name for name, _ in layout.columns}
        assert all(repr(found[name]) == repr(values[name]) for name in found)


def test_values_that_are_no_record_are_packed_too() -> None:
    known = {"visits": None, "spent_%": 7, "city": "web", "channel": None}
    (data,) = packed([Kept(known, LAYOUT)])
    found = told(LAYOUT, data)
    assert math.isnan(float(str(found["visits"]))) and [found[one] for one in ("spent_%", "city", "channel")] == [
        7.0,
        "web",
        None,
    ]


def test_each_comes_back_in_its_place_however_they_are_mixed() -> None:
    first, second, third = records()
    other = records(Layout(COLUMNS[:2]))[2]
    kept = [
        Kept(first, TEXTS),
        second,
        Kept(second, TEXTS),
        None,
        Kept({"visits": 2.0}, VISITS),
        Kept(other, VISITS),
        Kept(third, TEXTS),
    ]
    layouts = [TEXTS, LAYOUT, TEXTS, None, VISITS, VISITS, TEXTS]
    found = [None if layout is None else dict(told(layout, data)) for layout, data in zip(layouts, packed(kept), strict=True)]
    assert repr(found) == repr([
        {"city": ROWS[0][2]}, dict(second), {"city": "Österreich"}, None, {"visits": 2.0}, {"visits": 1e-320}, {"city": None},
    ])  # fmt: skip


def test_nobody_gives_packed_nobody() -> None:
    assert packed([]) == []


def test_kept_are_the_named_values_alone() -> None:
    kept = Kept(records()[0], VISITS)
    assert dict(kept) == {"visits": 0.1 + 0.2} and "channel" not in kept and len(kept) == 1
    with pytest.raises(KeyError):
        kept["channel"]
