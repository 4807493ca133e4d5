"""The sample CRM: a car retailer with connected-service subscriptions and a loyalty programme.

It writes what such a CRM's export looks like, with a CRM's untidiness, and, in a folder of its own that no CRM has, the true
probability of every outcome. People, addresses and numbers are made up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from features.errors import CallError
from features.sample import export
from features.sample.activity import CAMPAIGNS
from features.sample.block import LEADS_PER_CUSTOMER, Block
from features.sample.calendar import Calendar
from features.sample.files import Files
from features.sample.truth import truth
from features.sample.turn import Turn

CUSTOMERS = 6_000
FEWEST = 100
BLOCK = 10_000
TRUTH_FOLDER = "truth"
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Sample:
    """What was written: the export's folder, the folder of the true probabilities, the rows of every file."""

    export: Path
    truth: Path
    rows: dict[str, int]


def make(
    folder: Path,
    *,
    now: datetime,
    customers: int = CUSTOMERS,
    seed: int = 1,
    tick: Tick = lambda units: None,
    quiet_weeks: int = 0,
    turns: tuple[Turn, ...] = (),
    leads_per_customer: float = LEADS_PER_CUSTOMER,
) -> Sample:
    """Write an export of the sample CRM into `folder`, and the true probabilities into `truth/` beside it.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        now: the instant of the export, in UTC. Nothing that happens or becomes known at or after it is in the export.
        customers: how many customers the CRM has. Memory does not grow with them.
        seed: the same arguments write the same bytes.
        tick: called with the number of customers written.
        quiet_weeks: in so many weeks before `now` there is no price rise and no big campaign.
        turns: when outcomes begin to happen more often, or to others than before.
        leads_per_customer: how many leads there are beside each customer; half as many again by default.

    Raises:
        CallError: fewer than 100 customers.
    """
    if customers < FEWEST:
        raise CallError("sample CRM", expected=f"at least {FEWEST} customers", received=str(customers), repair="ask for more")
    calendar = Calendar.until(now, quiet_weeks, turns)
    with Files(folder) as exported, Files(folder.parent / TRUTH_FOLDER) as true:
        exported.sheet("campaigns.xlsx", CAMPAIGNS)
        for number, first in enumerate(range(0, customers, BLOCK)):
            size = min(BLOCK, customers - first)
            rng = np.random.default_rng([seed, number])
            leads = _numbers(int(first * leads_per_customer), int(size * leads_per_customer))
            block = Block.draw(rng, calendar, _numbers(first, size), leads)
            export.write(rng, calendar, block, exported)
            for propensity, frame in truth(calendar, block):
                true.add(f"{propensity}.parquet", frame)
            tick(size)
    return Sample(folder, folder.parent / TRUTH_FOLDER, {**exported.rows, **true.rows})


def _numbers(first: int, size: int) -> np.ndarray:
    return 100_001 + np.arange(first, first + size)
