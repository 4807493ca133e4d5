"""The commands as they are typed: their output, their errors and their exit codes."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from features.settings import SETTINGS_FILE, Workspace
from foresell import main
from serving.http.address import free_port
from serving.ledger import Ledger
from tests.serving.ledger.entries import entry


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_score_prints_one_json_document(shop: Workspace) -> None:
    result = run("score", "--workspace", str(shop.root), "--as-of", "2018-05-15", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 0 and document["failed"] == {} and set(document["scored"]) == {"churn", "lead-conversion"}
    assert len(pd.read_parquet(document["scored"]["churn"]["file"])) == document["scored"]["churn"]["rows"]


def test_score_without_an_as_of_scores_the_datas_own_now(shop: Workspace) -> None:
    result = run("score", "churn", "--workspace", str(shop.root))
    assert result.exit_code == 0 and "as_of=2018-05-15" in result.stdout and "churn" in result.stdout


def test_a_night_removes_from_the_ledger_what_is_older_than_keep_days(own: Workspace) -> None:
    now = datetime.now(UTC)
    with (own.root / SETTINGS_FILE).open("a") as settings:
        settings.write("[serving]\nkeep_days = 30\n")
    with closing(Ledger.open(own)) as ledger:
        ledger.keep([entry("old", at=now - timedelta(days=31)), entry("new", at=now - timedelta(days=29))])
        result = run("score", "churn", "--workspace", str(own.root), "--json")
        assert result.exit_code == 0 and "1 answers, 0 comparisons" in result.stderr
        assert json.loads(result.stdout)["forgotten"] == {"served": 1, "shadow": 0, "given_up": 0, "actions": 0}
        assert [row.entity_id for row in ledger.audit()] == ["new"] and set(ledger.latest("churn", ["old", "new"])) == {
            "old",
            "new",
        }


def test_a_night_whose_ledger_cannot_be_opened_tells_what_was_scored(own: Workspace) -> None:
    with (own.root / SETTINGS_FILE).open("a", encoding="utf-8") as settings:
        settings.write('[serving]\nledger = "oracle://somewhere"\n')
    result = run("score", "churn", "--workspace", str(own.root), "--as-of", "2018-05-14", "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == 1 and set(document["scored"]) == {"churn"} and document["forgotten"] is None


def test_a_night_whose_ledger_can_forget_nothing_ends_with_1_and_says_so(own: Workspace) -> None:
    own.serving.mkdir(parents=True, exist_ok=True)
    (own.serving / "ledger.db").write_bytes(b"no database" * 1_000)
    result = run(
        "score", "churn", "--workspace", str(own.root), "--as-of", "2018-05-14", "--json"
    )  # an older night stores nothing
    document = json.loads(result.stdout)
    assert result.exit_code == 1 and document["failed"] == {} and document["forgotten"] is None
    assert "a new ledger is begun" in result.stderr


def test_score_ends_with_1_if_a_propensity_failed(shop: Workspace) -> None:
    result = run("score", "upsell", "churn", "--workspace", str(shop.root))
    assert result.exit_code == 1 and "foresell train upsell" in result.stderr and "part-0.parquet" in result.stdout


def test_score_of_an_unknown_propensity_names_those_there_are(shop: Workspace) -> None:
    result = run("score", "chrun", "--workspace", str(shop.root))
    assert result.exit_code == 2 and "churn" in result.stderr and "Traceback" not in result.output


def test_score_of_an_instant_after_the_data_is_refused(shop: Workspace) -> None:
    result = run("score", "--workspace", str(shop.root), "--as-of", "2018-05-16")
    assert result.exit_code == 2 and "up to 2018-05-15 00:00:00 UTC, where the tables end" in result.stderr
    assert not list(shop.scores.rglob("as_of=2018-05-16"))


@pytest.mark.parametrize("words", [("score", "--as-of", "yesterday"), ("serve", "--port", "0"), ("serve", "--workers", "0")])
def test_a_wrong_call_ends_with_2(shop: Workspace, words: tuple[str, ...]) -> None:
    assert run(*words, "--workspace", str(shop.root)).exit_code == 2


def test_serve_says_that_the_port_is_taken(shop: Workspace) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        result = run("serve", "--workspace", str(shop.root), "--port", str(port))
    assert result.exit_code == 1 and str(port) in result.stderr and "--port" in result.stderr


def test_serve_says_that_the_address_is_not_here(shop: Workspace) -> None:
    result = run("serve", "--workspace", str(shop.root), "--host", "203.0.113.7")
    assert result.exit_code == 2 and "203.0.113.7" in result.stderr


def test_serve_without_a_store_says_to_fill_it(own: Workspace) -> None:
    shutil.rmtree(own.store)
    command = [sys.executable, "-m", "foresell", "serve", "--workspace", str(own.root), "--port", str(free_port("127.0.0.1"))]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1 and "foresell snapshot" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("command", ["serve", "score"])
def test_without_a_champion_it_says_to_train_and_promote(shop: Workspace, tmp_path: Path, command: str) -> None:
    shutil.copytree(shop.root, tmp_path / "none", ignore=shutil.ignore_patterns("mlruns", "scores"))
    result = run(command, "--workspace", str(tmp_path / "none"))
    assert result.exit_code == 1 and "foresell train --all" in result.stderr and "foresell promote" in result.stderr


def test_the_demo_leaves_a_workspace_of_somebody_else_alone(shop: Workspace) -> None:
    before = (shop.root / SETTINGS_FILE).read_bytes()
    result = run("demo", "--workspace", str(shop.root))
    assert result.exit_code == 2 and "canonical" in result.stderr
    assert (shop.root / SETTINGS_FILE).read_bytes() == before and not (shop.root / "data" / "export").exists()


@pytest.mark.parametrize("command", ["score", "serve", "demo"])
def test_every_command_shows_an_example(command: str) -> None:
    help_text = run(command, "--help").stdout
    assert "Example:" in help_text and f"foresell {command}" in help_text
