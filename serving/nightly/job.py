"""The job: the steps of a night in their order, each done, skipped because nothing changed, or failed.

It looks at the clock only to time itself. Whatever ends it, the next run goes on where it was: what is done has a receipt.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import duckdb

from features.console import Tick, Watch
from features.disk import broken
from features.errors import ForesellError
from features.settings import Workspace
from serving.nightly.receipt import Receipt, Receipts, errors
from serving.nightly.retention import Retention
from serving.nightly.scores import SCORE, Latest, Score, scoring
from serving.nightly.step import Facts, Made, Step
from serving.nightly.stores import Materialise, Snapshot
from serving.nightly.tables import Check, Freshness, Ingest, Pull, reads_export
from serving.nightly.targets import WriteBack
from serving.nightly.watching import Monitor
from training import registry

Status = Literal["done", "skipped", "failed"]
NOTHING: Mapping[str, ForesellError] = {}


@dataclass(frozen=True)
class Ended:
    """What became of one step: in words, and its receipt if it has one."""

    step: str
    status: Status
    told: str
    receipt: Receipt | None = None


@dataclass
class Night:
    """What a run did.

    Attributes:
        as_of: which night.
        steps: those that were reached, in their order.
        late: a sentence for each source that was late or missing.
        failures: what failed, by the name of the step or the propensity.
        stopped: the error that ended the night before its end, if one did.
        seconds: how long it took.
    """

    as_of: datetime
    steps: list[Ended] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    failures: dict[str, ForesellError] = field(default_factory=dict)
    stopped: ForesellError | None = None
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0: all was done or skipped; 1: something failed; 2: the call or the settings were wrong."""
        return self.stopped.exit_code if self.stopped else int(bool(self.failures))

    @property
    def partitions(self) -> dict[str, Facts]:
        """The receipt of the partition of each propensity that is scored, now or before."""
        scored = [one for one in self.steps if one.step.startswith(SCORE) and one.receipt and one.receipt.outputs]
        return {one.step.removeprefix(SCORE): one.receipt.outputs for one in scored if one.receipt}


def run(workspace: Workspace, as_of: datetime, now: datetime, progress: Watch, tell: Callable[[Ended], None]) -> Night:
    """Run a night, or what is left of it.

    Args:
        workspace: with at least one champion.
        as_of: features were known before this instant.
        now: when the night began; up to when an export tells that does not say so itself.
        progress: opens a progress bar, as `features.console.progress` does.
        tell: called with each step that has ended.
    """
    began = time.monotonic()
    job = _Job(workspace, as_of, now, progress, tell)
    with suppress(_Stopped):
        job.do_all(_before(workspace, as_of, now))
        scoring = job.scoring()
        job.do_all(scoring)
        job.do_all(_after(workspace, as_of, now, {step.propensity: step.champion for step in scoring}))
    job.night.seconds = time.monotonic() - began
    return job.night


def _before(workspace: Workspace, as_of: datetime, now: datetime) -> list[Step]:
    pulls = [Pull(workspace, name, as_of, now) for name in workspace.settings.pull]
    ingest: list[Step] = [*pulls, Ingest(workspace, as_of, now)] if reads_export(workspace) else []
    return [*ingest, Check(workspace), Freshness(workspace, as_of), Snapshot(workspace, as_of), Materialise(workspace, as_of)]


def _after(workspace: Workspace, as_of: datetime, now: datetime, champions: Mapping[str, registry.Named]) -> list[Step]:
    """What follows the scores."""
    targets = [WriteBack(workspace, name, as_of, now) for name in workspace.settings.write_back]
    return [Latest(workspace), *targets, Monitor(workspace, as_of, champions), Retention(workspace, as_of)]


class _Stopped(Exception):
    """A step failed that the others need."""


class _Job:
    """One run: does steps, keeps their receipts."""

    def __init__(
        self, workspace: Workspace, as_of: datetime, now: datetime, progress: Watch, tell: Callable[[Ended], None]
    ) -> None:
        self.night, self._workspace, self._now = Night(as_of), workspace, now
        self._progress, self._tell = progress, tell
        self._receipts = Receipts(workspace, as_of)
        self._receipts.sweep()
        self._earlier = self._receipts.earlier()

    def scoring(self) -> Sequence[Score]:
        """A step for each propensity; none, and a failure, where it cannot be told which there are."""
        try:
            return scoring(self._workspace, self.night.as_of, self.night.late)
        except ForesellError as error:
            self._end(Ended("score", "failed", error.received), {"score": error})
            return []

    def do_all(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._do(step)

    def _do(self, step: Step) -> None:
        began = time.monotonic()
        try:
            inputs: Facts = json.loads(json.dumps(step.inputs()))
            found = self._receipts.found(step.name, inputs)
            if found is not None and step.is_there(found.outputs):
                self._keep(found)
                self.night.late += found.late
                self._end(Ended(step.name, "skipped", "unchanged", found))
                return
            made = step.run(self._watch)
            receipt = self._receipt(step, inputs, made, time.monotonic() - began)
            self._keep(receipt)
        except (ForesellError, OSError, duckdb.Error) as problem:
            self._fail(step, problem if isinstance(problem, ForesellError) else broken(f"step {step.name}", problem))
            return
        self.night.late += made.late
        self._end(Ended(step.name, receipt.status, made.told, receipt), made.failures)

    def _fail(self, step: Step, error: ForesellError) -> None:
        receipt = self._receipt(step, {}, Made(0, {}, "", failures={step.name: error}), 0.0)
        with suppress(OSError):  # of a full disk, which is told of anyway
            self._keep(receipt)
        self._end(Ended(step.name, "failed", error.received, receipt), {step.name: error})
        if step.stops:
            self.night.stopped = error
            raise _Stopped

    def _end(self, ended: Ended, failures: Mapping[str, ForesellError] = NOTHING) -> None:
        self.night.steps.append(ended)
        self.night.failures.update(failures)
        self._tell(ended)

    def _keep(self, receipt: Receipt) -> None:
        self._receipts.write(receipt)

    def _receipt(self, step: Step, inputs: Facts, made: Made, seconds: float) -> Receipt:
        status: Literal["done", "failed"] = "failed" if made.failures else "done"
        as_of, at = self.night.as_of.isoformat(), self._now.astimezone(UTC).isoformat()
        outputs: Facts = json.loads(json.dumps(made.outputs))
        late = list(made.late)
        return Receipt(step.name, as_of, status, inputs, outputs, made.rows, late, errors(made.failures), round(seconds, 3), at)

    def _watch(self, what: str, units: int) -> AbstractContextManager[Tick]:
        """A progress bar that also says how long the night will take yet, judged by the one before."""
        left = sum(seconds for step, seconds in self._earlier.items() if step not in {one.step for one in self.night.steps})
        return self._progress(f"{what}, night: about {duration(left)} left" if left else what, units)


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
