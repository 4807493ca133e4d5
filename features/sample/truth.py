"""The true probabilities of the sample CRM's outcomes, given everything that had happened before an as_of.

They know what no CRM can know, such as that a customer has lost interest yesterday, and nothing that comes after the as_of:
shocks still to come enter as their exact expectation. So the AUC of a true probability is the best that any model can reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pandas as pd

from features.propensity import SHIPPED, read_file
from features.sample.block import Block
from features.sample.calendar import Calendar
from features.sample.risk import Floats, Integers


def truth(calendar: Calendar, block: Block) -> Iterator[tuple[str, pd.DataFrame]]:
    """For each propensity a frame with one row per entity and mature as_of: `entity_id`, `as_of` (UTC), `probability`.

    Leads are there while they are open, customers while they subscribe; the cohort of a propensity is a subset of them.
    """
    yield "lead-conversion", _frame([_leads(calendar, block, as_of) for as_of in _grid(calendar, "lead-conversion")])
    for name in ("churn", "upsell"):
        yield name, _frame([_customers(calendar, block, name, as_of) for as_of in _grid(calendar, name)])


def _grid(calendar: Calendar, name: str) -> list[datetime]:
    return read_file(SHIPPED / f"{name}.toml").as_ofs(calendar.first_as_of, calendar.now)


def _leads(calendar: Calendar, block: Block, as_of: datetime) -> pd.DataFrame:
    rows, probability = block.leads.truth(calendar.week_of(as_of))
    return _rows("L", block.lead_no[rows], as_of, probability)


def _customers(calendar: Calendar, block: Block, name: str, as_of: datetime) -> pd.DataFrame:
    frames = []
    for spell in block.spells:
        rows, cancel, upgrade = spell.truth(calendar.week_of(as_of))
        frames.append(_rows("C", block.customer_no[spell.who[rows]], as_of, cancel if name == "churn" else upgrade))
    return pd.concat(frames)


def _rows(prefix: str, number: Integers, as_of: datetime, probability: Floats) -> pd.DataFrame:
    instants = np.full(len(number), as_of.replace(tzinfo=None), dtype="datetime64[us]")
    return pd.DataFrame({"entity_id": prefix + pd.Series(number).astype(str), "as_of": instants, "probability": probability})


def _frame(frames: list[pd.DataFrame]) -> pd.DataFrame:
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(as_of=frame["as_of"].dt.tz_localize("UTC"))
