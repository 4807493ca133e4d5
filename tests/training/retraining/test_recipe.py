"""Training again, with a real training in a real registry: what lets one through, what stops it, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from features.catalog import Catalog
from features.errors import RegistryError
from features.propensity import load
from features.settings import Workspace
from foresell import main
from tests.training.conftest import NOW, QUIET, copied
from tests.training.retraining.conftest import OCTOBER, alarm, call, say, set_keys, told
from tests.training.test_registry_promotion import add, killed
from training import registry
from training.commands.turn import turn
from training.gates import Verdict
from training.registry import LONGEST_REASON, Signature, promotion
from training.retraining.attempts import Begun, Log
from training.retraining.recipe import Call, Case, _through_the_gates, retrain
from training.retraining.standing import BY, Serving
from training.train import Trained

DRIFT = alarm("drift", "feature", "orders_count_30d has moved.")
STOPPED = alarm("stopped", "data", "The table orders stopped on 2023-12-20.")


def champions(workspace: Workspace) -> list[str | None]:
    return [entry.event.version for entry in registry.history(workspace, "churn").entries]


def at(workspace: Workspace, instant: datetime, **words: object) -> Call:
    return Call(workspace, Signature(BY, instant), QUIET, **words)  # type: ignore[arg-type]


def test_without_a_reason_nothing_is_done(shop):
    one = told(shop)
    assert (one["outcome"], one["champion"], one["triggers"]) == ("idle", "1", [])
    assert "`foresell monitor` has not looked at it yet" in one["sentences"][0]
    say(shop)
    assert "monitoring of 2024-01-01 has no alarm that calls for it" in told(shop)["sentences"][0]
    assert registry.newest_version(shop, "churn") == "1" and Log(shop, "churn").lines() == ()
    assert "churn: idle" in call(shop).stderr


def test_a_drift_trains_again_and_the_history_says_why(shop):
    say(shop, DRIFT)
    one = told(shop)
    assert (one["outcome"], one["champion"], one["version"]) == ("promoted", "2", "2")
    assert one["triggers"] == [{"cause": "drift", "sentence": DRIFT.sentence}]
    assert "On the same rows not worse than champion version 1" in one["sentences"][1]
    last = registry.history(shop, "churn").last
    assert (last.event.by, last.event.reason, last.event.before) == (BY, f"drift: {DRIFT.sentence}", "1")
    assert not last.event.forced and last.event.evidence.gates[-1].gate == "contract"
    [attempt] = Log(shop, "churn").attempts()
    assert (attempt.begun.why, attempt.begun.before) == ((f"drift: {DRIFT.sentence}",), "1")
    assert (attempt.ended.end, attempt.ended.version, attempt.ended.sentences) == ("promoted", "2", tuple(one["sentences"]))
    assert f'reason: "drift: {DRIFT.sentence}"' in _history(shop)
    shown = call(shop, "churn", "--history").stdout
    assert "promoted, version 2 (champion: version 1)" in shown and DRIFT.sentence in shown
    again = told(shop)
    assert again["outcome"] == "idle", "what was said of the version before is no reason any more"
    assert "monitoring of 2024-01-01 looked at version 1," in again["sentences"][-1]
    say(shop, DRIFT, version="2")
    again = told(shop)
    assert again["outcome"] == "nothing new" and again["triggers"]
    assert "outcomes of scores up to 2023-11-27 are learned; the next are known from 2024-01-24 on" in again["sentences"][-1]


def test_a_worse_model_is_refused_the_champion_stays_and_the_same_data_is_not_tried_twice(refused, tmp_path):
    shop = copied(refused, tmp_path / "shop")
    said = (shop.root / "told.txt").read_text()
    assert "churn: refused" in said and "Version 2 is refused and version 1 stays." in said
    assert "On the same rows worse than champion version 1: AUC -0." in said
    assert (registry.champion_version(shop, "churn"), champions(shop)) == ("1", ["1"])
    [attempt] = Log(shop, "churn").attempts()
    assert (attempt.ended.end, attempt.ended.version) == ("refused", "2") and "worse" in attempt.ended.sentences[-1]
    assert told(shop)["outcome"] == "nothing new"


def test_broken_data_teaches_nothing_unless_somebody_insists(shop):
    say(shop, STOPPED, DRIFT)
    one = told(shop)
    assert one["outcome"] == "blocked" and STOPPED.sentence in one["sentences"][1]
    assert "--because" in one["sentences"][-1] and Log(shop, "churn").lines() == ()
    one = told(shop, "--because", "the table is known to have ended", "--dry-run")
    assert one["outcome"] == "would train"


def test_a_dry_run_says_what_would_be_done_and_does_nothing(shop):
    before = sorted(shop.mlruns.rglob("*.json"))
    one = told(set_keys(shop, 'every = "28d"'), "--dry-run")
    assert (one["outcome"], one["triggers"][0]["cause"]) == ("would train", "schedule")
    assert "from outcomes of scores up to 2023-11-27" in one["sentences"][0]
    assert sorted(shop.mlruns.rglob("*.json")) == before and Log(shop, "churn").lines() == ()


def test_the_budget_says_when_the_next_attempt_is_possible_to_the_microsecond(shop):
    say(shop, DRIFT)
    log = Log(set_keys(shop, 'attempts = 1\nwithin = "28d"'), "churn")
    log.add(Begun(id="a", at=NOW, why=("drift",), before="1", newest=OCTOBER))
    shop, edge = Workspace.open(shop.root), NOW + timedelta(days=28)
    spent = retrain(at(shop, edge - timedelta(microseconds=1), dry=True), "churn")
    assert (spent.outcome, spent.next_at) == ("exhausted", edge)
    assert "tried 1 times within 28d; the next attempt is possible at 2024-01-29 00:00:00 UTC" in spent.sentences[0]
    assert retrain(at(shop, edge, dry=True), "churn").outcome == "would train"
    assert told(shop, "--as-of", "2024-01-05", "--because", "now")["next_at"] == edge.isoformat()


def test_a_failed_attempt_counts_and_is_told_with_what_was_passed_over(shop):
    say(shop, STOPPED, DRIFT)
    catalog = Catalog.load(shop)
    replace(catalog, observed_until=OCTOBER.date().isoformat()).save(shop)  # its tables know of later orders, which is an error
    done = call(shop, "churn", "--json", "--because", "we try it", "--as-of", "2024-01-02T03:00:00", code=1)
    document = json.loads(done.stdout)
    assert document["retrained"] == [] and document["failed"]["churn"]["error"] == "QualityError"
    [attempt] = Log(shop, "churn").attempts()
    assert attempt.begun.at == datetime(2024, 1, 2, 3, tzinfo=UTC)
    assert attempt.begun.why == ("asked: we try it", f"drift: {DRIFT.sentence}", f"In spite of: {STOPPED.sentence}")
    assert attempt.ended.end == "failed" and attempt.ended.sentences[0].startswith("QualityError: ")
    assert told(set_keys(shop, "attempts = 1"), "--because", "once more", "--as-of", "2024-01-03")["outcome"] == "exhausted"


def test_one_that_is_killed_counts_and_while_it_is_at_work_another_one_is_told(shop):
    say(shop, DRIFT)
    set_keys(shop, "attempts = 1")
    log = Log(shop, "churn")
    command = [sys.executable, "-m", "foresell", "retrain", "churn", "--workspace", str(shop.root)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        while not log.lines():
            assert process.poll() is None
            time.sleep(0.05)
        busy = call(shop, "churn", code=1).stderr
        assert "under way, or broken off" in call(shop, "churn", "--history").stdout
        process.send_signal(signal.SIGKILL)
    assert "one retraining at a time" in busy and f"process {process.pid}" in busy
    one = told(shop)
    assert one["outcome"] == "exhausted" and "was broken off; it counts" in one["sentences"][0]
    assert [attempt.ended.end for attempt in log.attempts()] == ["broken off"]
    assert champions(shop) == ["1"]


def test_what_somebody_promoted_during_the_training_stands(shop):
    mine, other = add(shop), add(shop)
    registry.promote(shop, "churn", Signature("bert", NOW), other)
    case = Case(load(shop, "churn"), Log(shop, "churn"), Serving("1", OCTOBER), None)
    trained = Trained("churn", mine, "lightgbm", "time", None, Verdict(()), 0)  # type: ignore[arg-type]
    with pytest.raises(RegistryError, match=f"version 1 as champion, as when this began(.|\n)*received: version {other}"):
        _through_the_gates(at(shop, NOW), case, trained, ("drift: It moved.",))
    assert (champions(shop), registry.history(shop, "churn").last.event.by) == (["1", other], "bert")


def test_one_that_was_killed_while_its_version_came_to_serve_is_finished_by_the_next(shop, monkeypatch):
    why = (f"drift: {DRIFT.sentence}",)
    Log(shop, "churn").add(Begun(id="a", at=NOW, why=why, before="1", newest=OCTOBER))
    version = add(shop)
    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(shop, "churn", Signature(BY, NOW), version, because=why[0], over="1")
    assert registry.champion_version(shop, "churn") == "1"
    monkeypatch.setattr(promotion, "PATIENCE", 1)
    assert retrain(at(shop, NOW, dry=True), "churn").champion == "1", "a dry run finishes nothing"
    done = retrain(at(shop, NOW + timedelta(hours=1)), "churn")
    assert done.champion == registry.champion_version(shop, "churn") == version
    assert f"was broken off once version {version} served; it counts" in done.sentences[0]
    [attempt] = Log(shop, "churn").attempts()
    assert (attempt.ended.end, attempt.ended.version) == ("promoted", version)


def test_one_training_of_a_propensity_at_a_time_whoever_trains(shop):
    say(shop, DRIFT)
    with turn(shop, "churn"):
        assert "one training of it at a time" in call(shop, "churn", code=1).stderr
        done = CliRunner().invoke(main, ["train", "churn", "--workspace", str(shop.root)])
    assert done.exit_code == 1 and "one training of it at a time" in done.stderr and f"process {os.getpid()}" in done.stderr
    assert registry.newest_version(shop, "churn") == "1" and Log(shop, "churn").lines() == ()


def test_without_a_champion_there_is_nothing_to_train_again(make_shop):
    workspace = make_shop(customers=5)
    assert told(workspace)["outcome"] == "idle"
    assert "there is no champion to train again" in call(workspace).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chrun"], "propensity 'chrun'"),
        (["--because", " "], "nothing"),
        (["--because", "x" * (LONGEST_REASON + 1)], "501 characters"),
        (["--as-of", "2999-01-01"], "an instant that has passed"),
    ],
)
def test_a_wrong_call_is_told_before_anything_is_done(october, words, said):
    done = call(october, *words, code=2)
    assert said in done.stderr and "Traceback" not in done.output
    assert not october.retraining.exists()


def test_settings_that_make_no_sense_are_refused(shop):
    path: Path = shop.root / "foresell.toml"
    path.write_text(path.read_text() + '\n[retrain]\nevery = "monthly"\n')
    assert "retrain.every" in call(shop, "churn", code=2).stderr


def _history(workspace: Workspace) -> str:
    return CliRunner().invoke(main, ["history", "churn", "--workspace", str(workspace.root)]).stdout
