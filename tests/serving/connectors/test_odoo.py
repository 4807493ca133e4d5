"""Odoo 18 by JSON-RPC and 19 by /json/2: grouped writes, deleted ids, errors of status 200, a password never shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from features.errors import WorkspaceError
from features.settings import Workspace
from serving.connectors.reconciliation import reconcile
from tests.serving.connectors.worlds import DAY, FIRST, Asked, Crm, Reply, night, open_workspace, run, score, serving

PEOPLE = 3_000
FIELDS = {"x_{propensity}_score": "score", "x_{propensity}_grade": "grade", "probability": "percent"}


class Odoo:
    """The ORM: partners with a few fields. One id that is not there fails a call as a whole, before anything is written."""

    def __init__(self) -> None:
        self.partners: dict[int, dict[str, Any]] = {number: {} for number in range(1, PEOPLE + 1)}
        self.locked: set[int] = set()

    def execute(self, method: str, ids: list[int], arguments: dict[str, Any]) -> Any:
        if method == "search_read":
            assert arguments["context"] == {"active_test": False}
            ((_, _, wanted),) = arguments["domain"]
            return [
                {"id": one, **{name: self.partners[one].get(name, False) for name in arguments["fields"]}}
                for one in wanted if one in self.partners
            ]  # fmt: skip
        assert method == "write" and arguments["context"] == {"tracking_disable": True}
        missing = [one for one in ids if one not in self.partners]
        if missing:
            raise MissingError(f"Record does not exist or has been deleted.\n(Record: res.partner({missing[0]},), User: 2)")
        if set(ids) & self.locked:
            raise AccessError("Due to security restrictions, you are not allowed to modify this record.")
        for name in arguments["vals"]:
            if name not in ("x_churn_score", "x_churn_grade", "probability"):
                raise ValueError(f"Invalid field {name!r} on model 'res.partner'")
        for one in ids:
            self.partners[one].update(arguments["vals"])
        return True


class MissingError(Exception):
    status, name = 404, "odoo.exceptions.MissingError"


class AccessError(Exception):
    status, name = 403, "odoo.exceptions.AccessError"


def _error(problem: Exception) -> dict[str, Any]:
    name = getattr(problem, "name", f"builtins.{type(problem).__name__}")
    return {"name": name, "message": str(problem), "arguments": [str(problem)], "context": {}, "debug": "Traceback: sesame"}


def json_rpc(odoo: Odoo) -> Callable[[Asked], Reply]:
    """Version 18: whatever happens, the status is 200."""

    def answer(asked: Asked) -> Reply:
        if asked.path != "/jsonrpc":
            return 404, "<html>"
        params = asked.json["params"]
        try:
            return 200, {
                "jsonrpc": "2.0",
                "id": asked.json["id"],
                "result": call(params["service"], params["method"], params["args"]),
            }
        except Exception as problem:
            error = {"code": 200, "message": "Odoo Server Error", "data": _error(problem)}
            return 200, {"jsonrpc": "2.0", "id": asked.json["id"], "error": error}

    def call(service: str, method: str, arguments: list[Any]) -> Any:
        if (service, method) == ("common", "authenticate"):
            return 7 if arguments == ["crm", "bot", "sesame", {}] else False
        assert (service, method) == ("object", "execute_kw") and arguments[:4] == ["crm", 7, "sesame", "res.partner"]
        name, positional, options = arguments[4:]
        return odoo.execute(name, positional[0] if positional else [], {"vals": positional[1] if positional else {}, **options})

    return answer


def json_2(odoo: Odoo) -> Callable[[Asked], Reply]:
    """Version 19: statuses by the exception, and 500 for what is none of Odoo's own."""

    def answer(asked: Asked) -> Reply:
        if asked.headers["Authorization"] != "bearer sesame" or asked.headers["X-Odoo-Database"] != "crm":
            return 401, {"name": "werkzeug.exceptions.Unauthorized", "message": "Invalid apikey", "arguments": [], "context": {}}
        if not asked.path.startswith("/json/2/res.partner/"):
            return 404, {"name": "werkzeug.exceptions.NotFound", "message": "the model does not exist", "arguments": []}
        body = asked.json
        try:
            return 200, odoo.execute(asked.path.rsplit("/", 1)[1], body.pop("ids", []), body)
        except Exception as problem:
            return getattr(problem, "status", 500), _error(problem)

    return answer


@pytest.fixture
def odoo() -> Odoo:
    return Odoo()


@pytest.fixture(params=[18, 19])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def crm(odoo: Odoo, version: int) -> Iterator[Crm]:
    with serving((json_rpc if version == 18 else json_2)(odoo)) as found:
        yield found


