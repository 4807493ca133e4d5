"""Moving the champion: by one person, by several at once, with a kill in between, and behind Foresell's back."""

from __future__ import annotations

import multiprocessing
from datetime import timedelta

import pytest

from features.errors import CallError, GateError, RegistryError
from features.settings import Workspace
from tests.training.conftest import ME, NOW
from training import registry
from training.registry import CONTRACT_GATE, Judged, Signature, judged, ledger, promotion

LATER = Signature("bert", NOW + timedelta(hours=1))
LATEST = Signature("carla", NOW + timedelta(hours=2))
FAILED = {"verdict": "fail", "gates": [{"gate": "min_auc", "passed": False, "sentence": "AUC 0.510 misses 0.600."}]}
PASSED = {"verdict": "pass", "gates": [{"gate": "min_auc", "passed": True, "sentence": "AUC 0.700 reaches 0.600."}]}


def add(workspace: Workspace, report: dict[str, object] = PASSED, times: int = 1) -> str:
    """Register the model of version 1 again, with another report."""
    model = registry.load(workspace, "churn", "1").model
    record = registry.Record({}, {}, {"verdict": str(report["verdict"])}, report, {"report/report.html": "<html>"})
    return [registry.register(workspace, model, record) for _ in range(times)][-1]


def client(workspace: Workspace):
    import mlflow

    uri = registry.store_uri(workspace)
    return mlflow.MlflowClient(uri, uri)


def aliases(workspace: Workspace) -> dict[str, str]:
    found = client(workspace).get_registered_model("churn").aliases
    return {alias: str(version) for alias, version in found.items()}


def champions(workspace: Workspace) -> list[str | None]:
    return [entry.event.version for entry in registry.history(workspace, "churn").entries]


def test_the_newest_version_waits_as_challenger_until_it_is_promoted(trained):
    assert aliases(trained) == {"challenger": "1"}
    assert add(trained) == "2"
    assert aliases(trained) == {"challenger": "2"}
    registry.promote(trained, "churn", ME, "1")
    assert aliases(trained) == {"champion": "1", "challenger": "2"}
    registry.promote(trained, "churn", LATER)
    assert aliases(trained) == {"champion": "2"}


def test_a_promotion_is_written_down_with_its_evidence(trained):
    entry = registry.promote(trained, "churn", ME)
    document, _ = registry.report(trained, "churn", "1")
    event, [found] = entry.event, registry.history(trained, "churn").entries
    assert found == entry
    assert (entry.number, entry.since, event.kind, event.version, event.before) == (1, NOW, "promotion", "1", None)
    assert (event.by, event.at, event.reason, event.forced) == ("anna", NOW, "", False)
    evidence = event.evidence
    assert evidence.verdict == "pass"
    assert (evidence.auc, evidence.auc_low) == (document["test"]["auc"], document["test"]["auc_low"])
    assert [gate.model_dump() for gate in evidence.gates] == document["gates"]
    assert evidence.data_fingerprint == document["data_fingerprint"]


def test_what_a_version_was_trained_for_stands_in_the_history_and_lets_nothing_pass(trained):
    assert registry.promote(trained, "churn", ME, because="drift: it moved").event.reason == "drift: it moved"
    with pytest.raises(GateError, match=r"AUC 0\.510 misses"):
        registry.promote(trained, "churn", LATER, add(trained, FAILED), because="drift: it moved")
    with pytest.raises(CallError, match="the reason"):
        registry.promote(trained, "churn", LATER, add(trained), because="x" * 501)


def test_promoting_the_champion_again_writes_nothing(trained):
    first = registry.promote(trained, "churn", ME)
    again = registry.promote(trained, "churn", LATER)
    assert (again, again.written, first.written) == (first, False, True)
    assert champions(trained) == ["1"]


def test_rollback_goes_one_step_back_each_time_and_says_when_there_is_none(trained):
    add(trained, times=2)
    for version, who in (("1", ME), ("2", LATER), ("3", LATEST)):
        registry.promote(trained, "churn", who, version)
    assert registry.rollback(trained, "churn", LATEST, "upside down").event.version == "2"
    assert registry.rollback(trained, "churn", LATEST).event.version == "1"
    with pytest.raises(RegistryError, match="version 1 is the first"):
        registry.rollback(trained, "churn", LATEST)
    assert champions(trained) == ["1", "2", "3", "2", "1"]
    entries = registry.history(trained, "churn").entries
    assert [entry.event.before for entry in entries] == [None, "1", "2", "3", "2"]
    assert (entries[3].event.kind, entries[3].event.reason, entries[3].event.by) == ("rollback", "upside down", "carla")
    assert registry.champion_version(trained, "churn") == "1"


