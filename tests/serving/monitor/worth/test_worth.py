"""What acting was worth is found where it is known, claimed where it is sure, and never before its time."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.catalog import Catalog
from features.errors import PropensityError
from features.propensity import SHIPPED, load, read_file
from features.settings import SETTINGS_FILE, Workspace
from serving import batch
from serving.ledger import Action, Ledger
from serving.monitor.worth import trial
from serving.monitor.worth.plots import differences
from serving.monitor.worth.worth import Worth, worth
from serving.partition import PART, SCHEMA, folder
from serving.policy import Policy
from tests.serving.shop import NOW, open_world
from tests.serving.test_batch import quiet
from training import registry

HORIZON, DAY, MICROSECOND = timedelta(days=90), timedelta(days=1), timedelta(microseconds=1)
MATURE = NOW + HORIZON
POLICY = "holdout = 0.2\nexploration = 0.1"


def settings(models: Workspace, policy: str) -> str:
    return f'adapter = "canonical"\n[mlflow]\ntracking_uri = "{registry.store_uri(models)}"\n[policy]\n{policy}\n'


def set_policy(workspace: Workspace, lines: str) -> Workspace:
    path = workspace.root / SETTINGS_FILE
    path.write_text(path.read_text(encoding="utf-8").split("[policy]")[0] + f"[policy]\n{lines}\n", encoding="utf-8")
    return Workspace.open(workspace.root)


@pytest.fixture(scope="module")
def scored(shop: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A night of scores by the shop's champion, of which a fifth is held out, and what subscriptions were beside it."""
    root = tmp_path_factory.mktemp("worth") / "world"
    workspace = open_world(root, settings(shop, POLICY), customers=3_000, leads=1)
    assert not batch.run(workspace, NOW, ["churn"], quiet).failures
    shutil.copyfile(Catalog.load(workspace).path(workspace, "subscriptions"), root / "subscriptions.parquet")
    return workspace


@pytest.fixture
def night(scored: Workspace) -> pd.DataFrame:
    return pd.read_parquet(folder(scored, "churn", NOW) / PART).set_index("entity_id")


@pytest.fixture
def own(scored: Workspace, tmp_path: Path) -> Workspace:
    """A copy whose ledger and partitions a test may change."""
    shutil.copytree(scored.root, tmp_path / "own", ignore=shutil.ignore_patterns("serving"))
    return Workspace.open(tmp_path / "own")


def happen(workspace: Workspace, rates: pd.Series, seed: int = 1, until: datetime = MATURE) -> None:
    """Let customers cancel within the horizon, each with its probability; tables tell up to `until`."""
    random = np.random.default_rng(seed)
    gone = rates.index[random.random(len(rates)) < rates.to_numpy(float)]
    days = random.uniform(0, 89.9, len(gone))
    ends = pd.DataFrame({"customer_id": gone, "end_at": [(NOW + timedelta(days=one)).replace(tzinfo=None) for one in days]})
    plan = Catalog.load(workspace)
    with duckdb.connect() as connection:
        connection.register("ends", ends)
        connection.execute(
            "create table changed as select s.* replace (cast(coalesce(s.ended_at, e.end_at) as timestamp) as ended_at) "
            f"from '{workspace.root / 'subscriptions.parquet'}' s left join ends e using (customer_id)"
        )
        connection.execute(f"copy changed to '{plan.path(workspace, 'subscriptions')}' (format parquet)")
    Catalog(**{**vars(plan), "version": f"{seed}", "observed_until": until.isoformat()}).save(workspace)


def another_night(workspace: Workspace, as_of: datetime) -> pd.DataFrame:
    """The same scores at another as_of, of whom the policy explores others."""
    policy, target = Policy(workspace.settings.policy, "customer"), folder(workspace, "churn", as_of)
    if as_of != NOW:
        shutil.copytree(folder(workspace, "churn", NOW), target)
    frame = pd.read_parquet(target / PART).assign(scored_at=pd.Timestamp(as_of))
    drawn = [policy.is_explored("churn", one, as_of) for one in frame["entity_id"]]
    frame["explore"] = frame["score"].notna() & pd.Series(drawn, index=frame.index)
    pq.write_table(pa.Table.from_pandas(frame, SCHEMA, preserve_index=False), target / PART)
    return frame.set_index("entity_id")


def rates(night: pd.DataFrame, held: float, other: float) -> pd.Series:
    return pd.Series(np.where(night["policy"] == "holdout", held, other), index=night.index)


