"""The reader joins what is stored with what a request says, and says of each feature from where, and from when, it is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest

from features.errors import ContractError, StoreError
from features.record import Record
from features.settings import Workspace
from serving.answer import Call
from serving.office import Office
from serving.reader import Ask, Reader
from serving.score import Score
from tests.serving.shop import NOW

CALL = Call("test", None, "http")
FRESH_FOR = timedelta(hours=36)
TICK = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def office(shop: Workspace) -> Iterator[Office]:
    opened = Office(shop)
    yield opened
    opened.stop()


def one(reader: Reader, ask: Ask) -> Record:
    (found,) = reader.known([ask], NOW)
    assert isinstance(found, Record)
    return found


def score(office: Office, ask: Ask, after: timedelta) -> Score:
    ((answer,),) = office.answer(["lead-conversion"], [ask], NOW + after, CALL)
    return answer.score


def test_an_id_alone_is_what_is_stored(office: Office) -> None:
    found = one(office.readers["lead"], Ask("L0001"))
    assert found.entity_id == "L0001" and found.as_of == NOW and not found.given


def test_an_unknown_id_is_nobody_unless_enough_is_said_for_somebody_new(office: Office) -> None:
    reader = office.readers["lead"]
    assert reader.known([Ask("L9999")], NOW) == [None]
    later = NOW + timedelta(hours=1)
    (new,) = reader.known([Ask("L9999", {"origin": "web"}, may_be_new=True)], later)
    assert isinstance(new, Record) and (new.entity_id, new.as_of, new.values["lead_origin"]) == ("L9999", later, "web")
    assert new.values["interactions_count_30d"] == 0.0 and new.values["interactions_days_since_last"] is None


def test_what_is_said_goes_over_what_is_stored_and_is_marked_as_given(office: Office) -> None:
    reader = office.readers["lead"]
    stored, told = one(reader, Ask("L0001")), one(reader, Ask("L0001", {"origin": "tv", "budget": None}))
    assert told.given == {"lead_origin", "lead_budget"} and told.as_of == NOW
    assert {name for name in told.values if repr(told.values[name]) != repr(stored.values[name])} <= told.given
    same = one(reader, Ask("L0001", {"origin": stored.values["lead_origin"]}))
    assert same.given == {"lead_origin"}  # it was said, though it is the same
    assert reader.told(Ask("L0001", {"origin": "tv"}), NOW) == {"lead_origin": "tv"}


def test_one_id_asked_about_twice_is_read_once_and_told_twice(office: Office) -> None:
    reader = office.readers["lead"]
    first, second, third = reader.known([Ask("L0001"), Ask("L0001", {"origin": "tv"}), Ask("L0002")], NOW)
    assert isinstance(first, Record) and isinstance(second, Record) and isinstance(third, Record)
    assert (first.values["lead_origin"] != "tv", second.values["lead_origin"], third.entity_id) == (True, "tv", "L0002")


class Damaged:
    """An online store in which one record cannot be read, as the real one says so: of all that were asked for together."""

    def __init__(self, bad: str) -> None:
        self.bad, self.calls = bad, 0

    def require(self, entity: str) -> None:
        """There is a place."""

    def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
        self.calls += 1
        if self.bad in ids:
            raise ContractError(f"record of {self.bad}", expected="a record", received="none", repair="write it anew")
        return [Record(each, NOW, {}) for each in ids]


def test_attributes_alone_ask_the_store_nothing(office: Office) -> None:
    store = Damaged("")
    reader = Reader(store, office.readers["lead"]._views, "lead")  # type: ignore[arg-type]
    assert one(reader, Ask(None, {"budget": 5.0}, may_be_new=True)).values["lead_budget"] == 5.0 and store.calls == 0


@pytest.mark.parametrize("place", [0, 1, 63, 64, 99])
def test_one_damaged_record_among_a_hundred_is_found_in_few_looks(place: int) -> None:
    store = Damaged(f"L{place}")
    found = Reader(store, (), "lead").known([Ask(f"L{i}") for i in range(100)], NOW)  # type: ignore[arg-type]
    assert [isinstance(each, ContractError) for each in found] == [i == place for i in range(100)] and store.calls < 20


def test_while_the_store_fails_newcomers_are_read_and_others_hear_so(office: Office) -> None:
    class Away(Damaged):
        def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
            self.calls += 1
            raise StoreError("the online store", expected="an answer", received="none", repair="wait")

    store = Away("")
    reader = Reader(store, (), "lead")  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(StoreError):
            reader.known([Ask("L1")], NOW)
    assert store.calls == 1 and reader.breaker.failure is not None
    assert len(reader.known([Ask(None, {}, may_be_new=True)], NOW)) == 1


@pytest.mark.parametrize(("after", "is_stale"), [(timedelta(0), False), (FRESH_FOR, False), (FRESH_FOR + TICK, True)])
def test_features_are_stale_from_the_microsecond_on_after_which_they_are_no_longer_fresh(
    office: Office, after: timedelta, is_stale: bool
) -> None:
    columns = office.desk("lead-conversion").scorer.model.columns
    lead = next(f"L{i:04d}" for i in range(300) if score(office, Ask(f"L{i:04d}"), timedelta(0)).score is not None)
    whole, told = score(office, Ask(lead), after), score(office, Ask(lead, {"origin": "web"}, True), after)
    assert whole.stale == (columns if is_stale else ())
    assert told.stale == (tuple(name for name in columns if name != "lead_origin") if is_stale else ())
    assert whole.feature_as_of == told.feature_as_of == NOW and whole.scored_at == NOW + after


def test_a_newcomer_is_never_stale_and_tells_what_is_missing_and_unseen(office: Office) -> None:
    new = score(office, Ask(None, {"origin": "a fair nobody heard of"}, True), timedelta(days=400))
    assert new.stale == () and new.feature_as_of == new.scored_at and new.unseen == ("lead_origin",)
    assert new.missing == ("lead_budget", "interactions_days_since_last", "channel_latest")
    assert score(office, Ask(None, {"origin": None, "budget": 1.0}, True), timedelta(0)).missing == (
        "lead_origin", "interactions_days_since_last", "channel_latest",
    )  # fmt: skip
