"""One training of a propensity at a time, be it `foresell train` or `foresell retrain`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from features.lock import Holder, held, holder
from features.settings import Workspace


def me() -> Holder:
    """This process, as it was called."""
    return holder(shlex.join(["foresell", *sys.argv[1:]]), f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")


@contextmanager
def turn(workspace: Workspace, propensity: str) -> Iterator[None]:
    """Hold a propensity while it is trained.

    Raises:
        BusyError: somebody else trains it.
        StoreError: the lock's file cannot be made.
    """
    path = workspace.retraining / f"{propensity}.lock"
    with held(path, me(), f"propensity {propensity!r}", "one training of it at a time"):
        yield