def act(workspace: Workspace, ids: list[str], at: datetime = NOW + DAY) -> None:
    """Log a call about each."""
    policy = Policy(workspace.settings.policy, "customer")
    rows = [
        Action(f"{one} {at}", "churn", "customer", one, at, "call", None, policy.is_held_out(one), at, "r", "crm") for one in ids
    ]
    with closing(Ledger.open(workspace)) as ledger:
        ledger.log(rows)


def test_what_acting_prevented_is_told_within_its_interval(scored: Workspace, night: pd.DataFrame) -> None:
    happen(scored, rates(night, 0.40, 0.25))
    found = worth(scored, "churn", MATURE)
    everybody = found.of("all")
    assert found.status == "told" and not found.is_wanted and everybody is not None
    assert everybody.rate.low < -0.15 < everybody.rate.high < 0
    assert everybody.control.entities == (night["policy"] == "holdout").sum() > 350
    assert everybody.treated.entities == night["score"].notna().sum() and found.first == found.last == NOW
    assert everybody.gain is not None and everybody.gain.low > 0
    words = " ".join(found.sentences)
    assert (
        "Acting on scores prevented about" in words
        and "one look in twenty" in words
        and "a customer (between" in words
        and "held out" in words
    )
    assert everybody.acted is None and not found.compliance  # nobody told what was done


def test_what_is_older_than_actions_are_kept_is_said_to_be(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.25), until=MATURE + 10 * DAY)
    path = own.root / SETTINGS_FILE
    for days, is_said in ((100, False), (99, True)):
        path.write_text(settings(own, f"{POLICY}\n[serving]\nkeep_days = {days}"), encoding="utf-8")
        act(Workspace.open(own.root), ["C0001"])
        found = worth(Workspace.open(own.root), "churn", MATURE + 10 * DAY)
        assert any("may be forgotten" in note for note in found.notes) is is_said


def test_harm_is_called_harm(scored: Workspace, night: pd.DataFrame) -> None:
    happen(scored, rates(night, 0.20, 0.40))
    found = worth(scored, "churn", MATURE)
    assert found.status == "told" and "Acting on scores did harm" in found.sentences[0]


def test_without_an_effect_nothing_is_claimed_but_once_in_twenty(scored: Workspace, night: pd.DataFrame) -> None:
    claims, inside = 0, 0
    for seed in range(4):
        happen(scored, rates(night, 0.3, 0.3), seed)
        one = worth(scored, "churn", MATURE).of("all")
        assert one is not None
        claims, inside = claims + one.is_told, inside + (one.rate.low <= 0 <= one.rate.high)
    assert claims <= 1 and claims + inside == 4  # more than one of four come once in 70 times


def test_what_is_open_says_how_many_it_takes(scored: Workspace, night: pd.DataFrame) -> None:
    happen(scored, rates(night, 0.05, 0.05), 3)
    found = worth(scored, "churn", MATURE)
    words = " ".join(found.sentences)
    assert found.status == "open" and "nothing is claimed" in words and "prevented" not in words
    assert found.needed is not None and found.needed > len(night) and f"{found.needed:,} customers" in words


@pytest.mark.parametrize(("until", "is_counted"), [(MATURE - MICROSECOND, False), (MATURE, True)])
def test_nothing_immature_is_counted_to_the_microsecond(
    scored: Workspace, night: pd.DataFrame, until: datetime, is_counted: bool
) -> None:
    happen(scored, rates(night, 0.4, 0.2), until=MATURE)
    found = worth(scored, "churn", until)
    assert (found.of("all") is not None) is is_counted
    if not is_counted:
        assert found.status == "immature" and found.next_matures == MATURE and found.waiting > 1_500
        assert found.sentences[0].startswith("What acting on churn was worth cannot be told yet")
        assert "2018-08-13" in found.sentences[-1] and found.exploration == () and found.needed is not None


def test_what_the_tables_do_not_tell_yet_is_not_mature_whoever_asks(scored: Workspace, night: pd.DataFrame) -> None:
    happen(scored, rates(night, 0.4, 0.2), until=MATURE - MICROSECOND)
    assert worth(scored, "churn", MATURE + DAY).status == "immature"


