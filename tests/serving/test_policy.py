"""The policy: who gets no score, the same ones on every road and after every start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import snapshot
from features.catalog import Catalog
from features.errors import CallError, WorkspaceError
from features.operation import PolicySettings
from features.settings import SETTINGS_FILE, Attribute, Settings, Workspace
from features.views import feature_map, views
from serving import batch
from serving.answer import Call
from serving.ledger import Ledger
from serving.office import Office
from serving.partition import PART, folder
from serving.policy import Policy, Withheld, share, week
from serving.reader import Ask
from tests.serving.shop import NOW
from tests.serving.test_batch import quiet
from tests.worlds import make_workspace

IDS = [f"C{i:05d}" for i in range(20_000)]
CALL = Call("test", None, "http")


@pytest.mark.parametrize("wanted", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_the_holdout_is_the_share_that_was_asked_for(wanted: float) -> None:
    policy = Policy(PolicySettings(holdout=wanted), "customer")
    held = sum(policy.withheld(each, {}) is not None for each in IDS) / len(IDS)
    assert held == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / len(IDS)) ** 0.5)


def test_shares_are_evenly_spread_and_have_no_relation_with_the_canarys() -> None:
    held = np.array([share(f"holdout:customer:{each}") for each in IDS])
    canary = np.array([share(f"canary:churn:{each}") for each in IDS])
    counts = np.histogram(held, 20, (0, 1))[0]
    assert ((counts - 1_000) ** 2 / 1_000).sum() < 44  # chi squared, 19 degrees of freedom, one in a thousand
    assert abs(np.corrcoef(held, canary)[0, 1]) < 0.03


def test_a_share_is_the_same_in_every_process_and_release() -> None:
    assert share("holdout:customer:C0001") == 0.7855175934558378 and share("") == 0.8931675160897388


@given(st.text(max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_holdout_holds_the_smaller_one(entity_id: str, one: float, two: float) -> None:
    small, large = (Policy(PolicySettings(holdout=size), "lead") for size in sorted((one, two)))
    if small.withheld(entity_id, {}) is not None:
        assert large.withheld(entity_id, {}) is not None


def test_a_newcomer_without_an_id_is_in_no_holdout_and_kinds_of_entity_are_held_out_apart() -> None:
    assert Policy(PolicySettings(holdout=1.0), "lead").withheld(None, {}) is None
    held = [
        {each for each in IDS if Policy(PolicySettings(holdout=0.1), kind).withheld(each, {})} for kind in ("lead", "customer")
    ]
    assert 0 < len(held[0] & held[1]) < 0.2 * len(held[0])


OBJECTED = PolicySettings(holdout=1.0, suppress={"customer": ("consent = 'no'", "consent is null", "complaints > 2")})


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"consent": "no", "complaints": 9.0}, "no score may be given of this customer: consent = 'no'"),
        ({"consent": None, "complaints": 0.0}, "no score may be given of this customer: consent is null"),
        ({"consent": "yes", "complaints": 3.0}, "no score may be given of this customer: complaints > 2"),
    ],
)
def test_an_objection_comes_before_the_holdout_and_says_why(row: dict[str, object], why: str) -> None:
    assert Policy(OBJECTED, "customer").withheld("C1", row) == Withheld("suppressed", why)


def test_who_agrees_may_have_a_score() -> None:
    policy = Policy(OBJECTED.model_copy(update={"holdout": 0.0}), "customer")
    assert policy.withheld("C1", {"consent": "yes", "complaints": 2.0}) is None
    assert policy.columns == ("consent", "complaints")
    assert Policy(OBJECTED.model_copy(update={"holdout": 0.0}), "lead").withheld("L1", {}) is None


def test_by_what_a_request_says_alone_what_it_does_not_say_counts_neither_way() -> None:
    policy = Policy(OBJECTED.model_copy(update={"holdout": 0.0}), "customer")
    assert policy.surely_withheld("C1", {}) is None and policy.surely_withheld("C1", {"complaints": 1.0}) is None
    assert policy.surely_withheld("C1", {"consent": "no"}) == policy.withheld("C1", {"consent": "no", "complaints": 0.0})
    assert policy.surely_withheld("C1", {"consent": None}) is not None
    assert Policy(OBJECTED, "customer").surely_withheld("C1", {}) == policy_of_holdout().withheld("C1", {})


def policy_of_holdout() -> Policy:
    return Policy(PolicySettings(holdout=1.0), "customer")


def test_a_condition_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(CallError, match="column op value"):
        Policy(PolicySettings(suppress={"lead": ("consent is no",)}), "lead")


def test_a_misspelt_column_is_refused_with_the_near_miss() -> None:
    policy = Policy(PolicySettings(suppress={"customer": ("consnet = 'no'",)}), "customer")
    with pytest.raises(WorkspaceError, match="did you mean `consent`") as problem:
        policy.require_columns(["consent", "complaints"])
    assert problem.value.received == "`consnet = 'no'`" and problem.value.where.startswith("[policy.suppress] customer")
    with pytest.raises(WorkspaceError, match="foresell features list"):
        policy.require_columns(["a"])


MONDAY = datetime(2018, 5, 14, tzinfo=UTC)
WEEK, MICROSECOND = timedelta(days=7), timedelta(microseconds=1)


def explored(at: datetime, wanted: float = 0.1, propensity: str = "churn") -> set[str]:
    policy = Policy(PolicySettings(exploration=wanted), "customer")
    return {each for each in IDS if policy.is_explored(propensity, each, at)}


@pytest.mark.parametrize("wanted", [0.0, 0.02, 0.5, 1.0])
def test_the_exploration_is_the_share_that_was_asked_for(wanted: float) -> None:
    found = len(explored(MONDAY, wanted)) / len(IDS)
    assert found == pytest.approx(wanted, abs=4 * (wanted * (1 - wanted) / len(IDS)) ** 0.5)


def test_a_week_is_explored_from_its_first_microsecond_to_its_last_and_the_next_draws_others() -> None:
    of_week = explored(MONDAY)
    assert of_week == explored(MONDAY + timedelta(days=3, hours=7)) == explored(MONDAY + WEEK - MICROSECOND)
    for other in (explored(MONDAY - MICROSECOND), explored(MONDAY + WEEK), explored(MONDAY, propensity="upsell")):
        assert 0.05 < len(of_week & other) / len(of_week) < 0.15  # as many as chance has twice


def test_a_week_is_that_of_utc_and_of_iso_years() -> None:
    in_tokyo = timezone(timedelta(hours=9))
    assert week(datetime(2018, 5, 14, 8, 59, tzinfo=in_tokyo)) == "2018-W19" and week(MONDAY) == "2018-W20"
    assert week(datetime(2020, 12, 31, tzinfo=UTC)) == week(datetime(2021, 1, 3, tzinfo=UTC)) == "2020-W53"


def test_the_exploration_has_no_relation_with_the_holdout_and_needs_an_id() -> None:
    policy = Policy(PolicySettings(holdout=0.3, exploration=0.1), "customer")
    held = {each for each in IDS if policy.is_held_out(each)}
    assert len(held & explored(MONDAY)) / len(explored(MONDAY)) == pytest.approx(0.3, abs=0.05)
    everybody = Policy(PolicySettings(exploration=1.0), "lead")
    assert not everybody.is_explored("lead-conversion", None, MONDAY)


# --- on every road, over a small workspace with everything real in it ---------------------------------------------------


def with_policy(workspace: Workspace, lines: str) -> Workspace:
    """The workspace with a policy, opened anew, as after a restart."""
    path = workspace.root / SETTINGS_FILE
    base = path.read_text(encoding="utf-8").split("[policy]")[0]
    path.write_text(f"{base}[policy]\n{lines}\n", encoding="utf-8")
    return Workspace.open(workspace.root)


@pytest.fixture
def held(filled: Workspace) -> Workspace:
    return with_policy(filled, "holdout = 0.2\nsuppress = {customer = [\"subscriptions_tier_latest = 'max'\"]}")


def night(workspace: Workspace) -> pd.DataFrame:
    result = batch.run(workspace, NOW, ["churn"], quiet)
    assert not result.failures
    return pd.read_parquet(folder(workspace, "churn", NOW) / PART).set_index("entity_id")


@pytest.fixture
def opened(held: Workspace) -> Iterator[Office]:
    office = Office(held)
    yield office
    office.stop()


def test_who_is_withheld_is_in_the_nights_file_and_counted_and_the_same_over_http(held: Workspace, opened: Office) -> None:
    from collections import Counter

    scores = night(held)
    (receipt,) = batch.run(held, NOW, ["churn"], quiet).receipts
    counts = Counter(scores["policy"].dropna())
    assert receipt.withheld == dict(sorted(counts.items())) and set(counts) == {"holdout", "suppressed"}
    assert receipt.rows == len(scores) == sum(counts.values()) + sum(receipt.grades.values())
    withheld = scores[scores["policy"].notna()]
    assert withheld["score"].isna().all() and withheld["probability"].isna().all() and withheld["why"].str.len().gt(20).all()
    assert withheld["eligible"].all() and (scores["policy"].notna() == scores["why"].notna()).all()
    ((*answers,),) = opened.answer(["churn"], [Ask(each) for each in scores.index], NOW, CALL)
    for row, answer in zip(scores.itertuples(), answers, strict=True):
        assert (row.policy, row.why) == (answer.score.policy, answer.score.why)
        assert (answer.score.score is None) == (answer.score.policy is not None)


def test_who_is_explored_is_the_same_in_the_nights_file_over_http_and_in_the_ledger(filled: Workspace) -> None:
    exploring = with_policy(
        filled, "holdout = 0.2\nexploration = 0.3\nsuppress = {customer = [\"subscriptions_tier_latest = 'max'\"]}"
    )
    scores, policy = night(exploring), Policy(exploring.settings.policy, "customer")
    drawn = {each for each in scores.index if policy.is_explored("churn", each, NOW)}
    mine = set(scores.index[scores["explore"]])
    assert mine == drawn - set(scores.index[scores["policy"].notna()]) and 0 < len(mine) < len(drawn) < len(scores)
    with closing(Ledger.open(exploring)) as ledger:
        stored = ledger.latest("churn", list(scores.index))
    assert {each for each, one in stored.items() if b'"explore":true' in one.document} == mine
    office = Office(exploring)
    ((*answers,),) = office.answer(["churn"], [Ask(each) for each in scores.index], NOW, CALL)
    ((*later,),) = office.answer(["churn"], [Ask(each) for each in scores.index], NOW + WEEK, CALL)
    office.stop()
    assert {one.score.entity_id for one in answers if one.score.explore} == mine
    assert {one.score.entity_id for one in later if one.score.explore} != mine


def test_a_night_that_is_carried_over_explores_as_one_that_is_made_anew(own: Workspace) -> None:
    exploring, path = with_policy(own, "exploration = 0.3"), folder(own, "churn", NOW) / PART
    night(exploring)
    first = path.read_bytes()
    night(exploring)  # the scores are carried over
    assert path.read_bytes() == first and b"explore" in first
    path.unlink()
    night(exploring)
    assert path.read_bytes() == first


def test_nobody_is_explored_unless_it_is_asked_for(own: Workspace) -> None:
    assert not night(own)["explore"].any()


def test_after_a_restart_the_same_ones_are_held_out(held: Workspace) -> None:
    first = night(held)["policy"]
    assert first.equals(night(Workspace.open(held.root))["policy"])


def test_a_withheld_answer_takes_the_place_of_an_earlier_score(own: Workspace) -> None:
    before = night(own)
    everybody = with_policy(own, "holdout = 1.0")
    night(everybody)
    with closing(Ledger.open(everybody)) as ledger:
        stored = ledger.latest("churn", list(before.index))
        assert ledger.scored("churn", list(before.index)) == [] and len(stored) == len(before)
    assert all(one.probability is None and b'"policy":"holdout"' in one.document for one in stored.values())


def test_who_is_no_longer_eligible_or_objects_is_not_shown_with_an_old_score(own: Workspace) -> None:
    night(own)
    plan = Catalog.load(own)
    with closing(Ledger.open(own)) as ledger:
        (gone, *_) = ledger.answered("churn", "", 1_000)
    path, ended = plan.path(own, "subscriptions"), f"if(customer_id = '{gone}', timestamp '2018-05-14', ended_at)"
    with duckdb.connect() as connection:
        connection.execute(f"create table changed as select * replace ({ended} as ended_at) from '{path}'")
        connection.execute(f"copy changed to '{path}' (format parquet)")
    Catalog(**{**vars(plan), "version": "later"}).save(own)
    scores = night(own)
    with closing(Ledger.open(own)) as ledger:
        stored = ledger.latest("churn", [gone])[gone]
    assert gone not in scores.index and stored.probability is None and b"not eligible for churn" in stored.document


def test_an_objection_in_the_request_itself_counts(filled: Workspace) -> None:
    asks = [
        Ask("L0001", {"origin": "web"}, True),
        Ask("L0001", {"lead_origin": "fair"}, True),
        Ask(None, {"origin": "web"}, True),
    ]
    office = Office(with_policy(filled, "suppress = {lead = [\"lead_origin = 'web'\"]}"))
    ((*answers,),) = office.answer(["lead-conversion"], asks, NOW, CALL)
    office.stop()
    assert [answer.score.policy for answer in answers] == ["suppressed", None, "suppressed"]


def test_a_policy_over_a_column_that_is_not_there_stops_the_night_and_opens_no_desk(own: Workspace) -> None:
    wrong = with_policy(own, "suppress = {customer = [\"subscriptions_tier_latset = 'max'\"]}")
    failure = batch.run(wrong, NOW, ["churn"], quiet).failures["churn"]
    assert isinstance(failure, WorkspaceError) and "did you mean `subscriptions_tier_latest`" in failure.repair


# --- consent is a history ------------------------------------------------------------------------------------------------

CHANGED = datetime(2018, 5, 14, 12, 0, 0, 5)


@pytest.mark.parametrize(
    ("as_of", "is_withheld"),
    [
        (CHANGED - timedelta(microseconds=1), False),
        (CHANGED, False),  # what is known at an as_of was known before it
        (CHANGED + timedelta(microseconds=1), True),
    ],
)
def test_consent_counts_from_the_microsecond_on_at_which_it_changed(tmp_path: Path, as_of: datetime, is_withheld: bool) -> None:
    began = datetime(2018, 1, 1)
    history = [
        {"entity": "customer", "entity_id": "C1", "field": "consent", "value": value, "valid_from": at}
        for value, at in (("yes", began), ("no", CHANGED))
    ]
    tables = {"customers": [{"customer_id": "C1", "created_at": began}], "attribute_history": history}
    settings = Settings(policy=PolicySettings(suppress={"customer": ("customer_consent = 'no'",)}))
    workspace = make_workspace(tmp_path, tables, attributes={"customers": {"consent": Attribute()}}, settings=settings)
    instant = as_of.replace(tzinfo=UTC)
    snapshot.build(workspace, [instant])
    policy = Policy(settings.policy, "customer")
    policy.require_columns(feature_map(views(workspace, Catalog.load(workspace)), "customer"))
    (row,) = snapshot.read(workspace, "customer", [instant], policy.columns).to_dict("records")
    assert (policy.withheld("C1", row) is not None) is is_withheld
