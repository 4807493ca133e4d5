"""A desk answers about everybody it is asked about; what is wrong with one record stays with that one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence

import pandas as pd
import pytest

from features import store
from features.catalog import Catalog
from features.errors import StoreError
from features.online import write_layout
from features.record import Layout, encode
from features.settings import Workspace
from features.views import feature_map, views
from serving.answer import Call
from serving.desk import Desk
from serving.office import Office
from serving.reader import Ask
from serving.score import Score
from tests.serving.shop import NOW

CALL = Call("test", None, "http")


@pytest.fixture
def office(filled: Workspace) -> Iterator[Office]:
    opened = Office(filled)
    yield opened
    opened.stop()


def answers(office: Office, name: str, asks: Sequence[Ask]) -> list[Score]:
    (part,) = office.answer([name], asks, NOW, CALL)
    return [answer.score for answer in part]


def test_a_record_that_is_older_than_a_feature_is_no_obstacle_to_the_others(filled: Workspace, office: Office) -> None:
    online = store.Online(filled)
    (fresh,) = online.read("lead", ["L0001"])
    assert fresh is not None
    features = feature_map(views(filled, Catalog.load(filled)), "lead")
    older = Layout.of(feature for name, feature in features.items() if name not in ("lead_budget", "channel_latest"))
    write_layout(filled, older)
    online.put("lead", NOW, [{"L0001": encode(older, NOW, pd.DataFrame([dict(fresh.values)]))[0]}])
    asks = [Ask("L0000"), Ask("L0001"), Ask("L0002"), Ask("L0001", {"budget": 1.0}, may_be_new=True)]
    found = answers(office, "lead-conversion", asks)
    assert [answer.entity_id for answer in found] == ["L0000", "L0001", "L0002", "L0001"]
    lacking = "the record in the online store was written without {}; `foresell snapshot` writes it anew"
    assert found[1].why == lacking.format("lead_budget, channel_latest")
    assert found[3].why == lacking.format("channel_latest")  # the budget is given
    assert found[1].feature_as_of == NOW and found[1].score is None
    assert all("written without" not in (answer.why or "") for answer in (found[0], found[2]))


def test_a_damaged_record_is_no_obstacle_to_the_others(filled: Workspace, office: Office) -> None:
    store.Online(filled).put("customer", NOW, [{"C0001": b"\x01 cut off"}])
    found = answers(office, "churn", [Ask("C0000"), Ask("C0001"), Ask("C0002"), Ask("C0003")])
    assert "a record of the online store" in (found[1].why or "") and found[1].score is None
    assert all("damaged" not in (one.why or "") and one.feature_as_of == NOW for one in (found[0], *found[2:]))


def test_without_a_store_no_desk_opens(own: Workspace) -> None:
    shutil.rmtree(own.store)
    with pytest.raises(StoreError, match="foresell snapshot"):
        Office(own)


def test_a_champion_without_a_place_for_its_records_stays_closed(own: Workspace) -> None:
    whole = Catalog.load(own)
    Catalog(**{**vars(whole), "tables": {name: table for name, table in whole.tables.items() if name != "leads"}}).save(own)
    store.apply(own)
    whole.save(own)
    office = Office(own)
    desks = office.lineup.desks
    office.stop()
    assert isinstance(desks["churn"], Desk) and isinstance(desks["lead-conversion"], StoreError)
    assert "records of lead" in str(desks["lead-conversion"])