def test_a_second_night_counts_nobody_twice(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.25), until=MATURE + 30 * DAY)
    nights = [NOW + days * DAY for days in (0, 1, 15)]
    for as_of in nights[1:]:
        another_night(own, as_of)
    part = folder(own, "churn", NOW) / PART
    pq.write_table(pq.read_table(part).slice(100), part)  # a hundred of them take part from the second night on
    found = worth(own, "churn", MATURE + 30 * DAY)
    everybody = found.of("all")
    assert everybody is not None and (found.first, found.last) == (NOW, nights[1])
    assert everybody.treated.entities + everybody.control.entities == len(night)
    assert worth(own, "churn", MATURE + 30 * DAY, since=NOW + 200 * DAY).status == "not scored"


def test_the_held_out_are_graded_as_if_they_were_not(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.25))
    with closing(Ledger.open(own)) as ledger:
        firsts = trial.hold(own, load(own, "churn"), MATURE, None, ledger).firsts.set_index("entity_id")
        assert ledger.latest("churn", list(night.index)) == {}  # silently
    everybody = set_policy(own, "holdout = 0.0")
    assert not batch.run(everybody, NOW, ["churn"], quiet).failures
    plain = pd.read_parquet(folder(everybody, "churn", NOW) / PART).set_index("entity_id")
    assert firsts["grade"].to_dict() == plain["grade"].to_dict() and firsts["held"].sum() > 350
    found = worth(everybody, "churn", MATURE)
    assert found.status == "no holdout" and not found.comparisons and found.needed is not None and found.needed > 3_000


def test_without_the_snapshots_nobody_is_graded_but_everybody_counts(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.25))
    shutil.rmtree(own.snapshots)
    found = worth(own, "churn", MATURE)
    assert [one.segment for one in found.comparisons] == ["all"] and "Counted in no grade" in " ".join(found.sentences)


def test_with_actions_logged_it_is_told_what_they_did_and_who_was_acted_on_against_the_rule(
    own: Workspace, night: pd.DataFrame
) -> None:
    called = night.index[night["score"].notna()].tolist()[::2]
    held = night.index[night["policy"] == "holdout"].tolist()[:7]
    truth = pd.Series(0.4, index=night.index)
    truth[called] = 0.15
    happen(own, truth)
    act(own, [*called, *held])
    found = worth(own, "churn", MATURE)
    everybody = found.of("all")
    assert everybody is not None and everybody.acted is not None and found.breaches == 7
    assert everybody.acted.low < -0.25 < everybody.acted.high < 0 and everybody.acted.value < everybody.rate.value
    assert set(found.compliance) == {"A", "B", "C", "D"} and found.compliance["D"] == pytest.approx(0.5, abs=0.1)
    assert "7 actions" in " ".join(found.sentences) and everybody.control.acted == 7


def test_an_action_counts_from_the_as_of_on_and_no_longer_at_the_horizon(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.4))
    some = night.index[night["score"].notna()][:4]
    for who, at in zip(some, (NOW, NOW - MICROSECOND, MATURE - MICROSECOND, MATURE), strict=True):
        act(own, [who], at)
    everybody = worth(own, "churn", MATURE).of("all")
    assert everybody is not None and everybody.treated.acted == 2


def test_disfavoured_segments_that_prove_themselves_are_told(own: Workspace, night: pd.DataFrame) -> None:
    explored = night["explore"] & night["grade"].isin(["B", "C", "D"])
    happen(own, pd.Series(np.where(explored, 0.15, 0.4), index=night.index))
    act(own, night.index[explored].tolist())
    found = worth(own, "churn", MATURE)
    below = next(one for one in found.exploration if one.segment == "below A")
    assert below.treated.entities == explored.sum() > 120 and below.rate.low < -0.25 < below.rate.high < 0
    assert below.acted is not None and below.treated.acted == below.treated.entities
    assert "have proved themselves" in " ".join(found.sentences)


def test_who_is_explored_without_an_effect_proves_nothing(scored: Workspace, night: pd.DataFrame) -> None:
    happen(scored, rates(night, 0.3, 0.3), 5)
    assert "cannot be told yet whether these segments" in " ".join(worth(scored, "churn", MATURE).sentences)


def test_who_is_drawn_in_another_week_of_the_horizon_is_not_compared_with(scored: Workspace, night: pd.DataFrame) -> None:
    happen(scored, rates(night, 0.3, 0.3))
    policy, below = Policy(scored.settings.policy, "customer"), night[night["grade"].isin(["B", "C", "D"]) & ~night["explore"]]
    weeks = [NOW + number * 7 * DAY for number in range(14)]
    never = [one for one in below.index if not any(policy.is_explored("churn", one, week) for week in weeks)]
    found = next(one for one in worth(scored, "churn", MATURE).exploration if one.segment == "below A")
    assert found.control.entities == len(never) < len(below) / 2


