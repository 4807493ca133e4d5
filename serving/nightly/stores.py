"""The steps that see to the stores: snapshots, and what the online store holds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import duckdb

from features import external, store
from features.catalog import Catalog
from features.console import Watch
from features.errors import ForesellError
from features.online import IDS_PER_READ
from features.propensity import propensity_files
from features.settings import Workspace
from features.snapshot import build, held, to_build
from serving import batch
from serving.nightly.step import Facts, Made, declared, release
from serving.partition import digest


@dataclass(frozen=True)
class Snapshot:
    """What was known before the as_of."""

    workspace: Workspace
    as_of: datetime
    name: str = "snapshot"
    stops: bool = True

    def inputs(self) -> Facts:
        catalog = Catalog.load(self.workspace)
        return {
            "catalog": catalog.version, "views": declared(self.workspace, catalog), "as_of": self.as_of.isoformat(),
            "duckdb": duckdb.__version__, "release": release(),
        }  # fmt: skip

    def is_there(self, outputs: Facts) -> bool:
        return outputs == _snapshots(self.workspace, self.as_of)

    def run(self, progress: Watch) -> Made:
        with progress("snapshot", to_build(self.workspace, [self.as_of])) as tick:
            late = self.workspace.settings.nightly.late == "score"
            built = build(self.workspace, [self.as_of], tick, beyond=late)
        outputs = _snapshots(self.workspace, self.as_of)
        rows = sum(kept[1] for kept in held(self.workspace, self.as_of).values() if kept)
        return Made(rows, outputs, f"{built.built:,} built, {built.kept:,} up to date")


def _snapshots(workspace: Workspace, as_of: datetime) -> Facts:
    """By view, the digest of its snapshot; None where there is none."""
    return {view: kept and kept[0] for view, kept in held(workspace, as_of).items()}


@dataclass(frozen=True)
class Materialise:
    """Feast is told what is declared, and the online store holds what was known before the as_of.

    Scores are made from the snapshots, so an online store that is away costs nobody one.
    """

    workspace: Workspace
    as_of: datetime
    name: str = "materialise"
    stops: bool = False

    def inputs(self) -> Facts:
        catalog = Catalog.load(self.workspace)
        files = propensity_files(self.workspace.root, self.workspace.settings)
        return {
            "snapshots": _snapshots(self.workspace, self.as_of),
            "views": declared(self.workspace, catalog), "external": external.delivered(self.workspace),
            "propensities": {name: digest(path) for name, path in sorted(files.items())},
            "store": self.workspace.settings.store.model_dump(mode="json"), "as_of": self.as_of.isoformat(),
            "release": release(),
        }  # fmt: skip

    def is_there(self, outputs: Facts) -> bool:
        """The first records of each entity are those that were put; newer ones are reason to look at all of them again."""
        try:
            return outputs == self._outputs()
        except ForesellError:
            return False

    def run(self, progress: Watch) -> Made:
        failures = {f"propensity {name}": error for name, error in batch.applied(self.workspace).items()}
        people = sum(len(ids) for ids in store.population(self.workspace, self.as_of).values())
        with progress("online store", people) as tick:
            done = store.materialize(self.workspace, self.as_of, tick)
        written, same = sum(one.written for one in done), sum(one.same for one in done)
        newer, gone = sum(one.newer for one in done), sum(one.gone for one in done)
        told = f"{written:,} records written, {same:,} the same, {newer:,} newer ones left, {gone:,} emptied"
        return Made(people, self._outputs(), told, failures=failures)

    def _outputs(self) -> Facts:
        """A digest of the first records of each entity."""
        online = store.Online(self.workspace)
        return {
            entity: hashlib.sha256(b"\0".join(data or b"" for data in online.read_packed(entity, ids[:IDS_PER_READ]))).hexdigest()
            for entity, ids in store.population(self.workspace, self.as_of).items()
        }
