"""The first matured week of a new champion: a worse one is taken back, once; another stays; people have the last word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import matured_file
from features.settings import Workspace
from serving.monitor.matured import SCHEMA
from tests.training.conftest import NOW, copied
from tests.training.retraining.conftest import ANNA, NIGHT, alarm, call, mature, say, set_keys, told
from training import registry
from training.registry import Signature
from training.retraining.attempts import Log
from training.retraining.standing import BY

WEEK = timedelta(days=7)
BERT = Signature("bert", NIGHT - timedelta(hours=1))


@pytest.fixture(scope="module")
def forced(refused: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A shop in which retraining refused version 2, and somebody let it in; only read it."""
    workspace = copied(refused, tmp_path_factory.mktemp("forced") / "shop")
    registry.promote(workspace, "churn", BERT, "2", "the sales team tries it")
    return workspace


@pytest.fixture(scope="module")
def one_week(forced: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same, after a night of version 2 has matured; only read it."""
    workspace = copied(forced, tmp_path_factory.mktemp("week") / "shop")
    mature(workspace, "2", [NIGHT])
    say(workspace, version="2", until=NIGHT + WEEK)
    return workspace


@pytest.fixture(scope="module")
def one_alike_week(forced: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The same, but in that night it said what version 1 would have said; only read it."""
    workspace = copied(forced, tmp_path_factory.mktemp("alike") / "shop")
    mature(workspace, "2", [NIGHT], by="1")
    say(workspace, version="2", until=NIGHT + WEEK)
    return workspace


@pytest.fixture
def shop(forced: Workspace, tmp_path: Path) -> Workspace:
    return copied(forced, tmp_path / "shop")


@pytest.fixture
def week(one_week: Workspace, tmp_path: Path) -> Workspace:
    return copied(one_week, tmp_path / "shop")


@pytest.fixture
def alike(one_alike_week: Workspace, tmp_path: Path) -> Workspace:
    return copied(one_alike_week, tmp_path / "shop")


def champions(workspace: Workspace) -> list[str | None]:
    return [entry.event.version for entry in registry.history(workspace, "churn").entries]


def rows_of(workspace: Workspace) -> pd.DataFrame:
    [path] = matured_file.folder(workspace, "churn").rglob("*.parquet")
    return pd.read_parquet(path, partitioning=None)


def write(workspace: Workspace, rows: pd.DataFrame) -> None:
    [path] = matured_file.folder(workspace, "churn").rglob("*.parquet")
    pq.write_table(pa.Table.from_pandas(rows, SCHEMA, preserve_index=False), path)


def judgements(workspace: Workspace) -> list[str]:
    return [line.judgement for line in Log(workspace, "churn").judged()]


def test_a_worse_champion_is_taken_back_exactly_once_and_the_reason_holds_the_figures(week):
    say(week, alarm("performance", "model", "AUC fell."), version="2", until=NIGHT + WEEK)
    assert told(week, "--dry-run")["outcome"] == "would roll back" and champions(week) == ["1", "2"]
    one = told(week)
    assert (one["outcome"], one["champion"], one["relapse"]["judgement"]) == ("rolled back", "1", "rolled back")
    event = registry.history(week, "churn").last.event
    assert (event.kind, event.version, event.before, event.by) == ("rollback", "1", "2", BY)
    assert "against what version 1 would have given: significantly worse, AUC -0." in event.reason
    assert 'It was let in past failed gates: "the sales team tries it".' in event.reason
    assert judgements(week) == ["rolled back"]
    assert told(week)["outcome"] == "idle" and champions(week) == ["1", "2", "1"]
    assert "version 2 rolled back" in call(week, "churn", "--history").stdout


def test_whoever_promotes_it_again_has_the_last_word(week):
    call(week, "churn")
    registry.promote(week, "churn", Signature("bert", NOW), "2", "we need it all the same")
    assert told(week)["relapse"] is None and champions(week) == ["1", "2", "1", "2"]


def test_the_week_is_judged_once_its_last_microsecond_is_known(week):
    say(week, version="2", until=NIGHT + WEEK - timedelta(microseconds=1))
    one = told(week)
    assert one["relapse"]["judgement"] is None
    assert "The first week of version 2 is known from 2023-12-13 on." in one["sentences"]
    say(week, version="2", until=NIGHT + WEEK)
    assert told(week, "--dry-run")["outcome"] == "would roll back"


def test_too_few_outcomes_wait_for_more_weeks_and_say_how_many(shop):
    mature(shop, "2", [NIGHT], rows=60)
    say(shop, version="2", until=NIGHT + WEEK)
    one = told(shop)
    assert one["relapse"]["judgement"] is None and champions(shop) == ["1", "2"]
    [sentence] = [text for text in one["sentences"] if "it is judged with" in text]
    assert "hold 60 scores with" in sentence and "more positives" in sentence
    mature(shop, "2", [NIGHT + WEEK])
    say(shop, version="2", until=NIGHT + 2 * WEEK - timedelta(microseconds=1))
    assert told(shop)["relapse"]["judgement"] is None, "the second week is not over"
    say(shop, version="2", until=NIGHT + 2 * WEEK)
    relapse = told(shop)["relapse"]
    assert relapse["judgement"] == judgements(shop)[0] and "(2023-11-06 to 2023-11-13, " in relapse["sentence"]


def test_a_champion_that_is_no_worse_is_kept_and_not_judged_again(alike):
    """It said what version 1 would have said, so that nothing lies between the two."""
    one = told(alike)
    assert one["relapse"]["judgement"] == "kept" and champions(alike) == ["1", "2"]
    assert "not significantly worse, AUC +0.000 (+0.000 to +0.000)" in one["relapse"]["sentence"]
    mature(alike, "2", [NIGHT])
    assert told(alike)["relapse"] is None and judgements(alike) == ["kept"]


@pytest.mark.parametrize(
    ("said", "judgement", "words"),
    [
        (lambda rows: rows["probability"] / 20, "rolled back", "significantly worse, AUC +0.000"),
        (lambda rows: 0.9 + 0.05 * rows["label"], "warned", "worse in one, better in the other"),
    ],
)
def test_probabilities_that_are_off_count_as_well_and_where_the_two_figures_disagree_a_person_decides(
    alike, said, judgement, words
):
    """The same order as version 1's at a twentieth of its probabilities; the best of all orders at far too high ones."""
    rows = rows_of(alike)
    write(alike, rows.assign(probability=said(rows)))
    relapse = told(alike)["relapse"]
    assert relapse["judgement"] == judgement and words in relapse["sentence"]


def test_where_the_settings_forbid_it_there_is_a_warning_only(week):
    one = told(set_keys(week, "rollback = false"))
    assert one["relapse"]["judgement"] == "warned" and champions(week) == ["1", "2"] and judgements(week) == ["warned"]


def test_nothing_known_yet_is_said_and_scores_that_were_asked_for_one_by_one_are_not_compared(shop):
    say(shop, version="2", until=NIGHT + WEEK)
    assert "No outcome of a batch of version 2 is known yet" in told(shop)["sentences"][0]
    mature(shop, "2", [NIGHT], road="http")
    assert "No outcome of a batch of version 2 is known yet" in told(shop)["sentences"][0]
    assert judgements(shop) == []


def test_what_a_version_says_of_days_that_it_has_learned_from_counts_neither_for_it_nor_against_it(shop):
    """Version 2 was let loose on the past: it answers as if it had foreseen what it was told."""
    past = datetime(2023, 8, 7, tzinfo=UTC)
    mature(shop, "2", [past])
    say(shop, version="2", until=NIGHT + WEEK)
    one = told(shop)
    assert one["relapse"]["judgement"] is None and "that neither version has learned from" in one["sentences"][0]
    mature(shop, "2", [NIGHT])
    assert "(2023-11-06 to 2023-11-06, " in told(shop)["relapse"]["sentence"]


def test_who_was_forgotten_since_is_left_out_and_stops_nothing(week):
    rows = rows_of(week)
    write(week, pd.concat([rows, rows.tail(1).assign(entity_id="C-gone")], ignore_index=True))
    relapse = told(week)["relapse"]
    assert relapse["judgement"] == "rolled back" and f"{len(rows):,} scores" in relapse["sentence"]


def test_a_version_before_that_cannot_be_read_is_said_and_the_trial_goes_on_once_it_can(week):
    contracts = (week.mlruns / "artifacts").rglob("contract.json")
    contract = max(contracts, key=lambda path: path.stat().st_size)  # version 2 has one feature
    whole = contract.read_text()
    contract.write_text(whole.replace('"format": 2', '"format": 0'))
    one = told(week)
    assert one["relapse"]["judgement"] is None and judgements(week) == []
    assert "cannot be compared with version 1 now" in one["relapse"]["sentence"]
    contract.write_text(whole)
    assert told(week)["relapse"]["judgement"] == "rolled back"


def test_the_first_champion_stands_no_trial(october, tmp_path):
    workspace = copied(october, tmp_path / "shop")
    mature(workspace, "1", [NIGHT])
    say(workspace, until=NIGHT + WEEK)
    assert told(workspace)["relapse"] is None
    assert registry.history(workspace, "churn").last.event.by == ANNA.by
