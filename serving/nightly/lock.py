"""One night at a time in a workspace; who holds it is written in the lock's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from features import lock
from features.lock import Holder
from features.settings import Workspace
from serving.disk import broken

LOCK = "lock.json"


@contextmanager
def held(workspace: Workspace, holder: Holder) -> Iterator[None]:
    """Hold the workspace for one night.

    Raises:
        BusyError: somebody else holds it.
        StoreError: its file cannot be made.
    """
    try:
        file = lock.opened(workspace.nightly / LOCK)
    except OSError as problem:
        raise broken("lock", problem) from problem
    with lock.held(file, holder, f"workspace {workspace.root}", "one night at a time"):
        yield
