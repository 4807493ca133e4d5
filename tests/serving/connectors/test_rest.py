"""One call a record: what is refused, what is waited for, what is clamped, and what is never shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from features.errors import StoreError, WorkspaceError
from features.settings import SETTINGS_FILE, Workspace
from serving.connectors.delivery import MOST_ALIKE
from serving.connectors.reconciliation import reconcile
from tests.serving.connectors.worlds import DAY, FIRST, Asked, Crm, Reply, Time, night, open_workspace, run, serving

FIELDS = {"x_{propensity}_score": "score", "win_probability": "percent"}


@pytest.fixture
def leads() -> dict[str, dict[str, Any]]:
    return {}


@pytest.fixture
def crm(leads: dict[str, dict[str, Any]]) -> Iterator[Crm]:
    """A CRM with a record for every id that does not begin with `deleted`."""

    def answer(asked: Asked) -> Reply:
        identity = asked.path.rsplit("/", 1)[-1]
        if asked.headers.get("X-Api-Key") != "sesame":
            return 401, {"message": f"wrong key {asked.headers.get('X-Api-Key')}"}
        if identity.startswith("deleted"):
            return 404, {"message": "no such record; your key was sesame"}
        if asked.method == "GET":
            return 200, leads.get(identity, {})
        leads.setdefault(identity, {}).update(asked.json)
        return 200, leads[identity]

    with serving(answer) as found:
        yield found


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRM_KEY", "sesame")


def open_target(root: Path, crm: Crm, **target: object) -> Workspace:
    settings = {"to": "rest", "url": crm.url + "/{entity}/{id}", "fields": FIELDS, "headers": {"X-Api-Key": "${CRM_KEY}"}}
    return open_workspace(root, **{**settings, "per_second": 1_000, **target})


def test_records_are_written_by_their_address_with_the_fields_of_the_settings(crm: Crm, leads: Any, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 42, "ü/?": 7})
    assert run(workspace).is_complete
    assert [(asked.method, asked.path) for asked in crm.got] == [("PATCH", "/customer/a"), ("PATCH", "/customer/%C3%BC%2F%3F")]
    assert leads["a"] == {"x_churn_score": 42, "win_probability": 42.0}
    assert reconcile(workspace, "crm", 5).differences == []
    leads["a"]["x_churn_score"] = "43"
    assert reconcile(workspace, "crm", 5).differences == [("churn", "a", "x_churn_score", 42, "43")]


def test_fields_may_be_inside_an_object_and_the_record_inside_the_answer(crm: Crm, leads: Any, tmp_path: Path) -> None:
    fields = {"custom.{propensity}.score": "score", "custom.{propensity}.grade": "grade", "win_probability": "percent"}
    workspace = open_target(tmp_path, crm, fields=fields, record="lead_obj")
    usual = crm.answer
    crm.answer = lambda asked: (200, {"lead_obj": usual(asked)[1], "users": []}) if asked.method == "GET" else usual(asked)
    night(workspace, {"a": 42})
    assert run(workspace).is_complete
    assert leads["a"] == {"custom": {"churn": {"score": 42, "grade": "C"}}, "win_probability": 42.0}
    assert reconcile(workspace, "crm", 5).differences == []
    leads["a"]["custom"] = "gone"
    differences = reconcile(workspace, "crm", 5).differences
    assert [one[2:] for one in differences] == [("custom.churn.score", 42, None), ("custom.churn.grade", "C", None)]


def test_a_status_may_blame_the_key_and_then_no_record_is_given_up(crm: Crm, tmp_path: Path) -> None:
    night(workspace := open_target(tmp_path, crm, denied=[403]), {"a": 10, "b": 20, "c": 30})
    usual = crm.answer
    crm.answer = lambda asked: usual(asked) if asked.path.endswith("/a") else (403, {"detail": "log in again"})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.waiting) == (1, 0, 2) and len(crm.got) == 2
    assert outcome.stopped == "the target lets nobody in: HTTP 403: log in again"
    with pytest.raises(StoreError, match="log in again"):
        crm.answer = lambda asked: (403, {"detail": "log in again"})
        reconcile(workspace, "crm", 5)
    crm.answer = usual
    assert run(workspace).sent == 2


@pytest.mark.parametrize(("clamp", "probability", "points"), [("named", 99, 100), ("all", 99, 99), ("off", 100.0, 100)])
def test_a_field_that_a_crm_learns_from_never_gets_0_or_100(
    crm: Crm, leads: Any, tmp_path: Path, clamp: str, probability: float, points: int
) -> None:
    workspace = open_target(tmp_path, crm, clamp=clamp)
    night(workspace, {"a": 100})
    run(workspace)
    assert leads["a"] == {"x_churn_score": points, "win_probability": probability}


def test_a_record_that_is_gone_is_rejected_kept_and_replayed(crm: Crm, leads: Any, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 10, "deleted 1": 20, "deleted 2": 30, "..": 40})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.stopped) == (1, 3, None)
    path = tmp_path / "data" / "write_back" / "crm" / "rejected.jsonl"
    letters = [json.loads(line) for line in path.read_text().splitlines()]
    assert [letter["entity_id"] for letter in letters] == ["..", "deleted 1", "deleted 2"]
    assert letters[1]["error"] == "HTTP 404: no such record; your key was ***" and letters[1]["score"] == 20
    asked = len(crm.got)
    assert run(workspace).changed == 0 and len(crm.got) == asked
    crm.answer = lambda asked: (200, {})
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if "deleted 2" not in line))
    outcome = run(workspace, replay=True)
    assert (outcome.changed, outcome.sent, outcome.rejected) == (2, 1, 1) and crm.got[-1].path == "/customer/deleted%201"
    assert [json.loads(line)["entity_id"] for line in path.read_text().splitlines()] == ["..", "deleted 2"]


def test_a_busy_crm_is_left_alone_as_long_as_it_says(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 10, "b": 20})
    crm.faults = [(429, None, {"Retry-After": "120"}), (503, None), (500, None)]
    time = Time()
    assert run(workspace, time).sent == 2 and len(crm.got) == 5
    assert time.slept == [120, 2, 4]


def test_a_page_that_says_200_is_no_answer(crm: Crm, leads: Any, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 10})
    crm.faults = [(200, "<!doctype html><html>Please log in</html>"), (200, 'thanks, "<html>" is fine')]
    assert run(workspace).sent == 1 and len(crm.got) == 2


@pytest.mark.parametrize("wrong", [{"url": "crm.example/{id}"}, {"headers": {"X-Api-Key": "two\nlines"}}])
def test_a_call_that_can_never_be_made_is_not_waited_for(crm: Crm, tmp_path: Path, wrong: dict[str, object]) -> None:
    workspace = open_target(tmp_path, crm, **wrong)
    night(workspace, {"a": 10})
    time = Time()
    outcome = run(workspace, time)
    assert "cannot be made" in str(outcome.stopped) and (outcome.waiting, time.slept, crm.got) == (1, [], [])


def test_a_crm_that_wants_to_be_left_alone_for_hours_is_and_the_rest_waits(crm: Crm, leads: Any, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 10, "b": 20, "c": 30})
    crm.faults = [None, (429, None, {"Retry-After": "7200"})]
    time = Time()
    outcome = run(workspace, time)
    assert (outcome.sent, outcome.waiting) == (1, 2) and "2:00:00" in str(outcome.stopped) and time.slept == []
    night(workspace, {"a": 10, "b": 21, "c": 30}, FIRST + DAY)
    assert run(workspace).sent == 2 and len(crm.got) == 4 and leads["b"]["x_churn_score"] == 21


def test_a_crm_that_does_not_answer_in_time_is_tried_again_and_then_left(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, timeout_seconds=0.2, attempts=2)
    night(workspace, {"a": 10})
    crm.faults = [0.5, 0.5]
    outcome = run(workspace)
    assert outcome.stopped == "the target does not answer: ReadTimeout" and outcome.waiting == 1
    crm.faults = [0.5]
    assert run(workspace).sent == 1


def test_a_crm_that_is_down_loses_nothing(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {str(number): 10 for number in range(20)})
    crm.faults = [(500, None)] * 1_000
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.waiting) == (0, 0, 20) and len(crm.got) == 15
    crm.faults = []
    assert run(workspace).sent == 20


def test_one_record_on_which_a_crm_fails_holds_up_no_other(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 10, "b": 20, "c": 30})
    usual = crm.answer
    crm.answer = lambda asked: (500, {"error": "oops"}) if asked.path.endswith("/b") else usual(asked)
    outcome = run(workspace)
    assert (outcome.sent, outcome.waiting, outcome.stopped) == (2, 1, None)
    crm.answer = usual
    assert run(workspace).sent == 1


def test_a_wrong_key_stops_the_run_at_once_and_is_not_repeated(
    crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 10, "b": 20})
    monkeypatch.setenv("CRM_KEY", "guessed")
    with caplog.at_level(0):
        outcome = run(workspace)
    assert len(crm.got) == 1 and outcome.waiting == 2 and outcome.stopped == "the target lets nobody in: HTTP 401: wrong key ***"
    kept = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    assert b"guessed" not in kept and "guessed" not in caplog.text and "guessed" not in repr(outcome)


def test_where_everybody_is_refused_for_the_same_reason_nobody_is_given_up(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {f"{number:03d}": 10 for number in range(200)})
    usual = crm.answer
    crm.answer = lambda asked: (400, {"message": "no field win_probability"})
    outcome = run(workspace)
    assert len(crm.got) == MOST_ALIKE and (outcome.rejected, outcome.waiting) == (0, 200) and not outcome.is_complete
    assert "no field" in outcome.failures["churn"].received and outcome.stopped is None
    crm.answer = usual
    assert run(workspace).sent == 200


def test_a_field_that_lacks_of_one_propensity_is_told_though_another_was_written(crm: Crm, leads: Any, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    for propensity in ("churn", "upsell"):
        night(workspace, {f"{number:03d}": 10 for number in range(100)}, propensity=propensity)
    usual = crm.answer

    def without_a_field(asked: Asked) -> Reply:
        if "x_upsell_score" in asked.json:
            return 403, {"message": f"record {asked.path[-3:]} has no field x_upsell_score"}
        return usual(asked)

    crm.answer = without_a_field
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.waiting) == (100, 0, 100) and set(outcome.failures) == {"upsell"}
    assert len(crm.got) == 100 + MOST_ALIKE and set(leads["007"]) == {"x_churn_score", "win_probability"}
    crm.answer = usual
    assert run(workspace).sent == 100


def test_that_many_records_are_gone_is_no_sign_that_the_settings_are_wrong(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    gone = {f"deleted {number:03d}": 10 for number in range(2 * MOST_ALIKE)}
    night(workspace, {**gone, "there": 20})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.failures) == (1, len(gone), {})


def test_a_record_that_is_gone_is_no_sign_that_the_settings_are_right(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 10})
    assert run(workspace).sent == 1
    crm.answer = lambda asked: (410, None) if asked.path.endswith("/a") else (400, {"message": "no field win_probability"})
    night(workspace, {"a": None, **{f"b{number:03d}": 10 for number in range(2 * MOST_ALIKE)}}, FIRST + DAY)
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.waiting) == (1, 0, 2 * MOST_ALIKE)


def test_a_record_that_is_gone_needs_no_emptying(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm)
    night(workspace, {"a": 10, "b": 20, "deleted": 30})
    assert run(workspace).rejected == 1
    usual = crm.answer
    crm.answer = lambda asked: (410, None) if asked.path.endswith("/b") else usual(asked)
    night(workspace, {"a": 10, "b": None}, FIRST + DAY)  # `b` is withheld, `deleted` no longer in the export
    outcome = run(workspace)
    assert (outcome.changed, outcome.sent, outcome.rejected) == (2, 2, 0)
    assert run(workspace).changed == 0


def test_calls_are_paced(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, per_second=2)
    night(workspace, {str(number): 10 for number in range(12)})
    time = Time()
    run(workspace, time)
    assert time.now == pytest.approx(5)  # two at once, ten at two a second


def test_a_dry_run_shows_the_first_calls_without_secrets_and_does_nothing(crm: Crm, tmp_path: Path) -> None:
    workspace = open_target(tmp_path, crm, url=crm.url + "/{entity}/{id}?key=${CRM_KEY}")
    night(workspace, {str(number): 10 for number in range(9)})
    outcome = run(workspace, dry_run=True)
    assert (outcome.changed, outcome.sent, outcome.waiting) == (9, 0, 0) and len(outcome.calls) == 3
    assert outcome.calls[0] == (
        "PATCH", crm.url + "/customer/0?key=${CRM_KEY}", {"x_churn_score": 10, "win_probability": 10.0},
    )  # fmt: skip
    assert crm.got == [] and not (tmp_path / "data").exists() and "sesame" not in repr(outcome.as_dict())


def test_a_secret_in_the_address_is_not_repeated_either(crm: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("URL_KEY", "open-up")
    workspace = open_target(tmp_path, crm, url=crm.url + "/{id}?key=${URL_KEY}")
    crm.answer = lambda asked: (400, {"message": f"no {asked.path}"})
    night(workspace, {"a": 10})
    assert run(workspace).rejections == [("churn", "a", "HTTP 400: no /a?key=***")]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"url": "http://127.0.0.1/"}, r"\{id\}"),
        ({"url": "http://${FORESELL_ABSENT}/{id}"}, "FORESELL_ABSENT"),
        ({"fields": {}}, "make the fields"),
        ({"fields": {"x": "scor"}}, "write `score`"),
        ({"fields": {"x": "score", "x.y": "grade"}}, "`x.y` inside it"),
        ({"headers": {"X": "file:/no/such/file"}}, "file that can be read"),
        ({"headers": {"X": "file:key"}}, "outside the workspace"),
        ({"propensities": ["chrun"]}, "write `churn`"),
        ({"threshold": 0}, "threshold"),
        ({"treshold": 1}, "treshold"),
    ],
)
def test_settings_that_cannot_work_are_told_before_anything_is_sent(
    crm: Crm, tmp_path: Path, wrong: dict[str, object], told: str
) -> None:
    with pytest.raises(WorkspaceError, match=told):
        workspace = open_target(tmp_path, crm, **wrong)
        night(workspace, {"a": 10})
        run(workspace)
    assert crm.got == []


def test_a_name_that_would_lead_out_of_the_workspace_is_refused(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text('[write_back."../x"]\nto = "files"\nentity = "lead"\npath = "out"\n')
    with pytest.raises(WorkspaceError, match="write_back"):
        Workspace.open(tmp_path)


def test_a_credential_may_lie_in_a_file_outside_the_workspace(crm: Crm, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame\n")
    workspace = open_target(tmp_path / "w", crm, headers={"X-Api-Key": f"file:{tmp_path / 'key'}"})
    night(workspace, {"a": 10})
    assert run(workspace).sent == 1