def test_of_two_rollbacks_at_once_the_second_is_refused(trained):
    """While the one judges the version it would bring back, the other is done."""
    add(trained, times=2)
    for version in ("1", "2", "3"):
        registry.promote(trained, "churn", ME, version)

    def overtaken(version: str) -> Judged:
        if registry.champion_version(trained, "churn") == "3":
            registry.rollback(trained, "churn", LATER)
        return judged("contract", True, f"version {version} is well fed")

    with pytest.raises(RegistryError, match=r"expected: version 3 as champion(.|\n)*received: version 2"):
        registry.rollback(trained, "churn", LATEST, check=overtaken)
    assert champions(trained) == ["1", "2", "3", "2"]


def test_whoever_was_held_against_one_champion_replaces_no_other(trained, monkeypatch):
    """Also where the other's alias has not yet followed when it is looked at."""
    add(trained, times=3)
    registry.promote(trained, "churn", ME, "1")
    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(trained, "churn", LATER, "2")
    monkeypatch.setattr(promotion, "PATIENCE", 1)
    with pytest.raises(RegistryError, match=r"expected: version 1 as champion(.|\n)*received: version 2"):
        registry.promote(trained, "churn", LATEST, "3", over="1")
    with pytest.raises(RegistryError, match=r"expected: version 1 as champion(.|\n)*received: version 2"):
        registry.rollback(trained, "churn", LATEST, over="1")
    assert champions(trained) == ["1", "2"] and aliases(trained)["champion"] == "2"
    assert registry.promote(trained, "churn", LATEST, "3", over="2").event.before == "2"


def test_a_gate_that_was_checked_at_the_move_stands_in_its_evidence(trained):
    add(trained)
    asked = []

    def starving(version: str) -> Judged:
        asked.append(version)
        return judged(CONTRACT_GATE, False, "The table is gone.")

    with pytest.raises(GateError, match=r"The table is gone\."):
        registry.promote(trained, "churn", ME, check=starving)
    event = registry.promote(trained, "churn", ME, reason="it comes back", check=starving).event
    assert (event.version, event.forced, event.evidence.failed) == ("2", True, ("The table is gone.",))
    registry.promote(trained, "churn", LATER, "1")
    event = registry.rollback(trained, "churn", LATEST, "it comes back", starving).event
    assert (event.version, event.forced, event.evidence.failed) == ("2", True, ("The table is gone.",))
    assert asked == ["2"] * 3, "exactly the version that serves is checked"


def test_a_rollback_to_a_version_that_was_once_forced_forces_nothing(trained):
    registry.promote(trained, "churn", ME, add(trained, FAILED), "a trial")
    registry.promote(trained, "churn", LATER, "1")
    event = registry.rollback(trained, "churn", LATEST).event
    assert (event.version, event.forced) == ("2", False)


def test_rollback_without_a_champion_says_so(trained):
    with pytest.raises(RegistryError, match="there has been none"):
        registry.rollback(trained, "churn", ME)


def test_rollback_to_a_version_that_was_deleted_names_it(trained):
    add(trained)
    registry.promote(trained, "churn", ME, "1")
    registry.promote(trained, "churn", LATER, "2")
    client(trained).delete_model_version("churn", "1")
    with pytest.raises(RegistryError, match="version 1"):
        registry.rollback(trained, "churn", LATEST)
    assert registry.champion_version(trained, "churn") == "2"


def test_a_version_that_was_rolled_back_comes_again_only_by_name(trained):
    add(trained)
    registry.promote(trained, "churn", ME, "1")
    registry.promote(trained, "churn", ME)
    registry.rollback(trained, "churn", LATER)
    with pytest.raises(RegistryError, match="--version 2"):
        registry.promote(trained, "churn", LATEST)
    assert registry.promote(trained, "churn", LATEST, "2").event.before == "1"


def test_force_needs_a_reason_and_the_history_keeps_it(trained):
    version = add(trained, FAILED)
    with pytest.raises(GateError, match=r"AUC 0\.510 misses 0\.600.*(.|\n)*--force"):
        registry.promote(trained, "churn", ME)
    assert champions(trained) == []
    event = registry.promote(trained, "churn", ME, reason="a week's trial").event
    assert (event.version, event.reason, event.forced) == (version, "a week's trial", True)
    assert event.evidence.failed == ("AUC 0.510 misses 0.600.",)


def test_a_reason_for_a_version_that_passed_forces_nothing(trained):
    event = registry.promote(trained, "churn", ME, reason="better on the phone").event
    assert (event.reason, event.forced) == ("better on the phone", False)


def test_a_reason_as_long_as_a_letter_is_refused(trained):
    for move in (registry.promote, registry.rollback):
        with pytest.raises(CallError, match="at most 500"):
            move(trained, "churn", ME, reason="x" * 501)


