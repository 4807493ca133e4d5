"""The first matured week of a new champion: a worse one is taken back, once; another stays; people have the last word."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features import matured_file
from features.settings import Workspace
from serving.monitor.matured import SCHEMA
from tests.training.conftest import NOW, copied
from tests.training.retraining.conftest import ANNA, NIGHT, alarm, call, mature, narrow, say, set_keys, told
from training import registry
from training.registry import Signature
from training.retraining.attempts import Log
from training.retraining.standing import BY

WEEK = timedelta(days=7)
BERT = Signature("bert", NIGHT - timedelta(hours=1))


@pytest.fixture(scope="module")
def forced(october: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A shop in which retraining refused version 2, of one feature that says little, and somebody let it in; only read it."""
    workspace = copied(october, tmp_path_factory.mktemp("forced") / "shop")
    narrow(workspace)
    assert told(workspace, "--because", "we leave the other features out")["outcome"] == "refused"
    registry.promote(workspace, "churn", BERT, "2", "the sales team tries it")
    return workspace


@pytest.fixture
def shop(forced: Workspace, tmp_path) -> Workspace:
    return copied(forced, tmp_path / "shop")


def champions(workspace: Workspace) -> list[str | None]:
    return [entry.event.version for entry in registry.history(workspace, "churn").entries]


def judgements(workspace: Workspace) -> list[str]:
    return [line.judgement for line in Log(workspace, "churn").judged()]


def test_a_worse_champion_is_taken_back_exactly_once_and_the_reason_holds_the_figures(shop):
    mature(shop, "2", [NIGHT])
    say(shop, alarm("performance", "model", "AUC fell."), version="2", until=NIGHT + WEEK)
    assert told(shop, "--dry-run")["outcome"] == "would roll back" and champions(shop) == ["1", "2"]
    one = told(shop)
    assert (one["outcome"], one["champion"], one["relapse"]["judgement"]) == ("rolled back", "1", "rolled back")
    event = registry.history(shop, "churn").last.event
    assert (event.kind, event.version, event.before, event.by) == ("rollback", "1", "2", BY)
    assert "against what version 1 would have given: significantly worse, AUC -0." in event.reason
    assert 'It was let in past failed gates: "the sales team tries it".' in event.reason
    assert judgements(shop) == ["rolled back"]
    assert told(shop)["outcome"] == "idle" and champions(shop) == ["1", "2", "1"]
    assert "version 2 rolled back" in call(shop, "churn", "--history").stdout


def test_whoever_promotes_it_again_has_the_last_word(shop):
    mature(shop, "2", [NIGHT])
    say(shop, version="2", until=NIGHT + WEEK)
    call(shop, "churn")
    registry.promote(shop, "churn", Signature("bert", NOW), "2", "we need it all the same")
    assert told(shop)["relapse"] is None and champions(shop) == ["1", "2", "1", "2"]


def test_the_week_is_judged_once_its_last_microsecond_is_known(shop):
    mature(shop, "2", [NIGHT])
    say(shop, version="2", until=NIGHT + WEEK - timedelta(microseconds=1))
    one = told(shop)
    assert one["relapse"]["judgement"] is None
    assert "The first week of version 2 is known from 2023-12-13 on." in one["sentences"]
    say(shop, version="2", until=NIGHT + WEEK)
    assert told(shop, "--dry-run")["outcome"] == "would roll back"


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


def test_a_champion_that_is_no_worse_is_kept_and_not_judged_again(shop):
    """It said what version 1 would have said, so that nothing lies between the two."""
    mature(shop, "2", [NIGHT], by="1")
    say(shop, version="2", until=NIGHT + WEEK)
    one = told(shop)
    assert one["relapse"]["judgement"] == "kept" and champions(shop) == ["1", "2"]
    assert "not significantly worse, AUC +0.000 (+0.000 to +0.000)" in one["relapse"]["sentence"]
    mature(shop, "2", [NIGHT])
    assert told(shop)["relapse"] is None and judgements(shop) == ["kept"]


@pytest.mark.parametrize(
    ("said", "judgement", "words"),
    [
        (lambda rows: rows["probability"] / 20, "rolled back", "significantly worse, AUC +0.000"),
        (lambda rows: 0.9 + 0.05 * rows["label"], "warned", "worse in one, better in the other"),
    ],
)
def test_probabilities_that_are_off_count_as_well_and_where_the_two_figures_disagree_a_person_decides(
    shop, said, judgement, words
):
    """The same order as version 1's at a twentieth of its probabilities; the best of all orders at far too high ones."""
    mature(shop, "2", [NIGHT], by="1")
    [path] = matured_file.folder(shop, "churn").rglob("*.parquet")
    rows = pd.read_parquet(path, partitioning=None)
    pq.write_table(pa.Table.from_pandas(rows.assign(probability=said(rows)), SCHEMA, preserve_index=False), path)
    say(shop, version="2", until=NIGHT + WEEK)
    relapse = told(shop)["relapse"]
    assert relapse["judgement"] == judgement and words in relapse["sentence"]


def test_where_the_settings_forbid_it_there_is_a_warning_only(shop):
    mature(shop, "2", [NIGHT])
    say(shop, version="2", until=NIGHT + WEEK)
    one = told(set_keys(shop, "rollback = false"))
    assert one["relapse"]["judgement"] == "warned" and champions(shop) == ["1", "2"] and judgements(shop) == ["warned"]


def test_nothing_known_yet_is_said_and_scores_that_were_asked_for_one_by_one_are_not_compared(shop):
    say(shop, version="2", until=NIGHT + WEEK)
    assert "No outcome of a batch of version 2 is known yet" in told(shop)["sentences"][0]
    assert judgements(shop) == []


def test_a_version_before_that_cannot_be_read_is_said_and_the_champion_kept(shop):
    mature(shop, "2", [NIGHT])
    say(shop, version="2", until=NIGHT + WEEK)
    for contract in (shop.mlruns / "artifacts").rglob("contract.json"):
        if '"orders_amount_max_365d"' not in contract.read_text() or contract.read_text().count('"name"') > 2:
            contract.write_text(contract.read_text().replace('"format": 2', '"format": 0'))
    one = told(shop)
    assert one["relapse"]["judgement"] == "kept" and "cannot be compared with version 1" in one["relapse"]["sentence"]


def test_the_first_champion_stands_no_trial(october, tmp_path):
    workspace = copied(october, tmp_path / "shop")
    mature(workspace, "1", [NIGHT])
    say(workspace, until=NIGHT + WEEK)
    assert told(workspace)["relapse"] is None
    assert registry.history(workspace, "churn").last.event.by == ANNA.by
