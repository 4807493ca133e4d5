"""The steps that see to the scores: each propensity's, and the latest ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from features import external
from features.catalog import Catalog
from features.console import Watch
from features.errors import ForesellError
from features.settings import Workspace
from serving import batch, latest
from serving.action import entities
from serving.nightly.step import Facts, Made, declared, release
from serving.objection import told_since
from serving.partition import RECEIPT, digest, folder, joint, partitions, parts
from training import registry

SCORE = "score "


def scoring(workspace: Workspace, as_of: datetime, late: Sequence[str]) -> list[Score]:
    """A step for each propensity that has a champion; the version is the pinned one where one is pinned.

    Raises:
        RegistryError: there is none, or the registry does not answer.
    """
    return [Score(workspace, as_of, name, one, tuple(late)) for name, one in batch.with_champion(workspace).items()]


@dataclass(frozen=True)
class Score:
    """One propensity's partition and last scores."""

    workspace: Workspace
    as_of: datetime
    propensity: str
    champion: registry.Named
    late: tuple[str, ...]
    stops: bool = False

    @property
    def name(self) -> str:
        return SCORE + self.propensity

    def inputs(self) -> Facts:
        catalog, settings = Catalog.load(self.workspace), self.workspace.settings
        version = self._version()
        return {
            "catalog": catalog.version, "views": declared(self.workspace, catalog), "external": external.held(self.workspace),
            "model": [version.version, version.run_id], "policy": settings.policy.model_dump(mode="json"),
            "fresh_for_hours": settings.serving.fresh_for_hours, "ledger": settings.serving.ledger,
            "reasons": settings.nightly.reasons, "objections": self._objections(),
            "is_newest": self.as_of >= catalog.midnight, "as_of": self.as_of.isoformat(), "late": list(self.late),
            "release": release(),
        }  # fmt: skip

    def is_there(self, outputs: Facts) -> bool:
        target = folder(self.workspace, self.propensity, self.as_of)
        try:
            told = json.loads((target / RECEIPT).read_text(encoding="utf-8"))
            return bool(told == outputs) and joint([digest(path) for path in parts(target)]) == outputs["sha256"]
        except (FileNotFoundError, ValueError):
            return False

    def run(self, progress: Watch) -> Made:
        registered = registry.load(self.workspace, self.propensity, self._version().version)
        receipt, failure = batch.score_propensity(self.workspace, registered, self.as_of, progress, self.late)
        withheld = sum(receipt.withheld.values())
        told = (
            f"{receipt.rows - withheld:,} of {receipt.known:,} scored by version {receipt.model_version}, {withheld:,} withheld"
        )
        return Made(receipt.rows, asdict(receipt), told, failures={self.name: failure} if failure else {})

    def _objections(self) -> list[str]:
        """How many have objected since the as_of, and when the last of them did."""
        try:
            told = told_since(self.workspace, entities(self.workspace).get(self.propensity, ""), self.as_of)
        except ForesellError:  # the step tells of a ledger that does not answer
            return []
        return [str(len(told)), max(score.scored_at for score in told.values()).isoformat()] if told else []

    def _version(self) -> registry.Named:
        pinned = self.workspace.settings.serving.pin.get(self.propensity)
        return registry.named(self.workspace, self.propensity, pinned) if pinned else self.champion


@dataclass(frozen=True)
class Latest:
    """The newest scores of each propensity, where whoever wants no history finds them."""

    workspace: Workspace
    name: str = "latest"
    stops: bool = False

    def inputs(self) -> Facts:
        return latest.digests(self.workspace)

    def is_there(self, outputs: Facts) -> bool:
        return all(latest.is_published(self.workspace, name) for name in partitions(self.workspace))

    def run(self, progress: Watch) -> Made:
        names = list(partitions(self.workspace))
        failures: dict[str, ForesellError] = {}
        for name in names:
            try:
                latest.publish(self.workspace, name)
            except ForesellError as error:
                failures[f"{self.name} {name}"] = error
        return Made(len(names), {}, f"{len(names)} propensities", failures=failures)