@pytest.fixture
def target(crm: Crm, version: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setenv("ODOO_PASSWORD", "sesame")
    return {
        "to": "odoo", "url": crm.url, "version": version, "database": "crm", "user": "bot", "password": "${ODOO_PASSWORD}",
        "fields": FIELDS, "per_second": 10_000,
    }  # fmt: skip


@pytest.fixture
def workspace(target: dict[str, object], tmp_path: Path) -> Workspace:
    return open_workspace(tmp_path, **target)


def writes(crm: Crm) -> int:
    return sum(b"search_read" not in asked.body and b"authenticate" not in asked.body for asked in crm.got)


def test_records_of_equal_values_are_written_in_one_call(workspace: Workspace, crm: Crm, odoo: Odoo) -> None:
    night(workspace, {str(number): 1 + number % 100 for number in range(1, PEOPLE + 1)})
    assert run(workspace).sent == PEOPLE and writes(crm) == 100
    assert odoo.partners[41] == {"x_churn_score": 42, "x_churn_grade": "C", "probability": 42.0}
    assert odoo.partners[99]["probability"] == 99 and odoo.partners[99]["x_churn_score"] == 100
    assert reconcile(workspace, "crm", 200).differences == []
    odoo.partners[41]["x_churn_score"] = 3
    del odoo.partners[42]
    told = {(one.entity_id, one.field) for one in reconcile(workspace, "crm", PEOPLE).differences}
    assert told == {("41", "x_churn_score"), ("42", None)}


def test_probabilities_are_rounded_so_that_many_are_equal(workspace: Workspace, crm: Crm, odoo: Odoo) -> None:
    made = {str(number): score(str(number), 50, probability=0.42 + number / 1_000_000) for number in range(1, 1_001)}
    night(workspace, made)
    assert run(workspace).sent == 1_000 and writes(crm) == 1 and odoo.partners[1]["probability"] == 42


def test_one_deleted_id_and_one_that_may_not_be_written_are_found_by_halving(workspace: Workspace, crm: Crm, odoo: Odoo) -> None:
    del odoo.partners[700]
    odoo.locked = {900}
    night(workspace, {str(number): 50 for number in range(1, 1_001)} | {"no number": 50, "0": 50})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.stopped) == (998, 4, None) and writes(crm) < 60
    told = {entity: error for _, entity, error in outcome.rejections}
    kept = (workspace.root / "data" / "write_back" / "crm" / "rejected.jsonl").read_text()
    assert "deleted" in kept and "security restrictions" in kept and "whole numbers" in str(told) and "sesame" not in kept
    assert sum("x_churn_score" in one for one in odoo.partners.values()) == 998


def test_many_deleted_ids_that_come_first_stop_nobody(workspace: Workspace, odoo: Odoo) -> None:
    for number in range(1, 81):
        del odoo.partners[number]
    night(workspace, {f"{number}": 50 - (number < 81) for number in range(1, 101)})
    outcome = run(workspace)
    assert (outcome.sent, outcome.rejected, outcome.failures, outcome.stopped) == (20, 80, {}, None)


def test_who_is_gone_or_withheld_has_nothing_but_no_0_where_odoo_learns(workspace: Workspace, odoo: Odoo) -> None:
    night(workspace, {"1": 50, "2": 50})
    run(workspace)
    night(workspace, {"2": None}, FIRST + DAY)
    assert run(workspace).sent == 2
    assert odoo.partners[1] == odoo.partners[2] == {"x_churn_score": False, "x_churn_grade": False, "probability": 50.0}
    assert reconcile(workspace, "crm", 5).differences == []


def test_a_field_that_odoo_does_not_have_is_told_and_no_record_blamed(
    target: dict[str, object], tmp_path: Path, crm: Crm
) -> None:
    workspace = open_workspace(tmp_path, **{**target, "fields": {"x_other": "score"}})
    night(workspace, {str(number): 50 for number in range(1, 201)})
    outcome = run(workspace)
    told = f"{outcome.failures} {outcome.stopped}"  # to Odoo 19 it is a failure of its own
    assert "Invalid field 'x_other'" in told and (outcome.rejected, outcome.waiting) == (0, 200)


def test_a_wrong_password_stops_the_run_and_is_not_shown(workspace: Workspace, crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODOO_PASSWORD", "guessed")
    night(workspace, {"1": 50})
    outcome = run(workspace)
    assert "lets nobody in" in str(outcome.stopped) and len(crm.got) == 1 and "guessed" not in repr(outcome)


def test_a_dry_run_shows_the_call_without_the_password(workspace: Workspace, crm: Crm, version: int) -> None:
    night(workspace, {"1": 50, "2": 50})
    ((method, address, body),) = run(workspace, dry_run=True).calls
    assert (method, address) == ("POST", crm.url + ("/jsonrpc" if version == 18 else "/json/2/res.partner/write"))
    assert "[1, 2]" in repr(body) and "sesame" not in repr(body) and crm.got == []


def test_a_database_conflict_is_tried_again(workspace: Workspace, crm: Crm, version: int) -> None:
    conflict = {"name": "psycopg2.errors.SerializationFailure", "message": "could not serialize access"}
    wrapped = {"jsonrpc": "2.0", "id": 1, "error": {"code": 200, "message": "Odoo Server Error", "data": conflict}}
    crm.faults = [None, (200, wrapped)] if version == 18 else [(500, conflict)]
    night(workspace, {"1": 50})
    assert run(workspace).is_complete


def test_another_address_is_told(target: dict[str, object], tmp_path: Path, crm: Crm, version: int) -> None:
    crm.answer = lambda asked: (200, {"hello": "world"}) if version == 18 else (404, "<html>")
    workspace = open_workspace(tmp_path, **target)
    night(workspace, {"1": 50})
    assert "lets nobody in" in str(run(workspace).stopped)
    crm.answer = lambda asked: (200, "<html>")
    assert "another address" in str(run(workspace).stopped)


@pytest.mark.parametrize("version", [18], indirect=True)
def test_a_user_is_needed_up_to_18(target: dict[str, object], tmp_path: Path) -> None:
    workspace = open_workspace(tmp_path, **{**target, "user": ""})
    night(workspace, {"1": 50})
    with pytest.raises(WorkspaceError, match="login"):
        run(workspace)
