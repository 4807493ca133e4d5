"""The gate: who is let in, who is refused and why, how often, and how soon a change is noticed."""

from __future__ import annotations

import hmac
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.errors import WorkspaceError
from features.settings import Settings, Workspace
from serving.http import keys
from serving.http.gate import ANYBODY, Gate, NotAllowed, NotAuthenticated, Refused, TooMany
from serving.http.keys import SCOPES, Scope

NOW = datetime(2026, 6, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """One that tests may add keys to; a test that damages its file takes `own`."""
    return Workspace(tmp_path_factory.mktemp("keys"), Settings())


@pytest.fixture
def own(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path, Settings())


@pytest.fixture(scope="module")
def opened(workspace: Workspace) -> tuple[Gate, str]:
    """A gate, and a secret that it lets in."""
    _, secret = make(workspace)
    return Gate.open(workspace), secret


def make(
    workspace: Workspace, *scopes: Scope, per_second: float = 1e6, burst: int = 10**6, expires_at: datetime | None = None
) -> tuple[keys.Key, str]:
    return keys.create(workspace, "crm", scopes or ("score",), per_second, burst, expires_at, NOW - timedelta(days=1))


def lets_in(gate: Gate, secret: str, at: float, scope: Scope = "score", now: datetime = NOW) -> bool:
    try:
        gate.admit(secret, scope, at, now)
    except Refused:
        return False
    return True


def test_a_key_is_let_in_for_its_scopes_and_no_others(workspace: Workspace) -> None:
    key, secret = make(workspace, "score", "hook")
    gate = Gate.open(workspace)
    assert gate.admit(secret, "score", 0, NOW) == gate.admit(secret, "hook", 0, NOW) == key
    with pytest.raises(NotAllowed) as refused:
        gate.admit(secret, "admin", 0, NOW)
    assert refused.value.status == 403 and refused.value.received == "one with score, hook" and "admin" in refused.value.expected


@pytest.mark.parametrize("scope", SCOPES)
def test_no_scope_implies_another(workspace: Workspace, scope: Scope) -> None:
    _, secret = make(workspace, scope)
    gate = Gate.open(workspace)
    assert [other for other in SCOPES if lets_in(gate, secret, 0, other)] == [scope]


def test_two_keys_of_one_caller_are_let_in_side_by_side(workspace: Workspace) -> None:
    (old, old_secret), (new, new_secret) = make(workspace), make(workspace)
    gate = Gate.open(workspace)
    assert (gate.admit(old_secret, "score", 0, NOW), gate.admit(new_secret, "score", 0, NOW)) == (old, new)
    assert not lets_in(gate, f"fs_{new.id}_{old_secret[-43:]}", 0)


@given(st.none() | st.text() | st.from_regex(r"fs_[0-9a-f]{8}_[A-Za-z0-9_-]{43}\n?", fullmatch=True) | st.integers(0, 54))
@example("")
@example("fs__")
@example("\udcff" * 55)
@example("fs_٠١٢٣٤٥٦٧_" + "a" * 43)
def test_whatever_else_is_shown_is_not_authenticated_and_not_repeated(opened: tuple[Gate, str], shown: str | int | None) -> None:
    """A number means a real secret with that character changed."""
    gate, secret = opened
    if isinstance(shown, int):
        shown = secret[:shown] + ("x" if secret[shown] != "x" else "y") + secret[shown + 1 :]
    with pytest.raises(NotAuthenticated) as refused:
        gate.admit(shown, "score", 0, NOW)
    assert refused.value.status == 401 and refused.value.headers == {"WWW-Authenticate": "Bearer"}
    assert shown is None or len(shown) < 20 or shown[-20:] not in str(refused.value)


@pytest.mark.parametrize("known", [True, False])
def test_a_digest_is_compared_in_constant_time_also_for_an_unknown_id(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    _, secret = make(workspace)
    gate, compared = Gate.open(workspace), []
    shown = secret if known else f"fs_00000000_{secret[-43:]}"
    monkeypatch.setattr(hmac, "compare_digest", lambda *digests: compared.append(digests))
    with pytest.raises(NotAuthenticated):  # what the comparison says decides, and it said no
        gate.admit(shown, "score", 0, NOW)
    assert [{len(digest) for digest in digests} for digests in compared] == [{64}]


def test_a_key_expires_at_the_microsecond(workspace: Workspace) -> None:
    _, secret = make(workspace, expires_at=NOW)
    gate = Gate.open(workspace)
    assert lets_in(gate, secret, 0, now=NOW - MICROSECOND) and not lets_in(gate, secret, 0, now=NOW)
    with pytest.raises(NotAuthenticated, match="which is expired"):
        gate.admit(secret, "score", 0, NOW)


def test_an_open_gate_notices_within_a_second_what_is_made_and_revoked(own: Workspace) -> None:
    gate = Gate.open(own)
    key, secret = make(own)
    assert lets_in(gate, secret, 100.0)
    keys.revoke(own, key.id, NOW)
    assert lets_in(gate, secret, 100.999), "it looks no more often than every second"
    with pytest.raises(NotAuthenticated, match="which is revoked"):
        gate.admit(secret, "score", 101.0, NOW)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "torn": lambda file: file.write_bytes(file.read_bytes()[:-20]),
    "gone": lambda file: file.unlink(),
    "a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_while_the_file_cannot_be_read_the_last_keys_stay_in_force(own: Workspace, damage: str) -> None:
    key, secret = make(own)
    gate, file = Gate.open(own), keys.path(own)
    whole = file.read_bytes()
    DAMAGES[damage](file)
    assert lets_in(gate, secret, 1) and lets_in(gate, secret, 1.5) and lets_in(gate, secret, 2)
    assert gate.failure is not None and str(file) in gate.failure.where
    file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)
    file.write_bytes(whole)
    assert lets_in(gate, secret, 3) and gate.failure is None
    keys.revoke(own, key.id, NOW)
    assert not lets_in(gate, secret, 4)


def test_a_gate_is_not_opened_on_a_damaged_file(own: Workspace) -> None:
    make(own)
    DAMAGES["torn"](keys.path(own))
    with pytest.raises(WorkspaceError):
        Gate.open(own)


def test_a_burst_is_let_in_and_then_what_time_refills(workspace: Workspace) -> None:
    _, secret = make(workspace, per_second=2, burst=3)
    gate = Gate.open(workspace)
    assert [lets_in(gate, secret, 0) for _ in range(4)] == [True, True, True, False]
    with pytest.raises(TooMany) as refused:
        gate.admit(secret, "score", 0.25, NOW)
    assert refused.value.status == 429 and refused.value.retry_after == pytest.approx(0.25, abs=1e-5)
    assert refused.value.headers == {"Retry-After": "1"}
    assert [lets_in(gate, secret, 0.5), lets_in(gate, secret, 0.5)] == [True, False]
    assert [lets_in(gate, secret, 1e9) for _ in range(4)] == [True, True, True, False], "never more than the burst"


def test_neither_a_jump_of_the_clock_nor_a_step_back_in_time_gives_more(workspace: Workspace) -> None:
    _, secret = make(workspace, per_second=1, burst=1)
    gate = Gate.open(workspace)
    assert lets_in(gate, secret, 100)
    assert not any(lets_in(gate, secret, 100, now=NOW + timedelta(days=days)) for days in (-3650, 0, 3650))
    assert not lets_in(gate, secret, 50) and not lets_in(gate, secret, 100.9) and lets_in(gate, secret, 101)


def test_a_call_that_comes_in_after_a_later_one_takes_nothing_back(workspace: Workspace) -> None:
    _, secret = make(workspace, per_second=1, burst=3)
    gate = Gate.open(workspace)
    assert [lets_in(gate, secret, at) for at in (100, 50, 100, 100)] == [True, True, True, False]


def test_refused_calls_count_for_nothing(workspace: Workspace) -> None:
    _, secret = make(workspace, per_second=1, burst=2)
    gate = Gate.open(workspace)
    assert not any(lets_in(gate, secret, 0, "admin") or lets_in(gate, secret[:-1] + "~", 0) for _ in range(5))
    assert [lets_in(gate, secret, 0) for _ in range(9)].count(True) == 2 and lets_in(gate, secret, 1)


def test_the_limit_outlives_a_new_reading_of_the_file(own: Workspace) -> None:
    _, secret = make(own, per_second=0.001, burst=1)
    gate = Gate.open(own)
    assert lets_in(gate, secret, 0)
    _, other = make(own)
    assert lets_in(gate, other, 1) and not lets_in(gate, secret, 1)


@pytest.mark.parametrize(("burst", "each"), [(8, 4), (1, 1)])
def test_two_workers_let_in_half_each_and_at_least_one(workspace: Workspace, burst: int, each: int) -> None:
    _, secret = make(workspace, per_second=2, burst=burst)
    gate = Gate.open(workspace, workers=2)
    assert [lets_in(gate, secret, 0) for _ in range(burst + 1)].count(True) == each
    assert [lets_in(gate, secret, 1) for _ in range(burst + 1)].count(True) == 1


@given(
    per_second=st.floats(0.01, 1_000), burst=st.integers(1, 50),
    steps=st.lists(st.floats(-1, 5) | st.just(0.0), max_size=120),
)  # fmt: skip
def test_in_no_stretch_of_time_more_is_let_in_than_the_limit(per_second: float, burst: int, steps: list[float]) -> None:
    """And who is refused is let in by waiting as long as was said."""
    with TemporaryDirectory() as folder:  # one key in a file of its own; the gate keeps it when the file is gone
        workspace = Workspace(Path(folder), Settings())
        _, secret = make(workspace, per_second=per_second, burst=burst)
        gate = Gate.open(workspace)
    at, let_in = 1_000.0, []
    for step in steps:
        at += step
        with suppress(TooMany):
            gate.admit(secret, "score", at, NOW)
            let_in.append(at)
    for first in let_in:
        for last in let_in:
            calls = sum(first <= moment <= last for moment in let_in)
            assert first > last or calls <= burst + per_second * (last - first) + 1e-6
    try:
        gate.admit(secret, "score", at, NOW)
    except TooMany as refused:
        gate.admit(secret, "score", at + refused.retry_after, NOW)


class Yielding(float):
    """An instant that lets another thread run whenever something is subtracted from it."""

    def __sub__(self, other: float) -> float:
        time.sleep(0.001)
        return super().__sub__(other)


def test_threads_together_get_no_more_than_the_limit(workspace: Workspace) -> None:
    _, secret = make(workspace, per_second=1, burst=10)
    with ThreadPoolExecutor(8) as pool:
        for gate in [Gate.open(workspace) for _ in range(8)]:
            outcomes = Counter(pool.map(lets_in, [gate] * 32, [secret] * 32, [Yielding(5.0)] * 32))
            assert outcomes == {True: 10, False: 22}


def test_with_keys_off_anybody_is_let_in_whatever_is_shown(tmp_path: Path) -> None:
    gate = Gate.open(Workspace(tmp_path, Settings.model_validate({"serving": {"keys": "off"}})))
    assert {gate.admit(shown, scope, 0, NOW).name for shown in (None, "", "x") for scope in SCOPES} == {"anybody"}
    assert ANYBODY.state(NOW) == "active" and not list(tmp_path.iterdir())


def test_with_keys_required_and_none_made_nobody_is_let_in(own: Workspace) -> None:
    with pytest.raises(NotAuthenticated, match="foresell key create"):
        Gate.open(own).admit(None, "score", 0, NOW)
