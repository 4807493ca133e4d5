"""A block: some thousand customers and the leads beside them, drawn together, independent of every other block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.sample.calendar import Calendar
from features.sample.customers import Spells, draw_traits, first_spells, second_spells
from features.sample.leads import Leads, simulate
from features.sample.risk import Integers

LEADS_PER_CUSTOMER = 1.5
EARLY_SHARE = 0.3  # of the customers: those who are sure to be customers before the history begins


@dataclass(frozen=True)
class Block:
    """Everything that is drawn before rows are written; `customer_no` and `lead_no` are the CRM's numbers."""

    customer_no: Integers
    lead_no: Integers
    traits: pd.DataFrame
    leads: Leads
    spells: tuple[Spells, Spells]

    @classmethod
    def draw(cls, rng: np.random.Generator, calendar: Calendar, customer_no: Integers, lead_no: Integers) -> Block:
        """Leads first, because those that are won become customers."""
        early = customer_no[: int(len(customer_no) * EARLY_SHARE)]
        leads = simulate(rng, calendar, len(lead_no), early)
        traits = draw_traits(rng, calendar, leads, len(customer_no))
        first = first_spells(rng, calendar, traits)
        return cls(customer_no, lead_no, traits, leads, (first, second_spells(rng, calendar, traits, first)))
