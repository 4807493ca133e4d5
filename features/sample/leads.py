"""The leads of the sample CRM: who asks, what they do, and who is won or lost.

A lead's chance of being won is the product of what is known of it on arrival (source, product, budget, ...) and what it has
done lately (test drives, quotes, configurations, calls, clicks), fading with its age. It is lost by age alone. Steps are days,
counted for every lead from the midnight before it came in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.sample.calendar import Calendar, Instants, choose, weigh
from features.sample.moments import Moments, happened_at, scatter, strike
from features.sample.risk import Floats, Integers, Risk, Shock, moment, probability

LIFE = 120  # days after which nothing new happens to a lead
STEPS = LIFE + 31
HORIZON = 30
REGIONS = {"north": 0.2, "east": 0.15, "south": 0.3, "west": 0.25, "coast": 0.1}
DEALERS = {f"dealer-{number:02d}": 1 / (2 + number) for number in range(1, 9)}
SOURCES = {"web": 0.36, "marketplace": 0.26, "showroom": 0.15, "referral": 0.13, "phone": 0.10}
PRODUCTS = {"city": 0.22, "family": 0.26, "suv": 0.26, "electric": 0.16, "van": 0.10}
LIST_PRICES = {"city": 19_000.0, "family": 29_000.0, "suv": 38_000.0, "electric": 42_000.0, "van": 34_000.0}
PULL = {
    "source": {"showroom": 0.6, "referral": 0.8, "phone": 0.2, "marketplace": -0.5, "campaign": -0.9},
    "product": {"suv": 0.2, "city": 0.1, "electric": -0.3, "van": 0.3},
}
BASE = 0.0013  # wins a day of a fresh, plain lead
ACTS = {  # channel, kind, direction: (chance a day on arrival, days over which it fades, effect, days over which that fades)
    ("showroom", "test_drive", "inbound"): (0.030, 14, 0.038, 8),
    ("showroom", "quote", "outbound"): (0.036, 14, 0.026, 8),
    ("web", "configurator", "inbound"): (0.06, 16, 0.005, 6),
    ("phone", "call", "inbound"): (0.035, 16, 0.006, 6),
}
CONTACT = {  # what a contact is, in columns that stay small in memory
    "channel": pd.CategoricalDtype(["app", "chat", "email", "phone", "showroom", "web"]),
    "kind": pd.CategoricalDtype(
        [
            "bounce", "call", "chat", "click", "configurator", "form", "limit_reached", "login", "meeting", "open", "price_view",
            "quote", "remote_start", "sent", "test_drive", "unsubscribe", "visit",
        ]
    ),
    "direction": pd.CategoricalDtype(["inbound", "outbound"]),
}  # fmt: skip
HABITS = {  # channel, kind, direction: (how many a day on arrival, days over which they fade)
    ("email", "sent", "outbound"): (0.20, 60),
    ("email", "open", "inbound"): (0.08, 60),
    ("email", "click", "inbound"): (0.03, 40),
    ("email", "bounce", "inbound"): (0.002, 60),
    ("web", "visit", "inbound"): (0.25, 15),
    ("web", "price_view", "inbound"): (0.08, 15),
    ("web", "form", "inbound"): (0.02, 10),
    ("phone", "call", "outbound"): (0.15, 10),
    ("showroom", "meeting", "inbound"): (0.015, 20),
    ("chat", "chat", "inbound"): (0.03, 10),
}


@dataclass(frozen=True)
class Leads:
    """The leads of one block. Times are days since the calendar's start; `day` is the midnight before a lead came in."""

    calendar: Calendar
    traits: pd.DataFrame
    created: Floats
    won: Floats
    lost: Floats
    win: Risk
    loss: Risk
    acts: dict[tuple[str, str, str], Shock]

    @property
    def day(self) -> Integers:
        return np.asarray(self.created.astype(np.int64))

    @property
    def closed(self) -> Floats:
        return np.minimum(self.won, self.lost)

    def instants(self, days: Floats) -> Instants:
        """Instants in UTC of days since the calendar's start."""
        return self.calendar.instants(days / 7)

    def truth(self, week: int) -> tuple[Integers, Floats]:
        """The open leads at the beginning of a week, as row numbers, and their probability to be won within 30 days."""
        as_of = 7 * week
        rows = np.flatnonzero((self.created < as_of) & (self.closed >= as_of) & (as_of - self.day <= LIFE))
        at = as_of - self.day[rows]
        win, loss = self.win.survival(rows, at, HORIZON), self.loss.survival(rows, at, HORIZON)
        return rows, probability(win, loss)


def simulate(rng: np.random.Generator, calendar: Calendar, size: int, known_customers: Integers) -> Leads:
    """Draw the leads of one block; some of them are customers already, drawn from `known_customers`."""
    created, in_spike = _arrivals(rng, calendar, size)
    traits = _traits(rng, calendar, created, in_spike, known_customers)
    begin = created - np.floor(created)
    age = np.arange(STEPS)
    acts = {
        act: Shock.draw(
            rng,
            np.broadcast_to(np.where(age < LIFE, chance * np.exp(-age / fading), 0.0), (size, STEPS)),
            effect * np.exp(-np.arange(LIFE) / forgetting),
            np.zeros(size, dtype=np.int64),
        )
        for act, (chance, fading, effect, forgetting) in ACTS.items()
    }
    season = 1 + 0.15 * calendar.wave(14, calendar.days + STEPS, 1 / 7)
    base = BASE * np.where(age < LIFE, np.exp(-age / 10), 0.0) * season[created.astype(int)[:, None] + age]
    pull = _pull(traits)
    win = Risk(np.exp(pull), base, tuple(acts.values()), _pace(calendar, created, pull))
    loss = Risk(np.ones(size), np.broadcast_to(_loss_rate(age), (size, STEPS)))
    won = moment(win.rate(), begin, rng.exponential(size=size))
    lost = moment(loss.rate(), begin, rng.exponential(size=size))
    day = np.floor(created)
    return Leads(
        calendar,
        traits,
        created,
        day + np.where(won < lost, won, np.inf),
        day + np.where(lost < won, lost, np.inf),
        win,
        loss,
        acts,
    )


