"""API keys: who may call the service, for what, and how often.

A secret is shown once, when its key is made. Kept is only its SHA-256 digest, in one file of the workspace. No salt and no slow
hash: those protect passwords, which can be guessed; a secret here is 256 random bits, and nobody tries 2**255 of them.

Several keys may be active at once, also under one name: make the new one, change the CRM over, revoke the old one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AwareDatetime, ConfigDict, Field, ValidationError, field_validator

from features.catalog import write_atomically
from features.errors import CallError, WorkspaceError, nearest
from features.settings import Workspace
from features.strict import Strict

Scope = Literal["score", "hook", "admin"]
Stamp = tuple[int, int, int]
SCOPES: dict[Scope, str] = {
    "score": "ask for scores, read stored ones, and tell what was done",
    "hook": "send webhooks",
    "admin": "read metrics and status",
}
"""What each scope allows; none implies another."""

OWNER_ONLY = 0o600
SECRET = re.compile(r"fs_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
NAME = re.compile(r"\w[\w .@-]{0,79}")


@dataclass(frozen=True)
class Key:
    """One API key as it is kept; its secret cannot be told from it.

    `per_second` is how many calls a second it may make in the long run, `burst` how many at once. It is valid up to, but not at,
    `expires_at`; once it was revoked it is refused whatever the clock says.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    id: Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
    name: str
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] = field(repr=False)
    per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    burst: Annotated[int, Field(ge=1)]
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None

    def state(self, now: datetime) -> Literal["active", "expired", "revoked"]:
        """Whether it lets anybody in at an instant."""
        if self.revoked_at is not None:
            return "revoked"
        return "active" if self.expires_at is None or now < self.expires_at else "expired"

    def as_dict(self, now: datetime) -> dict[str, Any]:
        """What a person may know of it: everything but the digest, and its state at an instant."""
        document = {name: value for name, value in vars(self).items() if name != "digest"}
        times = {name: value.isoformat() for name, value in document.items() if isinstance(value, datetime)}
        return {**document, **times, "state": self.state(now)}


class KeyFile(Strict):
    """The file that keys are kept in; one document, replaced whole."""

    version: Literal[1] = 1
    keys: tuple[Key, ...] = ()

    @field_validator("keys")
    @classmethod
    def _once(cls, keys: tuple[Key, ...]) -> tuple[Key, ...]:
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("every id once")
        return keys


def path(workspace: Workspace) -> Path:
    """Where the workspace keeps its keys."""
    return workspace.root / workspace.settings.serving.keys_file


def load(workspace: Workspace) -> tuple[Key, ...]:
    """Every key of the workspace, also revoked ones, oldest first; none if none was ever made.

    Raises:
        WorkspaceError: the file cannot be read, or is not whole.
    """
    return _kept(path(workspace))


def read(file: Path) -> tuple[Key, ...]:
    """The keys in a file that is there.

    Raises:
        WorkspaceError: the file cannot be read, or is not whole.
    """
    try:
        return KeyFile.model_validate_json(file.read_bytes()).keys
    except OSError as problem:
        raise _unusable(file, "read", problem) from None
    except ValidationError as problem:
        raise _damaged(file, problem) from None


def stamp(file: Path) -> Stamp | None:
    """What differs between two versions of a file: its time in nanoseconds, its size, its inode; None if there is no file.

    Raises:
        WorkspaceError: its folder cannot be read.
    """
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise _unusable(file, "read", problem) from None
    return found.st_mtime_ns, found.st_size, found.st_ino


def create(
    workspace: Workspace,
    name: str,
    scopes: Sequence[Scope],
    per_second: float,
    burst: int,
    expires_at: datetime | None,
    now: datetime,
) -> tuple[Key, str]:
    """Make a key and keep its digest; the secret that is returned with it exists nowhere else.

    Raises:
        CallError: the name, the scopes, the limit or the expiry is not a sound one.
        WorkspaceError: the file of keys cannot be read or written, or is not whole.
    """
    _require_sound(name, scopes, per_second, burst, expires_at, now)
    with _alone(path(workspace)) as file:
        keys = _kept(file)
        identity = _fresh_id(keys)
        secret = f"fs_{identity}_{secrets.token_urlsafe(32)}"
        ordered = tuple(scope for scope in SCOPES if scope in scopes)
        key = Key(identity, name, ordered, digest(secret), per_second, burst, now, expires_at)
        _write(file, (*keys, key))
    return key, secret


