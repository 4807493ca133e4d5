"""One night at a time in a workspace; who holds it is written in the lock's file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from features import lock
from features.lock import Holder
from features.settings import Workspace

LOCK = "lock.json"


@contextmanager
def held(workspace: Workspace, holder: Holder) -> Iterator[None]:
    """Hold the workspace for one night.

    Raises:
        BusyError: somebody else holds it.
        StoreError: its file cannot be made.
    """
    with lock.held(workspace.nightly / LOCK, holder, f"workspace {workspace.root}", "one night at a time"):
        yield