def test_a_name_as_long_as_a_letter_is_refused_before_it_can_break_the_history(trained):
    for move in (registry.promote, registry.rollback):
        with pytest.raises(CallError, match=r"received: 7,000(.|\n)*--by"):
            move(trained, "churn", Signature("x" * 7_000, NOW))
    assert champions(trained) == []


def test_what_mlflow_would_cut_is_not_written(trained):
    gates = [{"gate": "g" * 300, "passed": True, "sentence": ""} for _ in range(30)]
    add(trained, {"verdict": "pass", "gates": gates})
    with pytest.raises(RegistryError, match=r"at most 6,000 characters(.|\n)*names of the gates"):
        registry.promote(trained, "churn", ME)
    assert champions(trained) == []


@pytest.mark.parametrize(("failed", "kept"), [(9, [240] * 9 + [0] * 21), (30, [0] * 30)])
def test_an_event_never_exceeds_what_mlflow_keeps(trained, failed, kept):
    gates = [{"gate": f"gate_{n}", "passed": n >= failed, "sentence": "s" * 400} for n in range(30)]
    add(trained, {"verdict": "fail", "gates": gates})
    registry.promote(trained, "churn", ME, reason="r" * 500)
    [entry] = registry.history(trained, "churn").entries
    assert [len(gate.sentence) for gate in entry.event.evidence.gates] == kept
    assert entry.event.reason == "r" * 500


def test_a_champion_moved_in_mlflow_itself_is_seen_and_then_written_down(trained):
    add(trained, times=2)
    registry.promote(trained, "churn", ME, "1")
    client(trained).set_registered_model_alias("churn", "champion", "2")
    seen = registry.history(trained, "churn")
    assert (seen.moved, seen.alias, champions(trained)) == (True, "2", ["1"])
    assert "MLflow calls version 2 the champion" in seen.at(NOW).doubt
    registry.promote(trained, "churn", LATER, "3")
    entries = registry.history(trained, "churn").entries
    assert [(entry.event.kind, entry.event.version, entry.event.before) for entry in entries] == [
        ("promotion", "1", None),
        ("outside", "2", "1"),
        ("promotion", "3", "2"),
    ]
    assert (entries[1].event.by, entries[1].event.at, entries[1].event.evidence.verdict) == ("", LATER.at, "pass")
    assert registry.rollback(trained, "churn", LATEST).event.version == "2"


def test_a_champion_taken_away_in_mlflow_itself_can_be_brought_back(trained):
    registry.promote(trained, "churn", ME)
    client(trained).delete_registered_model_alias("churn", "champion")
    assert registry.history(trained, "churn").moved
    assert registry.rollback(trained, "churn", LATER).event.version == "1"
    assert champions(trained) == ["1", None, "1"]


def test_a_champion_from_before_the_history_is_its_first_event(trained):
    client(trained).set_registered_model_alias("churn", "champion", "1")
    assert registry.history(trained, "churn").moved
    add(trained)
    registry.promote(trained, "churn", LATER, "2")
    assert champions(trained) == ["1", "2"]
    assert registry.rollback(trained, "churn", LATEST).event.version == "1"


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_killed_before_the_alias_followed_a_promotion_is_finished_by_the_next(trained, monkeypatch):
    add(trained, times=2)
    registry.promote(trained, "churn", ME, "1")
    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(trained, "churn", LATER, "2")
    seen = registry.history(trained, "churn")
    assert (seen.unfinished.event.version, seen.alias, seen.moved) == ("2", "1", False)
    assert seen.at(LATEST.at).version == "1", "it never served"
    monkeypatch.setattr(promotion, "PATIENCE", 1)
    registry.promote(trained, "churn", LATEST, "3")
    entries = registry.history(trained, "churn").entries
    assert [(entry.event.version, entry.since) for entry in entries] == [("1", NOW), ("2", LATEST.at), ("3", LATEST.at)]
    assert aliases(trained)["champion"] == "3"


