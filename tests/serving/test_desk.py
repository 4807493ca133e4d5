"""A desk answers about everybody it is asked about; what is wrong with one record stays with that one."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

from features import store
from features.catalog import Catalog
from features.errors import StoreError
from features.online import write_layout
from features.record import Layout, encode
from features.settings import Workspace
from features.views import feature_map, views
from serving.desk import Ask, Desk, open_desks
from tests.serving.shop import NOW

pytestmark = pytest.mark.xdist_group("shop")


@pytest.fixture
def filled(own: Workspace) -> Workspace:
    """A workspace of one's own whose online store is filled."""
    store.apply(own)
    store.materialize(own, NOW)
    return own


def test_a_record_that_is_older_than_a_feature_is_no_obstacle_to_the_others(filled: Workspace) -> None:
    desk = open_desks(filled)["lead-conversion"]
    assert isinstance(desk, Desk)
    (fresh,) = desk.online.read("lead", ["L0001"])
    assert fresh is not None
    features = feature_map(views(filled, Catalog.load(filled)), "lead")
    older = Layout.of(feature for name, feature in features.items() if name not in ("lead_budget", "channel_latest"))
    write_layout(filled, older)
    desk.online.put("lead", NOW, [{"L0001": encode(older, NOW, pd.DataFrame([fresh.values]))[0]}])
    asks = [Ask("L0000"), Ask("L0001"), Ask("L0002"), Ask("L0001", {"budget": 1.0}, may_be_new=True)]
    answers = desk.answer(asks, NOW)
    assert [answer.entity_id for answer in answers] == ["L0000", "L0001", "L0002", "L0001"]
    assert (
        answers[1].why
        == answers[3].why
        == ("the record in the online store was written without lead_budget, channel_latest; `foresell snapshot` writes it anew")
    )
    assert answers[1].feature_as_of == NOW and answers[1].score is None
    assert all("written without" not in (answer.why or "") for answer in (answers[0], answers[2]))


def test_without_a_store_no_desk_opens(own: Workspace) -> None:
    shutil.rmtree(own.store)
    with pytest.raises(StoreError, match="foresell snapshot"):
        open_desks(own)


def test_a_champion_without_a_place_for_its_records_stays_closed(own: Workspace) -> None:
    whole = Catalog.load(own)
    Catalog(**{**vars(whole), "tables": {name: table for name, table in whole.tables.items() if name != "leads"}}).save(own)
    store.apply(own)
    whole.save(own)
    desks = open_desks(own)
    assert isinstance(desks["churn"], Desk) and isinstance(desks["lead-conversion"], StoreError)
    assert "records of lead" in str(desks["lead-conversion"])
