"""The customers of the sample CRM: who they are, how long they subscribe, and why they leave or move up.

A spell is one paying period of a customer. Within it two risks run side by side: to cancel and to move to a higher tier.
Both are the product of what is known of the customer with what lately happened: a customer who loses interest stops logging
in about two months before cancelling becomes likely, urgent cases and bad answers to surveys raise the risk for months, renewals
are the moment to leave; growing use makes a customer hit the limits of the plan and move up. Steps are weeks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.sample.calendar import YEAR, Calendar, choose, weigh
from features.sample.leads import DEALERS, REGIONS, Leads
from features.sample.risk import Flags, Floats, Integers, Risk, Shock, moment, probability

HORIZON = 90 / 7
TIERS = ("basic", "plus", "premium")
CHANNELS = {"web": 0.3, "marketplace": 0.2, "showroom": 0.3, "referral": 0.15, "phone": 0.05}
PAYMENTS = {"direct_debit": 0.5, "card": 0.3, "invoice": 0.2}
TYPES = {"private": 0.85, "business": 0.15}
SEGMENTS = {"starter": 0.4, "core": 0.45, "vip": 0.15}
LEAVING = {"payment_method": {"direct_debit": -0.6, "invoice": 0.7}, "loyalty_status": {"member": -0.6}}
CANCEL_BASE = 0.0013  # cancellations a week of a plain customer to whom nothing happens
RENEWAL = 6.0  # how many times likelier a plain customer cancels in the three weeks before a renewal
MADE_UP_WEEKS = 12
DISENGAGED_WEEKS = 60
GROWTH_WEEKS = 60
_QUIET = np.zeros(8)  # weeks between losing interest and being ready to cancel
_WEEKS = np.arange(52)
CANCEL_SHOCKS = {  # chance a week, effect on the rate in the weeks after
    "disengaged": (0.0046, np.append(_QUIET, np.full(DISENGAGED_WEEKS - len(_QUIET), 0.056))),
    "urgent_case": (0.006, 0.040 * 0.90**_WEEKS),
    "detractor": (0.003, 0.012 * 0.96**_WEEKS),
    "auto_renew_off": (0.003, np.full(130, 0.035)),
}
UPGRADE_BASE = 0.0015
UPGRADE_SHOCKS = {
    "growth": (0.0035, np.append(np.zeros(4), np.full(GROWTH_WEEKS - 4, 0.032))),
    "response": (0.006, 0.020 * 0.94**_WEEKS),
}
UPGRADE_BY_TIER = np.array([1.0, 0.7, 0.0])


@dataclass(frozen=True)
class Spells:
    """Paying periods: `who` is the row of the customer, times are weeks since the calendar's start.

    `moved` holds the first and the second upgrade (infinite: none), `end` the cancellation (infinite: still running).
    """

    who: Integers
    begin: Floats
    end: Floats
    moved: Floats
    tier: Integers
    addon: Flags
    returning: Flags
    pace: Floats
    cancel: Risk
    upgrade: Risk
    shocks: dict[str, Shock]

    def tier_at(self, rows: Integers, week: float) -> Integers:
        """The tier before a week, as an index of TIERS."""
        return self.tier[rows] + (self.moved[rows] < week).sum(axis=1)

    def truth(self, week: int) -> tuple[Integers, Floats, Floats]:
        """The running spells at the beginning of a week, and their probabilities to cancel and to move up within 90 days."""
        rows = np.flatnonzero((self.begin < week) & (self.end >= week))
        at = np.full(len(rows), week)
        stay = self.cancel.survival(rows, at, HORIZON)
        scale = self.upgrade.scale.copy()
        scale[rows] *= UPGRADE_BY_TIER[self.tier_at(rows, week)]
        keep_tier = replace(self.upgrade, scale=scale).survival(rows, at, HORIZON)
        return rows, 1 - stay[:, -1], probability(keep_tier, stay)


def draw_traits(rng: np.random.Generator, calendar: Calendar, leads: Leads, size: int) -> pd.DataFrame:
    """The customers of one block: first those who came before the history begins, then the leads that were won.

    `created` is in weeks, `lead` the row of the lead a customer once was.
    """
    won = np.flatnonzero(np.isfinite(leads.won) & leads.traits["customer_no"].isna() & (leads.won / 7 < leads.calendar.end))[
        : size // 2
    ]
    old = size - len(won)
    lead = leads.traits.iloc[won]
    created = np.append(np.sort(-4 * YEAR * rng.random(old) ** 1.3 - 0.1), leads.won[won] / 7)
    loyal = rng.random(size) < 0.6
    birth_year = np.clip(np.round(rng.normal(1976, 13, size)), 1935, 2004)
    return pd.DataFrame(
        {
            "created": created,
            "lead": np.append(np.full(old, -1), won),
            "region": np.append(choose(rng, REGIONS, old), lead["region"]).astype(str),
            "dealer": np.append(choose(rng, DEALERS, old), lead["dealer"]).astype(str),
            "acquisition_channel": np.append(choose(rng, CHANNELS, old), lead["source"]).astype(str),
            "payment_method": choose(rng, PAYMENTS, size),
            "customer_type": choose(rng, TYPES, size),
            "segment": choose(rng, SEGMENTS, size),
            "birth_year": np.where(rng.random(size) < 0.08, np.nan, birth_year),
            "loyal": loyal,
            "loyalty_status": np.where(loyal, "member", "none"),
            "vehicles": 1 + (rng.random(size) < 0.25) + (rng.random(size) < 0.05),
            "tier": rng.choice(3, size=size, p=[0.55, 0.30, 0.15]),
            "addon": rng.random(size) < 0.25,
            "pace": rng.normal(0, 1, size),
            "consents": rng.random(size) < 0.8,
            "withdraws": calendar.end * rng.random(size) / 0.1,
        }
    )


def first_spells(rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame) -> Spells:
    """The spells that run when the history begins or begin later; every seventh customer never subscribes."""
    begin = traits["created"].to_numpy() + rng.gamma(2, 0.6, len(traits)) + 0.05
    begin = np.where((traits["created"] < 0) & (begin > -0.1), -0.1, begin)
    who = np.flatnonzero((rng.random(len(traits)) < 6 / 7) & (begin < calendar.end))
    return _spells(rng, calendar, traits, who, begin[who], returning=False)


def second_spells(rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame, first: Spells) -> Spells:
    """The few who come back, two months to a year after they cancelled."""
    begin = first.end + 9 + 43 * rng.random(len(first.end))
    back = (rng.random(len(begin)) < 0.12) & (begin < calendar.end)
    return _spells(rng, calendar, traits, first.who[back], begin[back], returning=True)


def _spells(
    rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame, who: Integers, begin: Floats, *, returning: bool
) -> Spells:
    person = traits.iloc[who]
    shape = (len(who), calendar.weeks)
    first_step = np.maximum(begin, 0).astype(np.int64)
    table = {**CANCEL_SHOCKS, **UPGRADE_SHOCKS}
    shocks = {name: Shock.draw(rng, _chance(chance, shape), effect, first_step) for name, (chance, effect) in table.items()}
    leaving, growing = _leaving(person), _growing(person)
    cancel = Risk(
        np.exp(leaving),
        _cancel_base(calendar, begin),
        tuple(shocks[name] for name in CANCEL_SHOCKS),
        calendar.pace(leaving, calendar.weeks),
    )
    season = 1 + 0.15 * calendar.wave(48, calendar.weeks)
    upgrade = Risk(
        np.exp(growing),
        np.broadcast_to(UPGRADE_BASE * season, shape),
        tuple(shocks[name] for name in UPGRADE_SHOCKS),
        calendar.pace(growing, calendar.weeks),
    )
    end = moment(cancel.rate(), begin, rng.exponential(size=len(who)))
    end = np.where(end < calendar.end, end, np.inf)
    tier = person["tier"].to_numpy(dtype=np.int64)
    return Spells(
        who, begin, end, _upgrades(rng, upgrade.rate(), begin, end, tier), tier, person["addon"].to_numpy(dtype=bool),
        np.full(len(who), returning), 3.5 * np.exp(0.25 * person["pace"].to_numpy(dtype=float)), cancel, upgrade, shocks,
    )  # fmt: skip


def _chance(weekly: float, shape: tuple[int, int]) -> Floats:
    """The same chance in every week, save the first: it makes up for what happened before the history begins."""
    chance = np.full(shape, weekly)
    chance[:, 0] = MADE_UP_WEEKS * weekly
    return chance


def _upgrades(rng: np.random.Generator, rate: Floats, begin: Floats, end: Floats, tier: Integers) -> Floats:
    """The first and the second move to a higher tier; none after the spell has ended."""
    moved = np.full((len(begin), 2), np.inf)
    since = begin
    for number in range(2):
        factor = UPGRADE_BY_TIER[np.minimum(tier + number, 2)]
        since = moment(rate * factor[:, None], since, rng.exponential(size=len(begin)))
        moved[:, number] = np.where(since < end, since, np.inf)
    return moved


def _leaving(person: pd.DataFrame) -> Floats:
    """The logarithm of a customer's lasting inclination to cancel."""
    lasting = -0.6 * person["addon"].to_numpy(dtype=float)
    return lasting + sum(weigh(e, person[name].to_numpy(dtype=str)) for name, e in LEAVING.items())


def _growing(person: pd.DataFrame) -> Floats:
    """The logarithm of a customer's lasting inclination to move up."""
    business = (person["customer_type"] == "business").astype(float)
    lasting = 1.0 * business + 0.7 * (person["vehicles"] > 1)
    return lasting.to_numpy(dtype=float)


def _cancel_base(calendar: Calendar, begin: Floats) -> Floats:
    """The rate of a plain customer: falls with tenure, leaps before a renewal, and moves with season, drift and price rises."""
    week = np.arange(calendar.weeks) + 0.5
    tenure = np.maximum(week - begin[:, None], 0) / YEAR
    to_renewal = (1 - tenure % 1) * YEAR
    common = (1 + 0.15 * calendar.wave(3, calendar.weeks)) * (1 + 0.2 * week / calendar.weeks)
    for rise in calendar.price_rises():
        common = common * np.where((week > rise) & (week < rise + 8), 1.4, 1.0)
    return np.asarray(CANCEL_BASE * common * np.where(to_renewal <= 3, RENEWAL, 1.0) / (0.5 + tenure) ** 0.25)
