"""The steps that take a night's scores to where people work with them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from features.console import Watch
from features.errors import ForesellError, StoreError
from features.settings import Workspace
from serving import latest
from serving.connectors.write_back import Outcome, target_of, write_back
from serving.ledger import Ledger
from serving.nightly.step import Facts, Made


@dataclass(frozen=True)
class WriteBack:
    """What has changed goes to one target. It may be broken off anywhere: the ledger knows what was sent."""

    workspace: Workspace
    target: str
    as_of: datetime
    now: datetime
    stops: bool = False

    @property
    def name(self) -> str:
        return f"write-back {self.target}"

    def inputs(self) -> Facts:
        scores = latest.digests(self.workspace)
        target = target_of(self.workspace, self.target).model_dump(mode="json")  # which names credentials, and has none
        ledger = self.workspace.settings.serving.ledger
        return {"as_of": self.as_of.isoformat(), "scores": scores, "target": target, "ledger": ledger}

    def is_there(self, outputs: Facts) -> bool:
        """Nothing waits, and nothing stays rejected; what the target holds, `foresell write-back --reconcile` tells."""
        try:
            with closing(Ledger.open(self.workspace)) as ledger:
                return not {"rejected", "waiting"} & set(ledger.statuses(self.target))
        except ForesellError:
            return False

    def run(self, progress: Watch) -> Made:
        done = write_back(self.workspace, self.target, self.as_of, self.now, watch=progress)
        counts = f"{done.sent:,} of {done.changed:,} changed scores sent"
        return Made(done.looked_at, {}, counts, failures=self._failures(done))

    def _failures(self, done: Outcome) -> Mapping[str, ForesellError]:
        failures = {f"{self.name} {propensity}": error for propensity, error in done.failures.items()}
        if done.is_complete:
            return failures
        error = StoreError(
            f"write-back to {self.target}",
            expected=f"all of {done.changed:,} changed scores taken, and none of earlier nights rejected",
            received=done.stopped or f"{done.dead_letters:,} rejected, {done.waiting:,} waiting",
            repair=f"nothing is lost: mend it, then run `foresell write-back {self.target} --replay`; --give-up lets go of what "
            f"data/write_back/{self.target}/rejected.jsonl names",
        )
        return {self.name: error, **failures}
