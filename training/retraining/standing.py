"""How the champion stands when a decision begins, and that it still stands so when the decision is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from features.errors import RegistryError
from features.settings import Workspace, parse_instant
from training import registry
from training.compatibility import contract_check
from training.registry import Check, History, Judged

BY = "foresell retrain"  # who signs in the history


@dataclass(frozen=True)
class Serving:
    """The champion.

    Attributes:
        version: its number.
        born: when it was trained, or where nothing says so, when it began to serve (UTC); None where nobody knows.
    """

    version: str
    born: datetime | None


def serving(history: History) -> Serving | None:
    """The champion as the history tells of it; None where there is none."""
    if history.alias is None:
        return None
    last = history.last
    if last is None or last.event.version != history.alias:
        return Serving(history.alias, None)
    trained_at = last.event.evidence.trained_at if last.event.evidence else None
    return Serving(history.alias, parse_instant(trained_at) if trained_at else last.since)


def short(reason: str) -> str:
    """As much of a reason as an event of the history holds."""
    return reason if len(reason) <= registry.LONGEST_REASON else f"{reason[: registry.LONGEST_REASON - 3]}..."


def unmoved(workspace: Workspace, name: str, version: str) -> Check:
    """The contract check, and that a version is still the champion: what somebody else did since stands.

    What it returns raises GateError where the workspace cannot feed a version, RegistryError where somebody moved the champion.
    """
    fed = contract_check(workspace, name, forced=False)

    def check(coming: str) -> Judged:
        present = registry.champion_version(workspace, name)
        if present != version:
            raise RegistryError(
                f"propensity {name!r}",
                expected=f"version {version} as champion, as when this began",
                received=f"version {present}: somebody moved it meanwhile"
                if present
                else "none: somebody took it away meanwhile",
                repair=f"`foresell history {name}` shows who; what they did stands",
            )
        return fed(coming)

    return check
