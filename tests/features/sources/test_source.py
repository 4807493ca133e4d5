"""Pages of a source in which records change while they are read, and many have one time of change: nobody is lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import WorkspaceError
from features.remote.failure import Denied
from features.sources.source import Kind, Record, Window, chosen, instant, pages, text

START, UNIT = datetime(2026, 1, 1, tzinfo=UTC), timedelta(seconds=1)


class Shelf:
    """Records by key, of which some change after each question; their order within a unit of time is not that of their keys."""

    def __init__(self, times: list[int], changes: list[int], limit: int) -> None:
        self.times, self.changes, self.limit = dict(enumerate(times)), list(changes), limit
        self.now = max(times, default=0) + 1

    def ask(self, window: Window) -> list[Record]:
        found = [
            Record(key, START + at * UNIT, {"id": str(key)})
            for key, at in self.times.items()
            if (window.low is None or START + at * UNIT >= window.low)
            and (window.high is None or START + at * UNIT < window.high)
            and (window.after is None or key > window.after)
        ]
        order = (lambda one: one.key) if window.high else (lambda one: (one.modified, -one.key))
        found = sorted(found, key=order)[: self.limit]
        if self.changes and self.times:
            self.times[self.changes.pop() % len(self.times)] = self.now
            self.now += 1
        return found


@given(st.lists(st.integers(0, 4), max_size=40), st.lists(st.integers(0, 39), max_size=6), st.integers(1, 7))
def test_every_record_comes_and_its_last_state_by_the_next_pull(times: list[int], changes: list[int], limit: int) -> None:
    shelf = Shelf(times, changes, limit)
    came: dict[int, datetime] = {}
    for changes_left in (True, False):
        shelf.changes = shelf.changes if changes_left else []
        for page in pages(shelf.ask, limit, UNIT, max(came.values(), default=None)):
            assert 0 < len(page) <= limit
            came.update({record.key: record.modified for record in page})
        assert set(came) == set(shelf.times)
    assert came == {key: START + at * UNIT for key, at in shelf.times.items()}


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(0, 5), st.integers(1, 7))
def test_only_what_changed_since_comes_and_each_once(times: list[int], since: int, limit: int) -> None:
    shelf = Shelf(times, [], limit)
    came = [record.key for page in pages(shelf.ask, limit, UNIT, START + since * UNIT) for record in page]
    assert sorted(came) == [key for key, at in enumerate(times) if at >= since]


def test_a_time_of_change_that_is_none_is_told() -> None:
    assert instant("2026-01-01T00:00:01.000+0000") == START + UNIT
    with pytest.raises(Denied, match="none"):
        instant(None)


def test_values_are_told_as_a_text_file_has_them() -> None:
    assert [text(value) for value in (None, "a", True, False, 5, START)] == [None, "a", "true", "false", "5", START.isoformat()]


def test_names_of_files_are_compared_by_their_letters_and_a_wrong_one_is_told() -> None:
    child = Kind("LeadHistory", "", (), ("Id",), "CreatedDate")
    lead = Kind("Lead", "Lead", ("Id",), ("Id",), "SystemModstamp", (child,))
    (found,) = chosen([lead], frozenset({"lead", "lead_history"}), [], {"Lead": ["Size__c"]}, "[pull.crm]")
    assert (found.columns, found.children) == (("Id", "Size__c"), (child,))
    (found,) = chosen([lead], frozenset({"lead_history", "lead"}), ["LeadHistory"], {}, "[pull.crm]")
    assert found.children == ()
    with pytest.raises(WorkspaceError, match="write `Lead`"):
        chosen([lead], frozenset({"lead"}), [], {"Leed": ["x"]}, "[pull.crm]")
    with pytest.raises(WorkspaceError, match="an adapter that reads"):
        chosen([lead], frozenset({"customers"}), [], {}, "[pull.crm]")