def _arrivals(rng: np.random.Generator, calendar: Calendar, size: int) -> tuple[Floats, np.ndarray]:
    """When leads come in (days), and which of them the campaign brought; more in spring, slowly more over time."""
    first, last = calendar.spike()
    days = np.arange(int(calendar.end * 7))
    usual = (1 + 0.2 * calendar.wave(16, len(days), 1 / 7)) * (1 + 0.3 * days / len(days)) * np.where(days % 7 == 6, 0.4, 1.0)
    extra = np.where((days >= 7 * first) & (days < 7 * last), 2.0, 0.0)
    day = rng.choice(days, size=size, p=(usual + extra) / (usual + extra).sum())
    in_spike = rng.random(size) < (extra / (usual + extra))[day]
    return day + rng.beta(4, 4, size), in_spike


def _traits(
    rng: np.random.Generator, calendar: Calendar, created: Floats, in_spike: np.ndarray, known_customers: Integers
) -> pd.DataFrame:
    size = len(created)
    progress = created / calendar.days
    product = np.where(rng.random(size) < 0.15 * progress, "electric", choose(rng, PRODUCTS, size))
    fit = rng.normal(0, 0.3, size)
    budget = np.round(weigh(LIST_PRICES, product) * np.exp(fit), -2)
    is_customer = (rng.random(size) < 0.2) & (len(known_customers) > 0)
    customer = np.zeros(size, dtype=np.int64)
    customer[is_customer] = rng.choice(known_customers, size=int(is_customer.sum()))
    return pd.DataFrame(
        {
            "customer_no": pd.array(np.where(is_customer, customer, 0), dtype="Int64"),
            "source": np.where(in_spike, "campaign", choose(rng, SOURCES, size)),
            "region": choose(rng, REGIONS, size),
            "dealer": choose(rng, DEALERS, size),
            "product": product,
            "budget": np.where(rng.random(size) < 0.15, np.nan, budget),
            "fit": fit,
            "trade_in": rng.random(size) < 0.35,
        }
    ).assign(customer_no=lambda frame: frame["customer_no"].mask(~is_customer))


def _pull(traits: pd.DataFrame) -> Floats:
    """The logarithm of how willing a lead is, from what is written in the CRM: a missing budget speaks for itself."""
    budget = np.where(traits["budget"].isna(), -0.3, 1.2 * np.clip(traits["fit"], -0.6, 0.6))
    pull = budget + 0.4 * traits["trade_in"] + 0.5 * traits["customer_no"].notna().to_numpy(dtype=float)
    return np.asarray(pull + sum(weigh(effects, traits[name].to_numpy(dtype=str)) for name, effects in PULL.items()), dtype=float)


def _pace(calendar: Calendar, created: Floats, pull: Floats) -> Floats | None:
    """What the calendar's turns multiply each lead's rate by, on each day of its life."""
    paces = calendar.pace(pull, calendar.days + STEPS, 1 / 7)
    return None if paces is None else np.take_along_axis(paces, created.astype(int)[:, None] + np.arange(STEPS), axis=1)


def _loss_rate(age: Integers) -> Floats:
    """Nobody gives a lead up in its first two weeks; hardly one is open after three months."""
    return np.select([age < 14, age < 35, age < 75], [0.0, 0.012, 0.03], 0.10)


def activities(rng: np.random.Generator, leads: Leads) -> pd.DataFrame:
    """What leads did and what was done with them: one row per contact."""
    begin = leads.created - np.floor(leads.created)
    end = np.minimum(leads.closed, leads.calendar.days) - leads.day.astype(float)
    size, age = len(begin), np.arange(LIFE)
    moments = {act: [strike(rng, shock, begin, end)] for act, shock in leads.acts.items()}
    for act, (number, fading) in HABITS.items():
        mean = np.broadcast_to(number * np.exp(-age / fading), (size, LIFE))
        moments.setdefault(act, []).append(scatter(rng, mean, begin, end))
    return pd.concat([_rows(rng, leads, act, some) for act, all_of in moments.items() for some in all_of], ignore_index=True)


def contact(act: tuple[str, str, str], size: int) -> dict[str, pd.Categorical]:
    """The columns channel, kind and direction of so many contacts of one sort."""
    return {
        name: pd.Categorical.from_codes(np.full(size, dtype.categories.get_loc(value)), dtype=dtype)
        for (name, dtype), value in zip(CONTACT.items(), act, strict=True)
    }


def _rows(rng: np.random.Generator, leads: Leads, act: tuple[str, str, str], moments: Moments) -> pd.DataFrame:
    """Two in a hundred rows are entered up to four days late."""
    occurred = happened_at(rng, moments, leads.created - leads.day, share=0.02, longest=4.0)
    day = leads.day[moments.rows]
    when = {"occurred": leads.instants(day + occurred), "logged": leads.instants(day + moments.known)}
    return pd.DataFrame({"row": moments.rows, **when, **contact(act, len(day))})
