"""Retention: the step that removes what is too old to keep: partitions, receipts, and the snapshots of nights."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from features import snapshot
from features.console import Watch
from features.errors import RegistryError
from features.propensity import propensity_files
from features.settings import Workspace, parse_instant
from serving import latest
from serving.nightly.receipt import nights
from serving.nightly.step import Facts, Made
from serving.partition import partitions
from training import registry


@dataclass(frozen=True)
class Retention:
    """What is older than the settings say goes: partitions, but the newest of a propensity stays; receipts of nights; and their
    snapshots, unless a champion or a challenger was trained on rows of that as_of. Others are left to whoever built them.
    """

    workspace: Workspace
    as_of: datetime
    name: str = "retention"
    stops: bool = False

    def inputs(self) -> Facts:
        return {"as_of": self.as_of.isoformat(), "keep_partitions_days": self.workspace.settings.nightly.keep_partitions_days}

    def is_there(self, outputs: Facts) -> bool:
        return not (self._old_partitions() or self._old_nights())

    def run(self, progress: Watch) -> Made:
        old, ended = self._old_partitions(), self._old_nights()
        needed = _trained_on(self.workspace) if ended else set()
        files = snapshot.remove(self.workspace, [at for at, _ in ended if at not in needed])
        for path in [*old, *(path for _, path in ended)]:  # receipts last: while there are any, a killed run is made up for
            shutil.rmtree(path)
        told = f"{len(old):,} old partitions and {files:,} files of snapshots removed"
        return Made(0, {}, told if old or ended else "nothing is too old")

    @property
    def _before(self) -> datetime:
        return self.as_of - timedelta(days=self.workspace.settings.nightly.keep_partitions_days)

    def _old_partitions(self) -> list[Path]:
        old = []
        for name, found in partitions(self.workspace).items():
            spared = {found[-1][1], latest.newest(self.workspace, name)}  # the last may be one that was never finished
            old += [path for at, path in found if at < self._before and path.is_dir() and path not in spared]
        return old

    def _old_nights(self) -> list[tuple[datetime, Path]]:
        return [(at, path) for at, path in nights(self.workspace.nightly) if at < self._before]


def _trained_on(workspace: Workspace) -> set[datetime]:
    """The as_ofs of the rows that champions and challengers were trained on; none of a version whose report is not there.

    Raises:
        RegistryError: the registry does not answer.
    """
    found: set[datetime] = set()
    for name, standing in registry.standing(workspace, sorted(propensity_files(workspace.root, workspace.settings))).items():
        for one in (standing.champion, standing.challenger):
            with suppress(RegistryError):
                document = registry.report(workspace, name, one.version)[0] if one else {}
                found |= {parse_instant(text) for text in document.get("provenance", {}).get("as_ofs", ())}
    return found
