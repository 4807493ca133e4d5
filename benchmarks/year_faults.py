"""What goes wrong in a year: four faults of the export, and two turns of the world itself.

Each begins at the midnight of a week. One of the export changes rows that the CRM has from then on, and nothing before; where it
is mended, the export is again what it should be, but what a source that stopped did not tell stays untold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from features.finding import Finding, Kind
from features.sample import Turn

Frames = dict[str, pd.DataFrame]
Change = Callable[[Frames, pd.Timestamp, pd.Timestamp], Frames]
ONE_IN = 3  # rows that come through the new channel
HOURS = 24
CHANNEL, DESK = "messenger", "closing desk"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    Attributes:
        name, week: what, and from the beginning of which week of the year on.
        mended: the week from which on the export is right again; None: never.
        kinds, places: a finding of one of these kinds whose `where` begins with one of these places has seen it.
        change: what it does to the rows that are known from its instant on, until it is mended; None where the world turns.
        gone: whether what it took stays away after it was mended.
        rate, turning: of the world's turn: how many times as often outcomes happen, in how many weeks inclinations turn round.
    """

    name: str
    week: int
    kinds: frozenset[Kind]
    places: tuple[str, ...]
    mended: int | None = None
    change: Change | None = None
    gone: bool = False
    rate: float = 1.0
    turning: float = 0.0

    def turn(self, since: datetime) -> Turn | None:
        """What becomes of the world; None for a fault of the export."""
        return None if self.change else Turn(since, self.rate, self.turning)

    def spoil(self, frames: Frames, week: int, as_of: Callable[[int], datetime]) -> Frames:
        """The export of a week with this fault in it."""
        over = self.mended is not None and week >= self.mended
        if self.change is None or week <= self.week or (over and not self.gone):
            return frames
        until = self.mended if over and self.mended is not None else week
        return self.change(frames, _plain(as_of(self.week)), _plain(as_of(until)))

    def is_seen_in(self, finding: Finding) -> bool:
        """Whether a finding is about it."""
        return finding.kind in self.kinds and finding.where.startswith(self.places)


def _plain(at: datetime) -> pd.Timestamp:
    return pd.Timestamp(at).tz_localize(None)


def _between(known: pd.Series, since: pd.Timestamp, until: pd.Timestamp) -> pd.Series:
    return (known >= since) & (known < until)


def stop(frames: Frames, since: pd.Timestamp, until: pd.Timestamp) -> Frames:
    """No contact is told any more."""
    activities = frames["activities"]
    return {**frames, "activities": activities[~_between(activities["logged"], since, until)].reset_index(drop=True)}


def change_unit(frames: Frames, since: pd.Timestamp, until: pd.Timestamp) -> Frames:
    """The budget of new leads comes in another unit, 24 times as large, as days would that became hours."""
    leads = frames["leads"]
    new = _between(leads["imported"], since, until)
    return {**frames, "leads": leads.assign(budget=leads["budget"].where(~new, leads["budget"] * HOURS))}


def open_channel(frames: Frames, since: pd.Timestamp, until: pd.Timestamp) -> Frames:
    """One new lead in three, and one new contact in three, comes through a channel that was never there."""
    leads, activities = frames["leads"], frames["activities"]
    source = _between(leads["imported"], since, until) & (leads["lead_no"].to_numpy() % ONE_IN == 0)
    channel = _between(activities["logged"], since, until) & (activities["activity_no"].to_numpy() % ONE_IN == 0)
    return {
        **frames,
        "leads": leads.assign(source=leads["source"].mask(source, CHANNEL)),
        "activities": activities.assign(channel=activities["channel"].mask(channel, CHANNEL)),
    }


def leak(frames: Frames, since: pd.Timestamp, until: pd.Timestamp) -> Frames:
    """As soon as a new lead is won, its dealer is overwritten; the adapter promised that a dealer stays."""
    leads = frames["leads"]
    won = _between(leads["imported"], since, until) & leads["converted"].notna()
    return {**frames, "leads": leads.assign(dealer=leads["dealer"].mask(won, DESK))}


FAULTS = (
    Fault(
        "a new channel appears", 4, frozenset({"category", "unseen", "drift"}),
        ("leads.source", "interactions.channel", "lead_source"), change=open_channel,
    ),
    Fault(
        "a source stops", 9,
        frozenset({"stopped", "volume", "late", "drift", "missing", "constant", "empty", "score", "estimate"}),
        ("interactions", "inbound", "emails", "logins", "web_", "calls", "score", "version"), mended=13, change=stop, gone=True,
    ),
    Fault(
        "a unit changes", 17, frozenset({"scale", "drift"}), ("leads.budget", "lead_budget"), mended=22, change=change_unit,
    ),
    Fault("the base rate doubles", 24, frozenset({"base_rate", "calibration"}), ("",), rate=2.0),
    Fault(
        "a feature leaks", 27, frozenset({"category", "unseen", "drift", "schema"}), ("leads.dealer", "lead_dealer"),
        mended=32, change=leak,
    ),
    Fault("slow decay", 30, frozenset({"performance", "estimate"}), ("",), turning=20.0),
)  # fmt: skip
