"""A step of the night: what it is made from, whether what it left is still there, and how it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import version
from typing import Any, Protocol

from features.catalog import Catalog
from features.console import Watch
from features.errors import ForesellError
from features.settings import Workspace
from features.views import views

Facts = dict[str, Any]  # of what JSON can hold


@dataclass(frozen=True)
class Made:
    """What a step did.

    Attributes:
        rows: how many it went through.
        outputs: digests of what it left; the same whether or not a killed night had done a part of it.
        told: in words, with counts.
        late: a sentence for each source that was late or missing.
        failures: what failed without stopping it, by a name; the step is done again when the night is run again.
    """

    rows: int
    outputs: Facts
    told: str
    late: tuple[str, ...] = ()
    failures: Mapping[str, ForesellError] = field(default_factory=dict)


class Step(Protocol):
    """One step."""

    @property
    def name(self) -> str:
        """What it is called, and its receipt."""
        ...

    @property
    def stops(self) -> bool:
        """Whether the night ends when it fails; the steps after one that does not stop the night need nothing of it."""
        ...

    def inputs(self) -> Facts:
        """All that the step is made from; while it is equal, the step is not done again."""
        ...

    def is_there(self, outputs: Facts) -> bool:
        """Whether what an earlier run left is still there, unchanged."""
        ...

    def run(self, progress: Watch) -> Made:
        """Do it. Raises a ForesellError if it cannot be done."""
        ...


def release() -> str:
    """The release of Foresell: another one may make other outputs from the same inputs."""
    return version("foresell")


def declared(workspace: Workspace, catalog: Catalog) -> str:
    """A digest of every view that is declared, with its words."""
    return sha256(repr(views(workspace, catalog)).encode()).hexdigest()[:16]
