"""`foresell key` as it is typed, and `foresell serve` while keys are off."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from features.settings import SETTINGS_FILE, Workspace
from foresell import main
from serving.http import keys
from serving.http.gate import Gate

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / SETTINGS_FILE).write_text('adapter = "canonical"\n', encoding="utf-8")
    return str(tmp_path)


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_create_prints_the_secret_alone_and_says_that_it_is_shown_once(root: str) -> None:
    result = run("key", "create", "--name", "crm", "--scope", "score", "--per-second", "20", "--workspace", root)
    key = Gate.open(Workspace.open(Path(root))).admit(result.stdout.removesuffix("\n"), "score", 0, NOW)
    assert result.exit_code == 0 and "only this once" in result.stderr and result.stdout.strip() not in result.stderr
    assert (key.name, key.scopes, key.per_second, key.burst, key.expires_at) == ("crm", ("score",), 20, 40, None)


def test_create_list_and_revoke_print_documents(root: str) -> None:
    words = ("--scope", "hook", "--scope", "score", "--burst", "7", "--expires", "2999-01-01", "--json", "--workspace", root)
    made = json.loads(run("key", "create", "--name", "crm", *words).stdout)
    secret = made.pop("secret")
    assert made["scopes"] == ["score", "hook"] and made["burst"] == 7 and made["expires_at"] == "2999-01-01T00:00:00+00:00"
    assert json.loads(run("key", "list", "--json", "--workspace", root).stdout) == {"keys": [made]}
    revoked = json.loads(run("key", "revoke", secret, "--json", "--workspace", root).stdout)
    assert revoked["id"] == made["id"] and revoked["state"] == "revoked" and revoked["revoked_at"]


def test_list_shows_every_key_and_no_digest(root: str) -> None:
    assert "foresell key create" in run("key", "list", "--workspace", root).stderr
    for _ in range(2):
        run("key", "create", "--name", "crm", "--scope", "admin", "--workspace", root)
    old, new = keys.load(Workspace.open(Path(root)))
    assert run("key", "revoke", old.id, "--workspace", root).exit_code == 0
    shown = run("key", "list", "--workspace", root).stdout
    assert all(word in shown for word in (old.id, new.id, "crm", "admin", "revoked", "active", "never"))
    assert old.digest[:12] not in shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("revoke", "crm"), "did you mean"),
        (("create", "--name", "crm"), "--scope"),
        (("create", "--name", "crm", "--scope", "all"), "'score', 'hook', 'admin'"),
        (("create", "--name", "crm", "--scope", "score", "--per-second", "nan"), "--per-second"),
        (("create", "--name", "crm", "--scope", "score", "--expires", "2020-01-01"), "--expires"),
        (("create", "--name", "crm", "--scope", "score", "--expires", "soon"), "ISO date"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_how_to_mend_it(root: str, words: tuple[str, ...], told: str) -> None:
    run("key", "create", "--name", "crm", "--scope", "score", "--workspace", root)
    result = run("key", *words, "--workspace", root)
    assert result.exit_code == 2 and told in result.stderr and "Traceback" not in result.output and not result.stdout
    assert [key.state(NOW) for key in keys.load(Workspace.open(Path(root)))] == ["active"]


def test_a_damaged_file_of_keys_ends_with_2(root: str) -> None:
    run("key", "create", "--name", "crm", "--scope", "score", "--workspace", root)
    keys.path(Workspace.open(Path(root))).write_text("{")
    result = run("key", "list", "--workspace", root)
    assert result.exit_code == 2 and "API keys in" in result.stderr and "Traceback" not in result.output


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_serve_with_keys_off_refuses_all_but_the_loopback(root: str, host: str) -> None:
    (Path(root) / SETTINGS_FILE).write_text('[serving]\nkeys = "off"\n', encoding="utf-8")
    result = run("serve", "--host", host, "--workspace", root)
    assert result.exit_code == 2 and "loopback" in result.stderr and host in result.stderr
