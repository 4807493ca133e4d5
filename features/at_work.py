"""At work: any number of commands at once in a workspace, but none of them while a person is forgotten.

Whoever has read a person before, and writes what came of it after, would bring them back. The service may go on: it asks the list
of the forgotten before it keeps anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from features import lock
from features.lock import Holder
from features.settings import Workspace


@contextmanager
def at_work(workspace: Workspace) -> Iterator[None]:
    """Work beside others. Where there is no data yet nobody can be in it, and no file is made.

    Raises:
        BusyError: somebody forgets a person.
        StoreError: the lock's file cannot be made.
    """
    if not (workspace.root / "data").is_dir():
        yield
        return
    with lock.shared(_path(workspace), f"workspace {workspace.root}", "nobody who forgets a person"):
        yield


def alone(workspace: Workspace, holder: Holder) -> AbstractContextManager[None]:
    """Work while no other command does.

    Raises:
        BusyError: another command is at work.
        StoreError: the lock's file cannot be made.
    """
    return lock.held(_path(workspace), holder, f"workspace {workspace.root}", "no other command at work")


def _path(workspace: Workspace) -> Path:
    return workspace.root / "data" / "at_work.json"
