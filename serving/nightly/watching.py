"""The step that looks how the models are doing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from features.catalog import Catalog
from features.console import Watch
from features.propensity import propensity_files
from features.settings import Workspace
from serving.ledger import Ledger
from serving.monitor import page
from serving.monitor.alerts.message import kept
from serving.monitor.monitor import monitor
from serving.monitor.served import PATIENCE_MS
from serving.nightly.step import Facts, Made, declared, release
from serving.partition import RECEIPT, digest, partitions
from training import registry


@dataclass(frozen=True)
class Monitor:
    """What was served is held against what happened; owners are told of what is new."""

    workspace: Workspace
    as_of: datetime
    champions: Mapping[str, registry.Named]
    name: str = "monitor"
    stops: bool = False

    def inputs(self) -> Facts:
        catalog, settings = Catalog.load(self.workspace), self.workspace.settings
        files = propensity_files(self.workspace.root, settings)
        champions = {name: [one.version, one.run_id] for name, one in self.champions.items()}
        told: Any = {"monitor": True, "policy": True, "nightly": {"late_after", "late_after_of"}}
        return {
            "as_of": self.as_of.isoformat(), "catalog": [catalog.version, catalog.observed_until],
            "views": declared(self.workspace, catalog), "champions": champions, "pin": settings.serving.pin,
            "questions": {name: digest(files[name]) for name in champions}, "scores": self._scores(),
            "asked": self._asked(list(champions)), "ledger": settings.serving.ledger,
            "settings": settings.model_dump(mode="json", include=told), "release": release(),
        }  # fmt: skip

    def is_there(self, outputs: Facts) -> bool:
        """The pages and what stands behind them are as they were left, and no message waits to be sent."""
        return outputs == self._outputs() and not kept(self.workspace)

    def run(self, progress: Watch) -> Made:
        found = monitor(self.workspace, self.as_of, progress)
        page.write(self.workspace, found)
        told = f"{len(found.watched)} propensities, {len(found.alarms.open)} alarms open, {len(found.alarms.new)} of them new"
        failures = {f"{self.name} {name}": error for name, error in found.failures.items()}
        return Made(len(found.watched), self._outputs(), told, failures=failures)

    def _scores(self) -> dict[str, str]:
        """By propensity, a digest of the receipts of every night that retention, which comes next, will leave."""
        found, kept = {}, self.as_of - timedelta(days=self.workspace.settings.nightly.keep_partitions_days)
        for name, nights in partitions(self.workspace).items():
            receipts = [path / RECEIPT for at, path in nights if at >= kept and (path / RECEIPT).is_file()]
            found[name] = hashlib.sha256("".join(map(digest, receipts)).encode()).hexdigest()[:16]
        return found

    def _asked(self, names: list[str]) -> Facts:
        """By propensity, how many scores were given online in each week, and the last one's number."""
        with closing(Ledger.open(self.workspace, PATIENCE_MS)) as ledger:
            return {name: [[week.monday.isoformat(), *week[1:]] for week in ledger.given_weeks(name)] for name in names}

    def _outputs(self) -> Facts:
        folders = (self.workspace.monitor, self.workspace.watch / "health")
        return {str(path.relative_to(self.workspace.root)): digest(path) for path in _files(folders)}


def _files(folders: tuple[Path, ...]) -> list[Path]:
    return [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
