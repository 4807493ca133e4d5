"""The log of a propensity's retraining, and the budget of attempts that is counted on it.

`data/retrain/NAME.jsonl`, one JSON document a line, only ever added to: an attempt that began, how it ended, and what was judged
of a champion's first matured weeks. A line that a kill cut off is no line. An attempt that began and has no end was broken off,
or is still at work; whoever holds the lock knows that it is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from features.disk import broken
from features.monitoring import RetrainSettings
from features.settings import Workspace
from features.strict import Strict

End = Literal["promoted", "refused", "failed", "broken off"]
Judgement = Literal["kept", "warned", "rolled back"]


class Begun(Strict):
    """An attempt that began; from here on it counts.

    Attributes:
        id: tells attempts apart.
        at: when (UTC).
        why: the sentence of each trigger, and of what was passed over.
        before: the champion.
        newest: the newest as_of whose outcomes are known, from which it learns.
    """

    line: Literal["begun"] = "begun"
    id: str
    at: datetime
    why: tuple[str, ...]
    before: str
    newest: datetime


class Ended(Strict):
    """How it ended.

    Attributes:
        id: of the attempt.
        end: what came of it.
        version: what was registered; None where nothing was.
        sentences: the gates, and what else there is to say.
        seconds: how long it took; None where nobody measured.
    """

    line: Literal["ended"] = "ended"
    id: str
    end: End
    version: str | None = None
    sentences: tuple[str, ...] = ()
    seconds: float | None = None


class Judged(Strict):
    """What was judged of a champion's first matured weeks.

    Attributes:
        at: when (UTC).
        event: the number of its promotion in the history.
        version, against: the champion, and the one that a rollback brings back.
        judgement: what was done.
        sentence: with the figures.
    """

    line: Literal["judged"] = "judged"
    at: datetime
    event: int
    version: str
    against: str
    judgement: Judgement
    sentence: str


Line = Annotated[Begun | Ended | Judged, Field(discriminator="line")]
_LINE: TypeAdapter[Begun | Ended | Judged] = TypeAdapter(Line)


@dataclass(frozen=True)
class Attempt:
    """One attempt: how it began, and how it ended if it did."""

    begun: Begun
    ended: Ended | None


class Log:
    """The log of one propensity."""

    def __init__(self, workspace: Workspace, propensity: str) -> None:
        self.path: Path = workspace.retraining / f"{propensity}.jsonl"

    def lines(self) -> tuple[Begun | Ended | Judged, ...]:
        """Every line that can be read, oldest first.

        Raises:
            StoreError: the file cannot be read.
        """
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        except OSError as problem:
            raise broken(f"log {self.path}", problem) from problem
        return tuple(line for raw in text.split(b"\n") if (line := _parsed(raw)) is not None)

    def attempts(self) -> tuple[Attempt, ...]:
        """Every attempt, oldest first."""
        lines = self.lines()
        ends = {line.id: line for line in lines if isinstance(line, Ended)}
        return tuple(Attempt(line, ends.get(line.id)) for line in lines if isinstance(line, Begun))

    def judged(self) -> tuple[Judged, ...]:
        """Every judgement, oldest first."""
        return tuple(line for line in self.lines() if isinstance(line, Judged))

    def add(self, line: Begun | Ended | Judged) -> None:
        """Write a line down, whole and for good, beginning a new one after what a kill cut off.

        Raises:
            StoreError: the disk takes it not.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(_seam(self.path) + line.model_dump_json().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as problem:
            raise broken(f"log {self.path}", problem) from problem

    def settle(self, promoted: Callable[[Begun], str | None]) -> tuple[Attempt, ...]:
        """End the attempts that were killed, which holds for who has the lock; returns them.

        Args:
            promoted: the version that an attempt had promoted by then; None: it is marked as broken off.
        """
        cut = []
        for begun in [attempt.begun for attempt in self.attempts() if attempt.ended is None]:
            version = promoted(begun)
            ended = Ended(id=begun.id, end="promoted" if version else "broken off", version=version)
            self.add(ended)
            cut.append(Attempt(begun, ended))
        return tuple(cut)


def next_possible(attempts: Sequence[Attempt], settings: RetrainSettings, at: datetime) -> datetime | None:
    """When another attempt may begin; None: now. One counts until `its beginning + within`, which it is not itself."""
    counted = sorted(attempt.begun.at for attempt in attempts if at < attempt.begun.at + settings.window)
    return None if len(counted) < settings.attempts else counted[-settings.attempts] + settings.window


def _seam(path: Path) -> bytes:
    """A line's end where the last line has none."""
    text = path.read_bytes()[-1:]
    return b"" if text in (b"", b"\n") else b"\n"


def _parsed(raw: bytes) -> Begun | Ended | Judged | None:
    try:
        return _LINE.validate_json(raw)
    except ValidationError:
        return None
