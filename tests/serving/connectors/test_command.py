"""`foresell write-back`: what it prints, its exit codes, and that one target that fails stops no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from features.settings import SETTINGS_FILE, Workspace
from foresell import main
from serving.connectors.lock import alone
from tests.serving.connectors.worlds import DAY, FIRST, Asked, Reply, night, serving

TARGETS = """
[write_back.files]
to = "files"
entity = "customer"
path = "out"

[write_back.table]
to = "sql"
entity = "customer"
database = "sqlite:///crm.db"
"""
REST = """
[write_back.crm]
to = "rest"
entity = "customer"
url = "{url}/{{id}}"
fields = {{ score = "score" }}
"""
BROKEN = '[write_back.broken]\nto = "rest"\nentity = "customer"\nurl = "http://127.0.0.1:1/"\n'


def workspace(root: Path, text: str = TARGETS) -> Workspace:
    (root / SETTINGS_FILE).write_text(text, encoding="utf-8")
    found = Workspace.open(root)
    night(found, {"a": 10, "b": 50})
    return found


def ask(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["write-back", "--workspace", str(root), *arguments])


def test_every_target_is_written_and_told_in_a_table_and_in_json(tmp_path: Path) -> None:
    workspace(tmp_path)
    shown = ask(tmp_path, "--dry-run")
    assert shown.exit_code == 0 and "upsert sqlite" in shown.stdout and not (tmp_path / "out").exists()
    told = ask(tmp_path, "--json")
    document = json.loads(told.stdout)
    assert told.exit_code == 0 and {name: one["sent"] for name, one in document["written"].items()} == {"files": 2, "table": 2}
    receipt = json.loads((tmp_path / "data" / "write_back" / "table" / "receipt.json").read_text())
    assert receipt == document["written"]["table"] and receipt["complete"] is True
    again = ask(tmp_path, "table")
    assert again.exit_code == 0 and "2026-11-25" in again.stdout and "files" not in again.stdout


def test_the_night_may_be_named(tmp_path: Path) -> None:
    night(workspace(tmp_path), {"a": 90}, FIRST + DAY)
    assert '"looked_at": 2' in ask(tmp_path, "files", "--as-of", "2026-11-25", "--json").stdout


def test_a_target_that_cannot_work_stops_no_other(tmp_path: Path) -> None:
    workspace(tmp_path, TARGETS + BROKEN)
    told = ask(tmp_path, "--json")
    document = json.loads(told.stdout)
    assert told.exit_code == 2 and set(document["written"]) == {"files", "table"} and set(document["failed"]) == {"broken"}


def test_a_target_that_another_run_writes_to_is_exit_code_1_and_stops_no_other(tmp_path: Path) -> None:
    with alone(workspace(tmp_path), "files"):
        told = ask(tmp_path, "--json")
    document = json.loads(told.stdout)
    assert told.exit_code == 1 and set(document["written"]) == {"table"} and document["failed"]["files"]["error"] == "BusyError"


def test_what_was_rejected_stays_told_until_it_is_taken_or_given_up(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return (422, {"message": "an old record"}) if asked.path[1:] in ("b", "c", "d") else (200, None)

    with serving(answer) as crm:
        found = workspace(tmp_path, REST.format(url=crm.url))
        night(found, {"a": 10, "b": 50, "c": 60, "d": 70})
        path = tmp_path / "data" / "write_back" / "crm" / "rejected.jsonl"
        codes = [ask(tmp_path, "--json").exit_code for _ in range(2)]
        again = ask(tmp_path)
        assert codes == [1, 1] and again.exit_code == 1 and "has rejected 3 records until now" in " ".join(again.stderr.split())
        path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if '"b"' not in line))
        let_go = ask(tmp_path, "crm", "--give-up", "--json")
        assert let_go.exit_code == 0 and json.loads(let_go.stdout) == {"given_up": {"crm": 2}, "failed": {}}
        assert ask(tmp_path).exit_code == 1 and [json.loads(line)["entity_id"] for line in path.read_text().splitlines()] == ["b"]
        crm.answer = lambda asked: (200, None)
        asked = len(crm.got)
        assert ask(tmp_path, "--replay").exit_code == 0 and [one.path for one in crm.got[asked:]] == ["/b"]
        assert ask(tmp_path).exit_code == 0 and path.read_text() == ""
        night(found, {"a": 10, "b": 50, "c": 90, "d": 70}, FIRST + DAY)
        assert ask(tmp_path).exit_code == 0 and crm.got[-1].path == "/c", "a new score is worth another try"


def test_what_is_read_back_is_compared_and_a_difference_is_exit_code_1(tmp_path: Path) -> None:
    workspace(tmp_path)
    ask(tmp_path)
    same = ask(tmp_path, "--reconcile", "5", "--json")
    assert same.exit_code == 0 and json.loads(same.stdout)["compared"]["table"]["compared"] == 2
    (path,) = (tmp_path / "out").rglob("*.parquet")
    path.unlink()
    different = ask(tmp_path, "--reconcile", "5")
    assert different.exit_code == 1 and "the whole record" in different.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tabel"], "write `table`"),
        (["--reconcile", "5", "--dry-run"], "write nothing"),
        (["--reconcile", "5", "--give-up"], "write nothing"),
        (["--replay", "--give-up"], "write nothing"),
        (["--as-of", "yesterday"], "ISO date"),
    ],
)
def test_a_wrong_call_is_exit_code_2(tmp_path: Path, arguments: list[str], told: str) -> None:
    workspace(tmp_path)
    result = ask(tmp_path, *arguments)
    assert result.exit_code == 2 and told in result.stderr


def test_no_target_and_no_night(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).write_text("")
    assert ask(tmp_path).exit_code == 2
    (tmp_path / SETTINGS_FILE).write_text(TARGETS)
    assert ask(tmp_path).exit_code == 1


def test_dead_letters_that_are_none_are_told(tmp_path: Path) -> None:
    workspace(tmp_path)
    ask(tmp_path)
    path = tmp_path / "data" / "write_back" / "files" / "rejected.jsonl"
    path.write_text("no letter\n")
    result = ask(tmp_path, "files", "--replay")
    assert result.exit_code == 2 and "line 1" in result.stderr


def test_a_propensity_whose_file_is_wrong_stops_no_other(tmp_path: Path) -> None:
    found = workspace(tmp_path)
    night(found, {"a": 10}, propensity="upsell")
    found.own_propensities.mkdir()
    (found.own_propensities / "churn.toml").write_text("question = 3\n")
    told = ask(tmp_path, "table", "--json")
    document = json.loads(told.stdout)["written"]["table"]
    assert told.exit_code == 1 and document["sent"] == 1 and set(document["failures"]) == {"churn"}
    assert list(document["as_of"]) == ["upsell"] and not document["complete"]
