"""API keys: hashed at rest, several at once, revoked, and never lost or torn, whoever writes beside or is killed."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from features.errors import CallError, WorkspaceError
from features.settings import Settings, Workspace
from serving.http import keys

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MAKES_KEYS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from features.settings import Settings, Workspace
from serving.http import keys
workspace = Workspace(Path(sys.argv[1]), Settings())
for number in range(int(sys.argv[2])):
    key, _ = keys.create(workspace, f"crm {number}", ["score"], 100, 200, None, datetime(2026, 6, 1, tzinfo=UTC))
    print(key.id, flush=True)
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Settings())


def make(workspace: Workspace, name: str = "crm", **changed: Any) -> tuple[keys.Key, str]:
    given = {"scopes": ["score"], "per_second": 100, "burst": 200, "expires_at": None, "now": NOW} | changed
    return keys.create(workspace, name, **given)


def test_the_secret_is_nowhere_in_the_workspace_and_its_digest_is(workspace: Workspace) -> None:
    key, secret = make(workspace)
    assert secret.startswith(f"fs_{key.id}_") and len(secret.removeprefix(f"fs_{key.id}_")) == 43
    written = b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())
    assert secret[-43:].encode() not in written
    assert hashlib.sha256(secret.encode()).hexdigest().encode() in written
    assert key.digest not in repr(key) and "digest" not in key.as_dict(NOW)


def test_two_keys_of_one_name_are_active_at_once_until_the_old_one_is_revoked(workspace: Workspace) -> None:
    old, new = make(workspace)[0], make(workspace)[0]
    assert [key.state(NOW) for key in keys.load(workspace)] == ["active", "active"] and old.digest != new.digest
    keys.revoke(workspace, old.id, NOW)
    assert [(key.id, key.state(NOW)) for key in keys.load(workspace)] == [(old.id, "revoked"), (new.id, "active")]


def test_what_is_kept_is_what_was_made(workspace: Workspace) -> None:
    key, _ = make(workspace, scopes=["hook", "score", "hook"], expires_at=NOW + MICROSECOND)
    assert keys.load(workspace) == (key,) and key.scopes == ("score", "hook")
    assert (key.state(NOW), key.state(NOW + MICROSECOND)) == ("active", "expired")


def test_a_key_that_was_revoked_twice_keeps_the_first_time(workspace: Workspace) -> None:
    key, secret = make(workspace)
    keys.revoke(workspace, secret, NOW)
    assert keys.revoke(workspace, key.id, NOW + timedelta(days=1)).revoked_at == NOW


def test_a_revoked_key_is_revoked_even_before_that_by_the_clock(workspace: Workspace) -> None:
    key, _ = make(workspace)
    assert keys.revoke(workspace, key.id, NOW).state(NOW - timedelta(days=1)) == "revoked"


@pytest.mark.parametrize("given", ["{name}", "{near}", "fs_{near}_", "fs_{id}_torn"])
def test_an_unknown_id_is_told_which_was_meant_and_not_repeated_whole(workspace: Workspace, given: str) -> None:
    key, _ = make(workspace)
    near = key.id[:-1] + ("0" if key.id[-1] != "0" else "1")
    with pytest.raises(CallError) as refused:
        keys.revoke(workspace, given.format(name=key.name, near=near, id=key.id), NOW)
    assert f"did you mean {key.id}?" in refused.value.repair and "torn" not in str(refused.value)
    assert keys.load(workspace) == (key,)


def test_without_a_key_there_is_none_to_revoke(workspace: Workspace) -> None:
    assert keys.load(workspace) == ()
    with pytest.raises(CallError, match="this workspace has none"):
        keys.revoke(workspace, "0123abcd", NOW)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"name": ""}, "name"), ({"name": "crm\nline"}, "name"), ({"name": "x" * 81}, "name"), ({"name": " crm"}, "name"),
        ({"scopes": []}, "scope"), ({"scopes": ["score", "root"]}, "scope"),
        ({"per_second": 0}, "per-second"), ({"per_second": nan}, "per-second"), ({"per_second": inf}, "per-second"),
        ({"burst": 0}, "burst"), ({"expires_at": NOW}, "expires"),
    ],
)  # fmt: skip
def test_an_unsound_key_is_not_made(workspace: Workspace, wrong: dict[str, Any], where: str) -> None:
    with pytest.raises(CallError, match=f"a key's {where}"):
        make(workspace, **wrong)
    assert not keys.path(workspace).exists()


def test_only_the_owner_reads_the_file(workspace: Workspace) -> None:
    key, _ = make(workspace)
    keys.revoke(workspace, key.id, NOW)
    assert [path.stat().st_mode & 0o777 for path in keys.path(workspace).parent.iterdir()] == [0o600, 0o600]


DAMAGES = {
    "empty": lambda text: "",
    "torn": lambda text: text[: len(text) // 2],
    "no text": lambda text: "\udcff" + text,
    "another version": lambda text: text.replace('"version": 1', '"version": 2'),
    "no digest": lambda text: text.replace('"digest"', '"secret"'),
    "a digest that is none": lambda text: text.replace('"digest": "', '"digest": "\u00e9'),
    "an unknown scope": lambda text: text.replace('"score"', '"everything"'),
    "a time without a zone": lambda text: text.replace("00:00Z", "00:00"),
    "one id twice": lambda text: json.dumps({"version": 1, "keys": json.loads(text)["keys"] * 2}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_said_to_be_one_and_left_as_it_is(workspace: Workspace, damage: str) -> None:
    key, _ = make(workspace)
    file = keys.path(workspace)
    file.write_text(DAMAGES[damage](file.read_text()), encoding="utf-8", errors="surrogateescape")
    before = file.read_bytes()
    for act in (lambda: keys.load(workspace), lambda: make(workspace), lambda: keys.revoke(workspace, key.id, NOW)):
        with pytest.raises(WorkspaceError) as refused:
            act()
        assert str(file) in refused.value.where and "foresell key create" in refused.value.repair
        assert key.digest not in str(refused.value)
    assert file.read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    workspace = Workspace(tmp_path, Settings.model_validate({"serving": {"keys_file": "taken/keys.json"}}))
    for act in (lambda: keys.load(workspace), lambda: make(workspace)):
        with pytest.raises(WorkspaceError, match="keys_file"):
            act()


def test_keys_that_two_processes_make_at_once_are_all_kept(workspace: Workspace) -> None:
    told = [process.communicate(timeout=60)[0].split() for process in writers(workspace, count=2, each=20)]
    assert [len(ids) for ids in told] == [20, 20]
    assert {key.id for key in keys.load(workspace)} == {identity for ids in told for identity in ids}


def test_a_killed_writer_leaves_a_whole_file_with_every_key_it_told_of(workspace: Workspace) -> None:
    told: set[str] = set()
    seeded = random.Random(7)
    for _ in range(2):
        processes = writers(workspace, count=2, each=10_000)
        for process in processes:
            assert process.stdout
            told.add(process.stdout.readline().strip())
        time.sleep(seeded.uniform(0.05, 0.2))
        for process in processes:
            process.kill()
            told |= {line for line in process.communicate()[0].split("\n")[:-1] if line}
        assert told <= {key.id for key in keys.load(workspace)}
    assert make(workspace)[0] == keys.load(workspace)[-1]


def writers(workspace: Workspace, count: int, each: int) -> Sequence[subprocess.Popen[str]]:
    command = [sys.executable, "-c", MAKES_KEYS, str(workspace.root), str(each)]
    return [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(count)]
