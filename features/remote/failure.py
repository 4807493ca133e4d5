"""How a server says that something was not done: refused, busy or denied."""

from __future__ import annotations

from datetime import timedelta
from typing import Any


class Unsent(Exception):
    """Why a chunk was not taken; `told` is in words, without secrets."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told


class Refused(Unsent):
    """The target will not take what was sent.

    Attributes:
        status, body: its answer's.
        is_gone: whether the reason is that there is no record of an id that was sent.
    """

    def __init__(self, told: str, status: int = 0, body: Any = None, is_gone: bool = False) -> None:
        super().__init__(told)
        self.status, self.body, self.is_gone = status, body, is_gone


class Busy(Unsent):
    """The target does not answer now.

    Attributes:
        wait: how long it wants to be left alone; None if it does not say.
        broken: whether it answered that it failed, which may be for what was sent.
    """

    def __init__(self, told: str, wait: timedelta | None = None, broken: bool = False) -> None:
        super().__init__(told)
        self.wait, self.broken = wait, broken


class Denied(Unsent):
    """The target lets nobody in, or is not what the settings say; no record is to blame. `status` is its answer's."""

    def __init__(self, told: str, status: int = 0) -> None:
        super().__init__(told)
        self.status = status