def test_killed_after_the_alias_followed_a_promotion_counts(trained, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ledger.Ledger, "took_effect", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(trained, "churn", ME)
    assert registry.champion_version(trained, "churn") == "1"
    assert not registry.history(trained, "churn").moved
    monkeypatch.setattr(promotion, "PATIENCE", 1)
    served = registry.history(trained, "churn").at(LATER.at)
    assert (served.version, "was not finished" in served.doubt) == ("1", True)
    assert registry.promote(trained, "churn", LATER).event.by == "anna"
    assert [entry.since for entry in registry.history(trained, "churn").entries] == [NOW], "it has served since the alias moved"


def test_a_promotion_takes_effect_when_its_alias_follows_not_when_it_began(trained):
    instants = iter(NOW + timedelta(seconds=seconds) for seconds in (3, 4))
    entry = registry.promote(trained, "churn", Signature("anna", NOW, lambda: next(instants)))
    assert (entry.event.at, entry.since) == (NOW + timedelta(seconds=3), NOW + timedelta(seconds=4))


def test_who_began_earlier_and_came_second_does_not_serve_before_who_came_first(trained):
    add(trained)
    registry.promote(trained, "churn", LATER, "1")
    registry.promote(trained, "churn", ME, "2")
    history = registry.history(trained, "churn")
    assert [entry.since for entry in history.entries] == [LATER.at, LATER.at]
    assert [history.at(instant).version for instant in (NOW, LATER.at)] == [None, "2"]


def test_an_event_whose_answer_was_lost_is_not_written_twice(trained, monkeypatch):
    """The server has written it down, and the client never heard of that."""
    import mlflow
    from mlflow.exceptions import MlflowException

    add(trained, times=2)
    for version in ("1", "2", "3"):
        registry.promote(trained, "churn", ME, version)
    write = mlflow.MlflowClient.log_param

    def lost(*words: object) -> None:
        write(*words)
        raise MlflowException("connection reset")

    monkeypatch.setattr(mlflow.MlflowClient, "log_param", lost)
    registry.rollback(trained, "churn", LATER)
    assert champions(trained) == ["1", "2", "3", "2"]


def test_a_promotion_of_a_version_that_was_deleted_blocks_nobody(trained, monkeypatch):
    add(trained, times=2)
    registry.promote(trained, "churn", ME, "1")
    with monkeypatch.context() as patch:
        patch.setattr(promotion, "_set_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            registry.promote(trained, "churn", LATER, "2")
    client(trained).delete_model_version("churn", "2")
    monkeypatch.setattr(promotion, "PATIENCE", 1)
    registry.promote(trained, "churn", LATEST, "3")
    assert champions(trained) == ["1", "2", "1", "3"]
    assert registry.champion_version(trained, "churn") == "3"


def test_a_version_is_one_however_it_is_written(trained):
    assert registry.promote(trained, "churn", ME, "01").event.version == "1"
    assert not registry.history(trained, "churn").moved


def test_an_event_cannot_be_overwritten(trained):
    registry.promote(trained, "churn", ME)
    api = client(trained)
    run_id = api.get_experiment_by_name("churn history").tags[ledger.LEDGER_TAG]
    found = ledger.Ledger(api, run_id)
    [entry] = found.entries()
    assert not found.append(1, entry.event.model_copy(update={"by": "mallory"}))
    found.took_effect(1, LATEST.at)
    assert found.entries() == (entry,)


def test_a_deleted_history_is_said_and_can_be_restored(trained):
    registry.promote(trained, "churn", ME)
    experiment = client(trained).get_experiment_by_name("churn history")
    client(trained).delete_experiment(experiment.experiment_id)
    for ask in (registry.history, lambda *a: registry.promote(*a, ME)):
        with pytest.raises(RegistryError, match="mlflow experiments restore"):
            ask(trained, "churn")
    client(trained).restore_experiment(experiment.experiment_id)
    assert champions(trained) == ["1"]


def test_an_experiment_of_that_name_that_is_not_ours_is_said(trained):
    client(trained).create_experiment("churn history")
    with pytest.raises(RegistryError, match="rename that experiment"):
        registry.promote(trained, "churn", ME)


def _promote_all(workspace: Workspace, versions: list[str], by: str, start) -> None:
    start.wait()
    for version in versions:
        registry.promote(workspace, "churn", Signature(by, NOW), version)


def at_once(workspace: Workspace, *plans: list[str]) -> None:
    """Let one process for each plan promote its versions, all starting together."""
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(len(plans))
    people = [context.Process(target=_promote_all, args=(workspace, plan, f"p{n}", start)) for n, plan in enumerate(plans)]
    for person in people:
        person.start()
    for person in people:
        person.join(300)
    assert [person.exitcode for person in people] == [0] * len(plans)


@pytest.mark.slow
def test_several_processes_promote_at_once_and_every_move_is_written_down(trained):
    add(trained, times=6)
    at_once(trained, ["2", "3"], ["4", "5"], ["6", "7"])
    history = registry.history(trained, "churn")
    events = [entry.event for entry in history.entries]
    assert sorted(event.version for event in events) == ["2", "3", "4", "5", "6", "7"]
    assert [event.before for event in events] == [None, *(event.version for event in events[:-1])]
    assert {event.kind for event in events} == {"promotion"}
    assert all(entry.since == NOW for entry in history.entries)
    assert history.alias == events[-1].version
    api = client(trained)
    assert [found.name for found in api.search_experiments() if "history" in found.name] == ["churn history"]