def test_nights_before_anybody_was_explored_are_not_compared_with(own: Workspace, night: pd.DataFrame) -> None:
    """Half of them gone in those nights would look like what exploring prevents."""
    later = NOW + 8 * DAY
    happen(own, rates(night, 0.3, 0.3), until=later + HORIZON)
    another_night(set_policy(own, "holdout = 0.2"), NOW)
    set_policy(own, POLICY)
    explored = another_night(own, later)
    found = worth(own, "churn", later + HORIZON)
    below = next(one for one in found.exploration if one.segment == "below A")
    assert below.treated.entities == (explored["explore"] & (explored["grade"] != "A")).sum() > 100
    assert below.control.entities < 4 * below.treated.entities


def test_nights_under_another_exploration_do_not_count(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.25))
    for lines in ("holdout = 0.2\nexploration = 0.2", "holdout = 0.2"):
        found = worth(set_policy(own, lines), "churn", MATURE)
        assert found.status == "told" and found.exploration == ()
        assert any("Explored otherwise" in note and "1 night" in note for note in found.notes)


def test_too_few_whom_no_week_draws_are_said_to_be_too_few(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.25))
    much = set_policy(own, "holdout = 0.2\nexploration = 0.6")
    another_night(much, NOW)
    found = worth(much, "churn", MATURE)
    assert found.exploration == () and "a smaller `[policy] exploration`" in " ".join(found.sentences)


def test_nights_under_another_holdout_do_not_count(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.25))
    found = worth(set_policy(own, "holdout = 0.25"), "churn", MATURE)
    assert found.status == "not scored" and "another holdout, and not counted: 1 night" in found.notes[0]
    none = worth(set_policy(own, "holdout = 0.0"), "churn", MATURE)
    assert none.status == "no holdout" and "[policy] holdout" in none.sentences[0]


def test_before_any_night_it_says_so(own: Workspace) -> None:
    shutil.rmtree(own.scores)
    assert worth(own, "churn", MATURE).status == "not scored"
    with pytest.raises(PropensityError, match="chrun"):
        worth(own, "chrun", MATURE)


def test_a_night_of_an_earlier_release_explored_nobody(own: Workspace, night: pd.DataFrame) -> None:
    happen(own, rates(night, 0.4, 0.25))
    part = folder(own, "churn", NOW) / PART
    pq.write_table(pq.read_table(part).drop_columns(["explore"]), part)
    found = worth(own, "churn", MATURE)
    assert found.status == "told" and found.exploration == ()


def test_the_document_is_json_and_the_plot_an_svg(scored: Workspace, night: pd.DataFrame) -> None:
    happen(scored, rates(night, 0.4, 0.25))
    found = worth(scored, "churn", MATURE)
    told = json.loads(json.dumps(found.document(), allow_nan=False))
    assert told["first"] == NOW.isoformat() and told["comparisons"][0]["segment"] == "all" and told["sentences"]
    assert differences(found).startswith("<svg") and "left is better" in differences(found)
    nothing = Worth("churn", "customer", NOW, False, 0.0, "no holdout")
    assert differences(nothing) == "" and nothing.document()["comparisons"] == ()


@pytest.mark.parametrize(
    ("lines", "is_wanted"),
    [
        ('[outcome]\ntable = "orders"', True),
        ('[outcome]\nabsent = "orders"', False),
        ('wanted = false\n[outcome]\ntable = "orders"', False),
    ],
)
def test_what_is_wanted_is_said_or_follows_from_the_outcome(tmp_path: Path, lines: str, is_wanted: bool) -> None:
    path = tmp_path / "own.toml"
    path.write_text(f'question = "?"\nentity = "customer"\nhorizon = "90d"\n{lines}\n', encoding="utf-8")
    assert read_file(path).is_wanted is is_wanted


def test_every_shipped_propensity_says_whether_its_outcome_is_wanted() -> None:
    files = [*SHIPPED.glob("*.toml"), *(SHIPPED.parent / "adapters").rglob("propensities/*.toml")]
    told = {(path.stem, read_file(path).wanted) for path in files}
    assert told == {("churn", False), ("lead-conversion", True), ("upsell", True)}
