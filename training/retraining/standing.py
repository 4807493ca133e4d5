"""How the champion stands when a decision begins."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from features.settings import parse_instant
from training import registry
from training.registry import History

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
