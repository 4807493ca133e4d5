"""`foresell history` and `foresell which`, and what `promote` and `rollback` say."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.training.conftest import ME
from tests.training.test_commands import call
from tests.training.test_registry_promotion import FAILED, add, client, killed
from training import registry
from training.registry import ledger, promotion


def test_the_whole_life_of_a_champion_can_be_read_back(trained):
    add(trained, FAILED)
    call(trained, "promote", "churn", "--version", "1", "--by", "anna")
    assert "in spite of: AUC 0.510 misses 0.600." in call(trained, "promote", "churn", "--force", "a [bold] trial").stderr
    call(trained, "rollback", "churn", "--reason", "reps complain")
    told = call(trained, "history", "churn").stdout
    gates = len(registry.report(trained, "churn", "1")[0]["gates"]) + 1  # that of the contract is judged at the promotion
    assert "version 1 promoted by anna" in told
    assert told.count(f"{gates} of {gates} gates passed") == 2 and told.count("1 of 2 gates passed") == 1
    assert f"version 2 promoted, version 1 demoted by {getpass.getuser()}" in told
    assert 'reason: "a [bold] trial"' in told and "failed: AUC 0.510 misses 0.600." in told
    assert "version 1 brought back, version 2 demoted" in told and 'reason: "reps complain"' in told
    document = json.loads(call(trained, "history", "churn", "--json").stdout)
    assert (document["propensity"], document["champion"]) == ("churn", "1")
    assert [(event["kind"], event["version"], event["forced"]) for event in document["events"]] == [
        ("promotion", "1", False),
        ("promotion", "2", True),
        ("rollback", "1", False),
    ]
    assert 0.5 < document["events"][0]["evidence"]["auc_low"] < document["events"][0]["evidence"]["auc"]
    assert len(document["events"][0]["evidence"]["data_fingerprint"]) == 32


def test_which_tells_the_version_of_an_instant_and_its_evidence(trained):
    before = datetime.now(UTC)
    call(trained, "promote", "churn", "--by", "anna")
    told = call(trained, "which", "churn").stdout
    assert "version 1 served" in told and "version 1 promoted by anna" in told and "pass: AUC 0." in told
    asked = json.loads(call(trained, "which", "churn", "--at", before.isoformat(), "--json").stdout)
    [event] = json.loads(call(trained, "history", "churn", "--json").stdout)["events"]
    assert (asked["version"], asked["event"], asked["until"], asked["doubt"]) == (None, None, event["since"], None)
    asked = json.loads(call(trained, "which", "churn", "--at", event["since"], "--json").stdout)
    assert (asked["version"], asked["event"], asked["until"]) == ("1", event, None)
    assert "no version served" in call(trained, "which", "churn", "--at", "2020-01-01").stdout


def test_which_does_not_foretell(trained):
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert "an instant that has passed" in call(trained, "which", "churn", "--at", tomorrow, code=2).stderr


def test_a_move_in_mlflow_itself_is_shown_as_such(trained):
    add(trained)
    call(trained, "promote", "churn", "--version", "1")
    client(trained).set_registered_model_alias("churn", "champion", "2")
    told = call(trained, "history", "churn").stdout
    assert "MLflow itself calls version 2 the champion, but the history ends with version 1" in told
    assert "moved" in json.loads(call(trained, "history", "churn", "--json").stdout)
    assert "not certain" in call(trained, "which", "churn").stdout
    call(trained, "rollback", "churn")
    told = call(trained, "history", "churn").stdout
    assert "version 2 made champion in MLflow itself, version 1 demoted (noticed at 20" in told
    assert "the history ends with" not in told


def test_a_promotion_that_was_killed_half_way_is_shown_as_not_in_effect(trained, monkeypatch):
    monkeypatch.setattr(promotion, "_set_alias", killed)
    with pytest.raises(KeyboardInterrupt):
        registry.promote(trained, "churn", ME)
    told = call(trained, "history", "churn").stdout
    assert "UTC, not finished  version 1 promoted" in told
    assert "event 1 is not finished" in told and "MLflow calls no version the champion" in told
    told = call(trained, "which", "churn").stdout
    assert "no version served" in told and "not certain: event 1" in told


def test_a_promotion_that_was_killed_after_its_alias_moved_is_told_as_serving_but_not_certain(trained, monkeypatch):
    monkeypatch.setattr(ledger.Ledger, "took_effect", killed)
    with pytest.raises(KeyboardInterrupt):
        registry.promote(trained, "churn", ME)
    told = call(trained, "which", "churn").stdout
    assert "version 1 served" in told and "not certain: event 1" in told


def test_brackets_in_names_and_reasons_are_shown_as_they_were_written(trained):
    by, reason = "ana [/sales] [red]", "why \\[/not]"
    call(trained, "promote", "churn", "--force", reason, "--by", by)
    for command in ("history", "which"):
        told = call(trained, command, "churn").stdout
        assert f"version 1 promoted by {by}\n" in told and f'reason: "{reason}"' in told


def test_nothing_promoted_is_said_and_makes_no_store(make_shop):
    shop = make_shop(customers=5)
    assert "no version has ever been promoted" in call(shop, "history", "churn").stderr
    assert "no version served" in call(shop, "which", "churn").stdout
    assert "there has been none" in call(shop, "rollback", "churn", code=1).stderr
    assert not shop.mlruns.exists()


def test_the_name_in_the_history_comes_from_the_environment_too(trained, monkeypatch):
    monkeypatch.setenv("FORESELL_USER", "nightly")
    call(trained, "promote", "churn")
    assert "version 1 promoted by nightly" in call(trained, "history", "churn").stdout


def test_wrong_calls_end_with_two(trained):
    assert "expected  a reason" in call(trained, "promote", "churn", "--force", " ", code=2).stderr
    assert "one of churn" in call(trained, "history", "chrun", code=2).stderr
    assert "one of churn" in call(trained, "which", "chrun", code=2).stderr
    assert "one of churn" in call(trained, "rollback", "chrun", code=2).stderr
    assert "ISO date" in call(trained, "which", "churn", "--at", "yesterday", code=2).stderr
