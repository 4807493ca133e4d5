"""`foresell audit` as it is typed."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from features.console import Group
from features.settings import SETTINGS_FILE, Workspace
from serving.commands.audit import audit
from serving.ledger import Ledger
from tests.serving.ledger.entries import NOW, entry


def run(root: Path, *words: str) -> Result:
    return CliRunner().invoke(Group(commands=[audit]), ["audit", "--workspace", str(root), *words], env={"COLUMNS": "200"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / SETTINGS_FILE).write_text("[serving]\nledger_deadline_ms = 5000")
    with closing(Ledger.open(Workspace.open(tmp_path))) as ledger:
        hour = timedelta(hours=1)
        refused = entry("[b]", at=NOW + 2 * hour)._replace(score=None, why="not eligible", stored=None)
        ledger.keep([entry("1"), entry("2", at=NOW + hour, caller=None)._replace(degraded=True), refused])
    return tmp_path


def test_it_tells_people_who_asked_for_what_newest_last(root: Path) -> None:
    result = run(root)
    rows = [line for line in result.stdout.splitlines() if "churn" in line]
    assert result.exit_code == 0 and len(rows) == 3
    assert "2026-11-25 06:07:30" in rows[0] and "crm" in rows[0] and "42" in rows[0]
    assert "stored earlier" in rows[1] and "crm" not in rows[1] and "[b]" in rows[2] and "not eligible" in rows[2]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), ["1", "2", "[b]"]),
        (("--key", "crm"), ["1", "[b]"]),
        (("--entity-id", "2", "--propensity", "churn"), ["2"]),
        (("--propensity", "upsell"), []),
        (("--since", "2026-11-25T07:00:00", "--until", "2026-11-25T08:00:00"), ["2"]),
        (("--limit", "1"), ["[b]"]),
    ],
)  # fmt: skip
def test_it_prints_one_json_document(root: Path, words: tuple[str, ...], found: list[str]) -> None:
    result = run(root, "--json", *words)
    assert [answer["entity_id"] for answer in json.loads(result.stdout)["answers"]] == found


def test_nobody_asked(tmp_path: Path) -> None:
    (tmp_path / SETTINGS_FILE).touch()
    result = run(tmp_path)
    assert (result.exit_code, result.stdout) == (0, "") and "nobody" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [SETTINGS_FILE]


@pytest.mark.parametrize(("words", "told"), [(("--limit", "0"), "limit"), (("--since", "yesterday"), "ISO date")])
def test_a_wrong_call_ends_with_2(root: Path, words: tuple[str, ...], told: str) -> None:
    result = run(root, *words)
    assert result.exit_code == 2 and told in result.stderr


def test_a_ledger_that_cannot_be_read_ends_with_1(root: Path) -> None:
    (root / "data" / "serving" / "ledger.db").write_bytes(b"no database " * 1_000)
    result = run(root)
    assert result.exit_code == 1 and "StoreError" in result.stderr and "Traceback" not in result.stderr
