"""The history of a champion, told from its events alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from training.registry.event import Entry, Event, History, evidence, words

NOON = datetime(2026, 3, 3, 12, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def told(*steps: str, alias: str | None = "as told", pending: bool = False) -> History:
    """A history of steps an hour apart, such as `promotion 2` or `outside -`; the alias follows it unless told otherwise."""
    entries: list[Entry] = []
    for number, step in enumerate(steps, start=1):
        kind, version = step.split()
        at = NOON + timedelta(hours=number - 1)
        before = entries[-1].event.version if entries else None
        event = Event(
            id=str(number), kind=kind, version=None if version == "-" else version, before=before, by="anna", at=at
        )  # fmt: skip
        entries.append(Entry(number, event, None if pending and number == len(steps) else at))
    told_last = entries[-1].event.version if entries else None
    return History(tuple(entries), told_last if alias == "as told" else alias)


@pytest.mark.parametrize(
    ("steps", "line", "previous"),
    [
        ((), [], None),
        (("promotion 1",), ["1"], None),
        (("promotion 1", "promotion 2", "promotion 3"), ["1", "2", "3"], "2"),
        (("promotion 1", "promotion 2", "promotion 3", "rollback 2"), ["1", "2"], "1"),
        (("promotion 1", "promotion 2", "promotion 3", "rollback 2", "rollback 1"), ["1"], None),
        (("promotion 1", "promotion 2", "rollback 1", "promotion 3"), ["1", "3"], "1"),
        (("promotion 1", "promotion 2", "promotion 1"), ["1", "2", "1"], "2"),
        (("promotion 1", "promotion 2", "outside 5"), ["1", "2", "5"], "2"),
        (("promotion 1", "outside -"), ["1", None], "1"),
        (("promotion 1", "outside -", "rollback 1"), ["1"], None),
        (("promotion 1", "outside -", "promotion 2"), ["1", None, "2"], "1"),
        (("promotion 1", "outside -", "promotion 2", "rollback 1"), ["1"], None),
    ],
)
def test_a_rollback_goes_back_along_the_promotions(steps, line, previous):
    assert (told(*steps).line(), told(*steps).previous) == (line, previous)


def test_a_promotion_serves_from_its_instant_on():
    history = told("promotion 1", "promotion 2")
    one, two = NOON, NOON + timedelta(hours=1)
    assert [history.at(instant).version for instant in (one - MICROSECOND, one, two - MICROSECOND, two)] == [None, "1", "1", "2"]
    assert (history.at(one).until, history.at(two).until, history.at(one - MICROSECOND).until) == (two, None, one)
    assert history.at(two).entry == history.last
    assert not any(history.at(instant).doubt for instant in (one, two))


def test_a_clock_that_is_behind_does_not_change_who_serves_now():
    first, second = told("promotion 1", "promotion 2").entries
    early = Entry(2, second.event, NOON - timedelta(minutes=5))
    history = History((first, early), "2")
    assert history.at(NOON + timedelta(days=1)).version == "2"


def test_a_move_in_mlflow_itself_leaves_a_doubt_until_it_was_noticed():
    history = told("promotion 1", "outside 2")
    assert history.at(NOON).version == "1"
    assert "by 2026-03-03 13:00:00 UTC the champion had been moved in MLflow itself" in history.at(NOON).doubt
    assert (history.at(NOON + timedelta(hours=1)).version, history.at(NOON + timedelta(hours=1)).doubt) == ("2", "")


def test_a_move_in_mlflow_itself_that_nobody_wrote_down_is_seen():
    history = told("promotion 1", alias="2")
    assert history.moved
    assert "MLflow calls version 2 the champion" in history.at(NOON).doubt
    assert told("promotion 1", alias=None).moved
    assert told(alias="4").moved
    assert not told("promotion 1").moved
    assert not told().moved


def test_a_promotion_whose_alias_has_not_followed_does_not_serve_yet():
    history = told("promotion 1", "promotion 2", alias="1", pending=True)
    assert history.unfinished == history.last
    assert not history.moved
    assert history.at(NOON + timedelta(days=1)).version == "1"


def test_a_move_that_was_not_finished_leaves_a_doubt_from_its_decision_on():
    decided = NOON + timedelta(hours=1)
    for alias, version in (("1", "1"), ("2", "2")):
        history = told("promotion 1", "promotion 2", alias=alias, pending=True)
        assert history.at(decided).version == version
        assert f"event 2 (version 2 promoted, version 1 demoted) was not finished, and nobody knows when it took effect; " \
               f"MLflow calls version {alias} the champion" in history.at(decided).doubt  # fmt: skip
        assert (history.at(decided - MICROSECOND).version, history.at(decided - MICROSECOND).doubt) == ("1", "")


def test_words_name_who_came_and_who_went():
    history = told("promotion 1", "promotion 2", "rollback 1", "outside 3", "outside -")
    assert [words(entry.event) for entry in history.entries] == [
        "version 1 promoted",
        "version 2 promoted, version 1 demoted",
        "version 1 brought back, version 2 demoted",
        "version 3 made champion in MLflow itself, version 1 demoted",
        "version 3 demoted in MLflow itself",
    ]


def test_evidence_is_what_the_report_says():
    gates = [{"gate": "min_auc", "passed": False, "sentence": "x" * 1_000}, {"gate": "lift", "passed": True, "sentence": "Good."}]
    test = {"auc": 0.75, "auc_low": 0.7, "auc_high": 0.8, "from": "2023-08-01", "to": "2023-11-01"}
    found = evidence({"verdict": "fail", "test": test, "gates": gates, "data_fingerprint": "abc"})
    assert found.summary == "fail: AUC 0.750 (0.700 to 0.800), tested 2023-08-01 to 2023-11-01"
    assert (found.verdict, found.auc, found.auc_low, found.auc_high, found.data_fingerprint) == ("fail", 0.75, 0.7, 0.8, "abc")
    assert [len(sentence) for sentence in found.failed] == [240]


def test_a_report_without_figures_is_evidence_of_its_gates():
    assert evidence({"gates": []}).summary == "no verdict"
