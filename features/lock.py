"""A lock for one run at a time, or for many that only keep out that one; who holds it alone is written in its file.

The lock is the kernel's and ends with the process, however that ends; the file stays, and what is written in it counts only while
the lock is held.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from features.disk import broken
from features.errors import BusyError


@dataclass(frozen=True)
class Holder:
    """Who holds it.

    Attributes:
        pid, host, user: which process, where, on whose behalf.
        command: as it was typed.
        since: ISO, in UTC.
    """

    pid: int
    host: str
    user: str
    command: str
    since: str

    def __str__(self) -> str:
        return f"`{self.command}` of {self.user} on {self.host}, process {self.pid}, since {self.since}"


def holder(command: str, since: str) -> Holder:
    """This process."""
    return Holder(os.getpid(), os.uname().nodename, _user(), command, since)


@contextmanager
def held(path: Path, holder: Holder, where: str, expected: str) -> Iterator[None]:
    """Hold a lock.

    Args:
        path: of its file, which is made if there is none.
        holder: who.
        where, expected: what the error says, such as "one night at a time".

    Raises:
        BusyError: somebody else holds it.
        StoreError: its file cannot be made.
    """
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(file, where, expected) from None
        with suppress(OSError):  # on a full disk it is held all the same, by somebody who is not told of
            file.truncate(0)
            file.write((json.dumps(asdict(holder)) + "\n").encode())
        yield


@contextmanager
def shared(path: Path, where: str, expected: str) -> Iterator[None]:
    """Hold a lock beside others who share it, so that nobody has it alone; arguments and errors as of `held`."""
    with _opened(path) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy(file, where, expected) from None
        with suppress(OSError):  # whoever held it alone does so no more
            file.truncate(0)
        yield


@contextmanager
def waited(path: Path) -> Iterator[None]:
    """Hold a lock, once whoever holds it has let it go; its file says nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _opened(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "r+b", buffering=0, opener=_made)
    except OSError as problem:
        raise broken("lock", problem) from problem


def _made(path: str, flags: int) -> int:
    """Made where there is none, and never emptied: somebody who holds it may just have written who that is."""
    return os.open(path, flags | os.O_CREAT, 0o666)


def _busy(file: IO[bytes], where: str, expected: str) -> BusyError:
    try:
        holder = str(Holder(**json.loads(file.read())))
    except (ValueError, TypeError):  # it is just being written
        holder = "another process, which does not say who it is"
    return BusyError(
        where,
        expected=expected,
        received=f"it is held by {holder}",
        repair="wait until that has ended, or end it; what it has done by then is not done again",
    )


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return str(os.getuid())