def revoke(workspace: Workspace, identity: str, now: datetime) -> Key:
    """Have a key let nobody in from now on; one that was revoked before stays as it is.

    Args:
        workspace: whose key it is.
        identity: the key's id; its whole secret, as found where it should not be, names it, too.
        now: the instant that is written down.

    Raises:
        CallError: there is no such key.
        WorkspaceError: the file of keys cannot be read or written, or is not whole.
    """
    with _alone(path(workspace)) as file:
        keys = _kept(file)
        named = id_of(identity) or identity
        key = next((key for key in keys if key.id == named), None)
        if key is None:
            raise _unknown(named, keys)
        revoked = replace(key, revoked_at=key.revoked_at or now)
        _write(file, tuple(revoked if one is key else one for one in keys))
    return revoked


def id_of(secret: str) -> str | None:
    """The id that a secret names; None if the text does not have the form of a secret."""
    match = SECRET.fullmatch(secret)
    return match[1] if match else None


def digest(secret: str) -> str:
    """What is kept of a secret: its SHA-256 digest, 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def _kept(file: Path) -> tuple[Key, ...]:
    return read(file) if stamp(file) else ()


@contextmanager
def _alone(file: Path) -> Iterator[Path]:
    """One change at a time; a second one waits for the first. The system lets go of the lock if its holder is killed."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(file.with_name(f".{file.name}.lock"), "w", opener=_owners_own) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield file
    except OSError as problem:
        raise _unusable(file, "written", problem) from None


def _owners_own(name: str, flags: int) -> int:
    return os.open(name, flags, OWNER_ONLY)


def _write(file: Path, keys: tuple[Key, ...]) -> None:
    write_atomically(file, KeyFile(keys=keys).model_dump_json(indent=1).encode(), OWNER_ONLY)


def _fresh_id(keys: Sequence[Key]) -> str:
    taken = {key.id for key in keys}
    while (identity := secrets.token_hex(4)) in taken:
        continue
    return identity


def _require_sound(
    name: str, scopes: Sequence[str], per_second: float, burst: int, expires_at: datetime | None, now: datetime
) -> None:
    known, future = ", ".join(get_args(Scope)), expires_at is None or expires_at > now
    for where, sound, expected, received in (
        ("name", NAME.fullmatch(name), "1 to 80 letters, digits, spaces or any of . _ @ -, a letter or digit first", repr(name)),
        ("scope", scopes and set(scopes) <= set(SCOPES), f"at least one of {known}", ", ".join(scopes) or "none"),
        ("per-second", 0 < per_second < inf, "more than 0 calls a second", str(per_second)),
        ("burst", burst >= 1, "at least 1 call at once", str(burst)),
        ("expires", future, f"an instant after {now:%Y-%m-%d %H:%M:%S} UTC", str(expires_at)),
    ):
        if not sound:
            raise CallError(f"a key's {where}", expected=expected, received=received, repair=f"give another with --{where}")


def _unknown(identity: str, keys: Sequence[Key]) -> CallError:
    """No such key. Of what was given only as much is repeated as the part of a secret that is none: it may be a torn one."""
    named = [key.id for key in keys if key.name == identity]
    near = nearest(identity.removeprefix("fs_")[:8], [key.id for key in keys])
    meant = f"did you mean {' or '.join(named or [near or ''])}? " if named or near else ""
    return CallError(
        "a key's id",
        expected="the id of one of this workspace's keys" if keys else "a key: this workspace has none",
        received=repr(identity if len(identity) <= 12 else f"{identity[:12]}..."),
        repair=f"{meant}`foresell key list` shows every id",
    )


def _unusable(file: Path, what: str, problem: OSError) -> WorkspaceError:
    return WorkspaceError(
        f"API keys in {file}",
        expected=f"a file that can be {what}",
        received=problem.strerror or str(problem),
        repair="let the user that runs Foresell own the file and its folder, or set another file: `keys_file` in [serving]",
    )


def _damaged(file: Path, problem: ValidationError) -> WorkspaceError:
    first = problem.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in first["loc"])
    return WorkspaceError(
        f"API keys in {file}{f', key `{key}`' if key else ''}",
        expected="the file as `foresell key` writes it",
        received=first["msg"],
        repair="put back a copy of the file, or move it away and make new keys with `foresell key create`",
    )
