"""The lock: one run at a time writes to a target, on this machine and on all that share a ledger in PostgreSQL."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from features.disk import broken
from features.errors import BusyError
from features.settings import Workspace
from serving.connectors.dead_letter import folder
from serving.ledger import Ledger

FILE = "lock"


@contextmanager
def alone(workspace: Workspace, name: str) -> Iterator[None]:
    """For one run at a time to a target; a killed one holds nothing up.

    Raises:
        BusyError: another run is at work; its process is named.
        StoreError: its file cannot be made.
    """
    path = folder(workspace, name) / FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="ascii")
    except OSError as problem:
        raise broken(f"target {name!r}", problem) from problem
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise _at_work(name, f"process {lock.read().strip() or 'unknown'}") from None
        with suppress(OSError):  # on a full disk it is held all the same, by somebody who is not told of
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
        yield


@contextmanager
def alone_anywhere(ledger: Ledger, name: str) -> Iterator[None]:
    """The same among all machines that share a ledger in PostgreSQL.

    Raises:
        BusyError: another run is at work.
        StoreError: the ledger does not answer.
    """
    with ledger.alone(name) as is_alone:
        if not is_alone:
            raise _at_work(name, "maybe on another machine")
        yield


def _at_work(name: str, who: str) -> BusyError:
    return BusyError(
        f"target {name!r}",
        expected="one run at a time",
        received=f"another one at work, {who}",
        repair="wait until that has ended, or end it; what it has sent by then is not sent again",
    )
