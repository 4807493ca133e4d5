"""The world of a year: one sample CRM that is made once and exported week by week, as it looked then.

A row is in the export of a week if the CRM had it by then; what was filled in later is empty, for it was empty then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from benchmarks.year_faults import Fault, Frames
from features.export import stem
from features.sample import make
from features.settings import SETTINGS_FILE

END = datetime(2026, 6, 29, tzinfo=UTC)  # a Monday
WEEK = timedelta(weeks=1)
LEADS_PER_CUSTOMER = 5  # so that some hundred leads are open at a time beside no more customers than a night can be run for
SHEET = "campaigns.xlsx"  # what campaigns are called never changes
KNOWN = {  # by file: when the CRM had a row
    "contacts": "entered",
    "leads": "imported",
    "activities": "logged",
    "orders": "logged",
    "loyalty": "logged",
    "tickets": "logged",
    "surveys": "logged",
    "vehicles": "delivered",
    "workshop_visits": "logged",
    "contracts": "changed",
    "campaign_members": "added",
    "field_history": "since",
}
LATER = {  # by file: a column that says when it was filled in, and the columns that were then
    "leads": {"converted": ("converted",), "lost": ("lost", "lost_reason")},
    "tickets": {"closed": ("closed",)},
    "vehicles": {"given_away": ("given_away",)},
    "campaign_members": {"responded": ("responded",)},
}
TODAY = {"contacts": ["status"]}  # what a customer is today; nobody reads it, and nothing tells what it was


@dataclass(frozen=True)
class World:
    """A sample CRM with a year of weeks at its end, and what goes wrong in it.

    Attributes:
        folder: the whole export and the true probabilities are in it.
        weeks: of the year.
        frames: the rows of every file of the whole export.
        faults: those of the year.
    """

    folder: Path
    weeks: int
    frames: Frames
    faults: tuple[Fault, ...]

    @classmethod
    def make(cls, folder: Path, customers: int, weeks: int, seed: int, faults: Sequence[Fault]) -> World:
        """Make the sample, if it is not there yet, and read it."""
        done = folder / "done"
        if not done.is_file():
            turns = tuple(turn for fault in faults if (turn := fault.turn(monday(weeks, fault.week))))
            make(
                folder / "export", now=END, customers=customers, seed=seed, quiet_weeks=weeks, turns=turns,
                leads_per_customer=LEADS_PER_CUSTOMER,
            )  # fmt: skip
            done.touch()
        return cls(folder, weeks, _read(folder / "export"), tuple(faults))

    def as_of(self, week: int) -> datetime:
        """The midnight at which a week of the year begins; that of week 0 is the first night's."""
        return monday(self.weeks, week)

    def as_known(self, week: int) -> Frames:
        """Every file as the CRM would have exported it at the beginning of a week, with what is wrong in it by then."""
        frames = cut(self.frames, self.as_of(week))
        for fault in self.faults:
            frames = fault.spoil(frames, week, self.as_of)
        return frames

    def export(self, folder: Path, week: int) -> None:
        """Write it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SHEET).write_bytes((self.folder / "export" / SHEET).read_bytes())
        for name, frame in self.as_known(week).items():
            frame.to_parquet(folder / f"{name}.parquet", index=False)


def monday(weeks: int, week: int) -> datetime:
    """When a week of a year of so many begins."""
    return END - (weeks - week) * WEEK


def cut(frames: Mapping[str, pd.DataFrame], at: datetime) -> Frames:
    """What was known before an instant, as it looked then."""
    instant = pd.Timestamp(at).tz_localize(None)
    found = {}
    for name, frame in frames.items():
        known = frame[frame[KNOWN[name]] < instant].drop(columns=TODAY.get(name, []))
        for filled, columns in LATER.get(name, {}).items():
            known = known.assign(**{column: known[column].where(known[filled] < instant) for column in columns})
        found[name] = known.reset_index(drop=True)
    return found


def settings(root: Path, at: datetime, more: str = "") -> None:
    """Write a workspace's foresell.toml as of an export."""
    text = f'adapter = "sample"\nsource = "export"\nnow = "{at.isoformat()}"\n{more}'
    (root / SETTINGS_FILE).write_text(text, encoding="utf-8")


def _read(folder: Path) -> Frames:
    return {stem(path): _rows(path) for path in sorted(folder.iterdir()) if path.name != SHEET}


def _rows(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path, dtype_backend="pyarrow")
    return pd.read_csv(path, engine="pyarrow", dtype_backend="pyarrow")
