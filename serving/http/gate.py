"""The gate: who may come in, for what, and how often.

Refused                  the caller may not come in
├── NotAuthenticated     no key, or none that lets anybody in      401
├── NotAllowed           the key is not for this                   403
└── TooMany              the key has come too often                429

The limit is a token bucket of our own: PyPI's `limits` has none, and counts by the wall clock, which may jump; it took 8 to 15
microseconds a call and `pyrate-limiter` 21 to 28, in one run in which this arithmetic under a lock took 1.6.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from math import ceil, inf
from pathlib import Path
from threading import Lock

from features.errors import CallError, WorkspaceError
from features.settings import Workspace
from serving.http import keys
from serving.http.keys import SCOPES, Key, Scope, Stamp

LOOK_EVERY = 1.0
"""Seconds between two looks at the file of keys."""

MICROSECOND = 1e-6  # rounds a wait up, so that who waited it out is let in

ANYBODY = Key("anybody", "anybody", tuple(SCOPES), "", inf, 1, datetime.min.replace(tzinfo=UTC))
"""Who comes in when keys are off."""


class Refused(CallError):
    """The root; says what is wrong with the key, never the secret. `status` and `headers` are the HTTP answer's."""

    status = HTTPStatus.FORBIDDEN

    @property
    def headers(self) -> Mapping[str, str]:
        return {}


class NotAuthenticated(Refused):
    """There is no key, or it is unknown, expired or revoked."""

    status = HTTPStatus.UNAUTHORIZED

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class NotAllowed(Refused):
    """The key is a good one, but not for what was asked."""


class TooMany(Refused):
    """The key is over its limit; `retry_after` is the seconds until the same call may come in."""

    status = HTTPStatus.TOO_MANY_REQUESTS

    def __init__(self, key: Key, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(
            f"API key {key.id}",
            expected=f"up to {key.per_second:g} calls a second, {key.burst:,} at once",
            received="more",
            repair=f"call again in {retry_after:.2g} seconds, or ask about more entities in one call",
        )

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(ceil(self.retry_after))}


@dataclass(slots=True)
class _Bucket:
    """Calls that a key may make now: at most `size`, `rate` more a second. Full at first."""

    rate: float
    size: float
    tokens: float = field(init=False)
    filled_at: float = -inf
    lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.tokens = self.size

    def take(self, now: float) -> float:
        """Take a token; 0, or nothing and the seconds to wait."""
        with self.lock:
            if now > self.filled_at:
                self.tokens = min(self.size, self.tokens + (now - self.filled_at) * self.rate)
                self.filled_at = now
            if self.tokens < 1:
                return (1 - self.tokens) / self.rate + self.filled_at - now + MICROSECOND
            self.tokens -= 1
            return 0.0


@dataclass(frozen=True, slots=True)
class _Known:
    """A key that is known, and what it has left."""

    key: Key
    bucket: _Bucket


NOBODY = _Known(Key("", "", (), "0" * 64, 1, 1, ANYBODY.created_at), _Bucket(1, 1))


class Gate:
    """Lets callers in by the keys of a workspace, as they are now: a key that is made or revoked is noticed within a second.

    Several workers each have a gate of their own, which lets in its share of a key's limit: one nth of `per_second` and of
    `burst`, of the latter at least one call. A caller that keeps a single connection to one of n workers has one nth, too.

    While the file of keys cannot be read, or is not whole, or is gone, the keys that were last read stay in force, and `failure`
    is what was wrong at the last look. Threads may share a gate.
    """

    def __init__(self, file: Path | None, workers: int = 1) -> None:
        """Read the keys.

        Args:
            file: where the keys are kept; None lets everybody in as `ANYBODY`.
            workers: how many gates share the limits.

        Raises:
            WorkspaceError: the file cannot be read, or is not whole.
        """
        self.file, self.workers = file, workers
        self.failure: WorkspaceError | None = None
        self._known: dict[str, _Known] = {}
        self._seen: Stamp | None = None
        self._looked, self._looking = -inf, Lock()
        if file is not None:
            self._read(file)

    @classmethod
    def open(cls, workspace: Workspace, workers: int = 1) -> Gate:
        """The gate that the workspace's settings ask for.

        Raises:
            WorkspaceError: the file of keys cannot be read, or is not whole.
        """
        return cls(None if workspace.settings.serving.keys == "off" else keys.path(workspace), workers)

    def admit(self, secret: str | None, scope: Scope, now_monotonic: float, now: datetime) -> Key:
        """Let a caller in.

        Args:
            secret: what the caller showed.
            scope: what the caller asks for.
            now_monotonic: seconds on a clock that never jumps; limits and looks at the file go by it.
            now: the instant; only expiry goes by it.

        Returns:
            The caller's key: who asks, for the audit.

        Raises:
            NotAuthenticated: no key was shown, or one that is unknown, expired or revoked.
            NotAllowed: the key does not have the scope.
            TooMany: the key is over its limit; such a call counts for nothing.
        """
        if self.file is None:
            return ANYBODY
        if now_monotonic - self._looked >= LOOK_EVERY:
            self._look(self.file, now_monotonic)
        known = self._authenticated(secret, now)
        if scope not in known.key.scopes:
            raise _not_for(known.key, scope)
        wait = known.bucket.take(now_monotonic)
        if wait:
            raise TooMany(known.key, wait)
        return known.key

    def _authenticated(self, secret: str | None, now: datetime) -> _Known:
        """Whose key it is. An unknown id takes as long as a known one, and what a key's state is only its owner learns."""
        identity = keys.id_of(secret) if secret else None
        if secret is None or identity is None:
            raise _not_known("something else" if secret else "nothing")
        known = self._known.get(identity, NOBODY)
        if not hmac.compare_digest(keys.digest(secret), known.key.digest):
            raise _not_known(f"one with the id {identity} that is not known")
        state = known.key.state(now)
        if state != "active":
            raise _not_known(f"key {identity}, which is {state}")
        return known

    def _look(self, file: Path, now_monotonic: float) -> None:
        """Read the keys again if their file has changed; one thread looks, the others go on with the keys there are."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            self._looked = now_monotonic
            self._read(file)
            self.failure = None
        except WorkspaceError as problem:
            self.failure = problem
        finally:
            self._looking.release()

    def _read(self, file: Path) -> None:
        """Take up what the file says, if it has changed. Its stamp is taken first, so that no later change is missed."""
        stamp = keys.stamp(file)
        if stamp != self._seen:
            self._known = {key.id: self._know(key) for key in keys.read(file)}
            self._seen = stamp

    def _know(self, key: Key) -> _Known:
        """The key with what it has left, which a new reading of the file does not fill up."""
        rate, size = key.per_second / self.workers, max(1.0, key.burst / self.workers)
        last = self._known.get(key.id)
        same = last is not None and (last.bucket.rate, last.bucket.size) == (rate, size)
        return _Known(key, last.bucket if last and same else _Bucket(rate, size))


def _not_known(received: str) -> NotAuthenticated:
    return NotAuthenticated(
        "API key",
        expected="an active key of this service: fs_, its id, _ and 43 more characters",
        received=received,
        repair="`foresell key list` shows the keys there are, `foresell key create` makes one",
    )


def _not_for(key: Key, scope: Scope) -> NotAllowed:
    return NotAllowed(
        f"API key {key.id}",
        expected=f"a key with the scope {scope}: to {SCOPES[scope]}",
        received=f"one with {', '.join(key.scopes)}",
        repair=f"`foresell key create --name {key.name!r} --scope {scope}` makes one that may",
    )
