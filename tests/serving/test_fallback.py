"""What is said while the online store is away: nothing that policy may withhold, and nothing that is not known."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.errors import StoreError
from features.settings import SETTINGS_FILE, Workspace
from serving.answer import Call
from serving.office import Office
from serving.reader import Ask
from serving.score import Score
from tests.serving.running import copied
from tests.serving.shop import NOW

CALL = Call("test", None, "http")
WEB = "[policy.suppress]\nlead = [\"lead_origin = 'web'\"]\n"
Opened = Callable[..., Office]


@pytest.fixture(scope="module")
def filled(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return copied(shop, tmp_path_factory.mktemp("fallback") / "workspace")


@pytest.fixture
def opened(filled: Workspace, shop: Workspace, tmp_path: Path) -> Iterator[Opened]:
    """Opens the office anew, with further settings."""
    offices: list[Office] = []
    shutil.copytree(filled.root, tmp_path / "own", ignore=shutil.ignore_patterns("mlruns"))
    settings = tmp_path / "own" / SETTINGS_FILE
    plain = settings.read_text() + f'[mlflow]\ntracking_uri = "sqlite:///{filled.mlruns / "mlflow.db"}"\n'

    def again(more: str = "") -> Office:
        for office in offices:
            office.stop()
        settings.write_text(plain + more)
        offices[:] = [Office(Workspace.open(tmp_path / "own"))]
        return offices[0]

    yield again
    for office in offices:
        office.stop()


def answers(office: Office, asks: list[Ask], now: datetime = NOW) -> list[Score]:
    return [answer.score for answer in office.answer(["lead-conversion"], asks, now, CALL)[0]]


def stored(office: Office, number: int = 40) -> list[Score]:
    """The scores of some leads who have one, as they are stored."""
    found = answers(office, [Ask(f"L{position:04d}") for position in range(number)])
    assert office.archive.recorder.stop(30)
    return [one for one in found if one.score is not None]


def without_store(office: Office) -> None:
    (office.workspace.store / "online.db").rename(office.workspace.store / "away.db")


def with_store(office: Office) -> None:
    (office.workspace.store / "away.db").rename(office.workspace.store / "online.db")


def test_the_last_score_is_shown_as_it_was_stored_but_for_what_it_is_now(opened: Opened) -> None:
    first = stored(opened())[0]
    office = opened()
    without_store(office)
    shown, unknown, new = answers(office, [Ask(first.entity_id), Ask("nobody"), Ask(None, {"origin": "tv"}, True)])
    assert shown.degraded and set(shown.stale) == set(office.desk("lead-conversion").scorer.model.columns)
    assert (shown.probability, shown.reasons, shown.scored_at) == (first.probability, first.reasons, first.scored_at)
    assert unknown.degraded and unknown.score is None and "does not answer, and no score is stored" in (unknown.why or "")
    assert not new.degraded and new.score is not None and new.entity_id is None


def test_what_a_night_without_reasons_was_made_from_is_stale_too(opened: Opened) -> None:
    who = stored(opened())[0].entity_id or ""
    office = opened()
    kept = office.ledger.latest("lead-conversion", [who])[who]
    office.ledger.keep_latest([kept._replace(contributions=None, features=None)])
    without_store(office)
    (shown,) = answers(office, [Ask(who)])
    assert shown.degraded and shown.stale == office.desk("lead-conversion").scorer.model.columns


def test_nobody_who_is_held_out_since_is_shown_a_stored_score(opened: Opened) -> None:
    first = stored(opened())[0]
    office = opened("[policy]\nholdout = 1.0\n")
    without_store(office)
    shown, unknown = answers(office, [Ask(first.entity_id), Ask("nobody")])
    assert shown.policy == unknown.policy == "holdout" and shown.score is None and not shown.reasons


def test_who_objects_by_what_is_stored_or_in_the_request_is_shown_no_score(opened: Opened) -> None:
    known = stored(opened(WEB))
    assert known
    office = opened(WEB.replace("'web'", "'fair'"))
    without_store(office)
    shown = answers(office, [Ask(one.entity_id) for one in known])
    assert {one.policy for one in shown} == {None, "suppressed"}
    assert all((one.score is None) == (one.policy == "suppressed") for one in shown)
    (open_one, *_) = [one for one in shown if one.score is not None]
    (asked,) = answers(office, [Ask(open_one.entity_id, {"origin": "fair"}, True)])
    assert asked.policy == "suppressed" and asked.score is None


def test_a_score_from_before_the_newest_records_is_not_shown_where_somebody_may_have_objected(opened: Opened) -> None:
    first = stored(opened(WEB))[0]
    office = opened(WEB)
    office.readers["lead"].newest = NOW + timedelta(microseconds=1)
    without_store(office)
    with pytest.raises(StoreError):
        answers(office, [Ask(first.entity_id)])
    asked, new = answers(office, [Ask(first.entity_id, {"origin": "tv"}, True), Ask(None, {"origin": "tv"}, True)])
    assert asked.score == first.score and new.score is not None


def test_a_score_that_was_kept_without_what_policy_looks_at_now_is_not_shown(opened: Opened) -> None:
    first = stored(opened())[0]
    office = opened('[policy.suppress]\nlead = ["lead_is_open = 0"]\n')
    without_store(office)
    shown, _ = answers(office, [Ask(first.entity_id), Ask(None, {"origin": "tv"}, True)])
    assert shown.degraded and shown.score is None and "has objected since is not known" in (shown.why or "")


def test_somebody_who_was_not_eligible_is_told_so_again(opened: Opened) -> None:
    office = opened()
    found = answers(office, [Ask(f"L{position:04d}") for position in range(100)])
    gone = next(one for one in found if one.score is None and one.feature_as_of is not None)
    assert office.archive.recorder.stop(30)
    office = opened()
    without_store(office)
    (shown,) = answers(office, [Ask(gone.entity_id)])
    assert shown.degraded and shown.why == gone.why


def test_when_the_store_is_back_scores_are_fresh_again(opened: Opened) -> None:
    office = opened()
    without_store(office)
    with pytest.raises(StoreError):
        answers(office, [Ask("L0000")])
    with_store(office)
    time.sleep(1.1)
    later = datetime(2018, 5, 15, 1, tzinfo=UTC)
    assert not answers(office, [Ask("L0000")], later)[0].degraded
    assert office.readers["lead"].newest == NOW
