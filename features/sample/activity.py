"""What the customers of the sample CRM do: contacts, orders, cases, surveys, points, workshop visits, vehicles, campaigns.

Every function returns one row per row of the CRM, with `row`, the row number of the customer, and the instants at which it
happened and was entered.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from features.sample.calendar import Calendar, choose, weigh
from features.sample.customers import DISENGAGED_WEEKS, GROWTH_WEEKS, Spells
from features.sample.leads import LIST_PRICES, PRODUCTS, Leads, contact
from features.sample.moments import Moments, happened_at, scatter, strike
from features.sample.risk import Flags, Floats

MODELS = {"city": "Aster", "family": "Borea", "suv": "Cirro", "electric": "Volta", "van": "Dorado"}
FUELS = {"petrol": 0.45, "diesel": 0.25, "hybrid": 0.30}
TOPICS = {"app": 0.3, "billing": 0.25, "repair": 0.25, "delivery": 0.1, "data protection": 0.1}
GOODS = {"accessories": 0.35, "tyres": 0.2, "care": 0.2, "parts": 0.15, "charging": 0.1}
CAMPAIGNS = pd.DataFrame(
    {
        "code": [f"K{number:02d}" for number in range(1, 9)],
        "name": [
            "Spring check",
            "Try plus",
            "Summer tyres",
            "Loyal friends",
            "Autumn offer",
            "Move up",
            "Winter care",
            "Big weekend",
        ],
        "medium": ["email", "app", "email", "app", "email", "app", "email", "web"],
    }
)


def contacts(rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame, spell: Spells) -> pd.DataFrame:
    """Contacts of subscribers; the app tells whether they are losing interest or outgrowing their plan."""
    silent, growing = _silent(spell), _growing(spell)
    season = 1 + 0.12 * calendar.wave(27, calendar.weeks)
    use = spell.pace[:, None] * np.where(silent, 0.06, 1.0) * np.where(growing, 1.35, 1.0) * season
    interest = np.where(silent, 0.15, 1.0)
    consents = _consents(traits, spell, calendar.weeks)
    means: dict[tuple[str, str, str], Floats] = {
        ("app", "login", "inbound"): use,
        ("app", "remote_start", "inbound"): 0.12 * use * (1 + 0.6 * calendar.wave(2, calendar.weeks)),
        ("app", "limit_reached", "inbound"): np.where(growing, 2.0, 0.015) * np.where(silent, 0.3, 1.0),
        ("email", "sent", "outbound"): 0.4 * consents,
        ("email", "open", "inbound"): 0.15 * consents * interest,
        ("email", "click", "inbound"): 0.03 * consents * interest,
        ("email", "bounce", "inbound"): 0.002 * consents,
        ("email", "unsubscribe", "inbound"): 0.001 * consents / interest,
        ("web", "visit", "inbound"): 0.25 * interest,
        ("web", "price_view", "inbound"): 0.03 + 0.06 * growing,
        ("web", "configurator", "inbound"): np.full(use.shape, 0.008),
        ("phone", "call", "inbound"): 0.02 + 0.5 * _had(spell, "urgent_case", 3),
        ("phone", "call", "outbound"): np.full(use.shape, 0.01),
        ("chat", "chat", "inbound"): 0.015 + 0.3 * _had(spell, "urgent_case", 3),
        ("showroom", "meeting", "inbound"): np.full(use.shape, 0.006),
    }
    frames = []
    for act, mean in means.items():
        rows = _entered(rng, calendar, spell, scatter(rng, mean, spell.begin, spell.end))
        frames.append(rows.assign(**contact(act, len(rows))))
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(campaign=_mailing(rng, frame))


def orders(rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame) -> pd.DataFrame:
    """Orders from the shop, more before Christmas; one in twenty-five is given back."""
    mean = 0.09 * (1 + 0.5 * calendar.wave(48, calendar.weeks)) * (1 + 0.5 * traits["loyal"].to_numpy()[:, None])
    frame = _of_customers(rng, calendar, traits, mean)
    size = len(frame)
    amount = np.round(rng.lognormal(4.2, 0.8, size), 2)
    back = rng.random(size) < 0.04
    discount = np.where(rng.random(size) < 0.3, np.round(amount * rng.uniform(0.05, 0.3, size), 2), 0.0)
    return frame.assign(
        net=np.where(back, -amount, amount),
        discount=discount,
        goods=choose(rng, GOODS, size),
        pieces=rng.integers(1, 5, size),
        back=back,
    )


def cases(rng: np.random.Generator, calendar: Calendar, spell: Spells) -> pd.DataFrame:
    """Ordinary cases, and the urgent ones that make customers leave."""
    urgent = strike(rng, spell.shocks["urgent_case"], spell.begin, spell.end)
    plain = scatter(rng, np.full((len(spell.who), calendar.weeks), 0.012), spell.begin, spell.end)
    frames = []
    for moments, shares in ((urgent, {"urgent": 0.6, "high": 0.4}), (plain, {"low": 0.5, "medium": 0.5})):
        frame = _entered(rng, calendar, spell, moments)
        done = moments.known + rng.gamma(2, 0.5, len(frame))
        frame["urgency"], frame["topic"] = choose(rng, shares, len(frame)), choose(rng, TOPICS, len(frame))
        frames.append(frame.assign(closed=calendar.instants(np.where(done < calendar.end, done, np.inf))))
    return pd.concat(frames, ignore_index=True)


def surveys(rng: np.random.Generator, calendar: Calendar, spell: Spells) -> pd.DataFrame:
    """Answers to surveys. Who would not recommend us is not asked again for nine months."""
    shape = (len(spell.who), calendar.weeks)
    bad = strike(rng, spell.shocks["detractor"], spell.begin, spell.end)
    unhappy = _had(spell, "detractor", 39)
    kinds = {
        "nps": scatter(rng, 0.08 * ~(unhappy | spell.shocks["detractor"].happened), spell.begin, spell.end),
        "csat": scatter(rng, np.full(shape, 0.02), spell.begin, spell.end),
        "ces": scatter(rng, np.full(shape, 0.01), spell.begin, spell.end),
    }
    scores = {"nps": (7, 11), "csat": (2, 6), "ces": (2, 8)}
    frames = [_entered(rng, calendar, spell, bad).assign(kind="nps", score=rng.integers(0, 7, len(bad.rows)))]
    for kind, moments in kinds.items():
        frames.append(
            _entered(rng, calendar, spell, moments).assign(kind=kind, score=rng.integers(*scores[kind], len(moments.rows)))
        )
    return pd.concat(frames, ignore_index=True)


def loyalty(rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame) -> pd.DataFrame:
    """Points of the members of the programme: earned often, redeemed now and then, expired at times."""
    frames = []
    member = traits["loyal"].to_numpy(dtype=float)[:, None] * np.ones(calendar.weeks)
    for kind, often, size in (("earn", 0.16, 120), ("redeem", 0.02, 500), ("expire", 0.004, 200), ("adjust", 0.002, 50)):
        frame = _of_customers(rng, calendar, traits, often * member)
        frames.append(frame.assign(kind=kind, points=10 * rng.poisson(size / 10, len(frame))))
    return pd.concat(frames, ignore_index=True)


def vehicles(rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame) -> pd.DataFrame:
    """The vehicles of every customer from the first day; one in five is later replaced by another."""
    first = np.repeat(np.arange(len(traits)), traits["vehicles"].to_numpy())
    bought = traits["created"].to_numpy()[first]
    sold = np.maximum(bought, 0) + 8 + calendar.end * 5 * rng.random(len(first))
    swap = sold < calendar.end
    row, since = np.append(first, first[swap]), np.append(bought, sold[swap])
    until = np.append(np.where(swap, sold, np.inf), np.full(int(swap.sum()), np.inf))
    kind = choose(rng, PRODUCTS, len(row))
    used = rng.random(len(row)) < 0.4
    price = weigh(LIST_PRICES, kind) * rng.lognormal(0, 0.12, len(row)) * np.where(used, 0.55, 1.0)
    delivered = calendar.instants(since)
    return pd.DataFrame(
        {
            "row": row,
            "since": since,
            "until": until,
            "delivered": delivered,
            "given_away": calendar.instants(until),
            "model": pd.Series(kind).map(MODELS),
            "year": delivered.astype("datetime64[Y]").astype(int) + 1970 - np.where(used, rng.integers(1, 7, len(row)), 0),
            "drive": np.where(kind == "electric", "electric", choose(rng, FUELS, len(row))),
            "state": np.where(used, "used", "new"),
            "price": np.where(rng.random(len(row)) < 0.05, np.nan, np.round(price, -1)),
        }
    )


def workshop(rng: np.random.Generator, calendar: Calendar, garage: pd.DataFrame) -> pd.DataFrame:
    """Workshop visits, about every nine months; `vehicle` is the row of the vehicle in `garage`."""
    since, until = garage["since"].to_numpy(), garage["until"].to_numpy()
    visits = scatter(rng, np.full((len(garage), calendar.weeks), 1 / 40), since, np.minimum(until, calendar.end))
    size = len(visits.rows)
    weekly = rng.gamma(4, 70, len(garage))
    odometer = np.round(weekly[visits.rows] * (visits.known - since[visits.rows]) + 20)
    occurred = happened_at(rng, visits, since, share=0.03, longest=0.8)
    pay = choose(rng, {"customer": 0.7, "warranty": 0.25, "internal": 0.05}, size)
    return pd.DataFrame(
        {
            "vehicle": visits.rows,
            "row": garage["row"].to_numpy()[visits.rows],
            "occurred": calendar.instants(occurred),
            "logged": calendar.instants(visits.known),
            "pay_type": pay,
            "invoice": np.where(pay == "customer", np.round(rng.lognormal(5.5, 0.6, size), 2), 0.0),
            "odometer": np.where(rng.random(size) < 0.06, np.nan, odometer),
        }
    )


def memberships(rng: np.random.Generator, calendar: Calendar, spell: Spells) -> pd.DataFrame:
    """Members of campaigns; those who respond were added up to ten days before."""
    end = np.minimum(spell.end, calendar.end)
    response = strike(rng, spell.shocks["response"], spell.begin, end)
    joined = np.maximum(response.known - 1.4 * rng.random(len(response.rows)), spell.begin[response.rows])
    ignored = scatter(rng, np.full((len(spell.who), calendar.weeks), 0.03), spell.begin, end)
    moment = np.append(joined, ignored.known)
    responded = np.append(response.known, np.full(len(ignored.rows), np.inf))
    return pd.DataFrame(
        {
            "row": spell.who[np.append(response.rows, ignored.rows)],
            "code": CAMPAIGNS["code"].to_numpy()[(np.maximum(moment, 0) // 13).astype(int) % (len(CAMPAIGNS) - 1)],
            "added": calendar.instants(moment),
            "responded": calendar.instants(responded),
        }
    )


def lead_memberships(leads: Leads) -> pd.DataFrame:
    """The leads that the big campaign brought: they are its members and its respondents from the moment they came in."""
    row = np.flatnonzero(leads.traits["source"] == "campaign")
    created = leads.instants(leads.created[row])
    return pd.DataFrame({"row": row, "code": CAMPAIGNS["code"].iloc[-1], "added": created, "responded": created})


def _entered(rng: np.random.Generator, calendar: Calendar, spell: Spells, moments: Moments) -> pd.DataFrame:
    """Rows of subscribers, two in a hundred of them entered up to five days late."""
    occurred = happened_at(rng, moments, spell.begin, share=0.02, longest=0.7)
    row = spell.who[moments.rows]
    return pd.DataFrame({"row": row, "occurred": calendar.instants(occurred), "logged": calendar.instants(moments.known)})


def _of_customers(rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame, mean: Floats) -> pd.DataFrame:
    """Rows of customers, whether they subscribe or not."""
    created = traits["created"].to_numpy()
    moments = scatter(rng, mean, created, np.full(len(created), calendar.end))
    occurred = happened_at(rng, moments, created, share=0.02, longest=0.7)
    return pd.DataFrame(
        {"row": moments.rows, "occurred": calendar.instants(occurred), "logged": calendar.instants(moments.known)}
    )


def _had(spell: Spells, shock: str, weeks: int) -> Flags:
    """In which weeks a shock happened in one of the `weeks` weeks before."""
    return replace(spell.shocks[shock], effect=np.ones(weeks)).level() > 0


def _silent(spell: Spells) -> Flags:
    return _had(spell, "disengaged", DISENGAGED_WEEKS) | spell.shocks["disengaged"].happened


def _growing(spell: Spells) -> Flags:
    return _had(spell, "growth", GROWTH_WEEKS) | spell.shocks["growth"].happened


def _consents(traits: pd.DataFrame, spell: Spells, weeks: int) -> Floats:
    """1 in the weeks in which a subscriber may be sent e-mails, otherwise 0."""
    person = traits.iloc[spell.who]
    may = person["consents"].to_numpy()[:, None] & (np.arange(weeks) < person["withdraws"].to_numpy()[:, None])
    return np.asarray(may, dtype=float)


def _mailing(rng: np.random.Generator, frame: pd.DataFrame) -> pd.Categorical[Any]:
    """The campaign that an e-mail belongs to; other contacts, and two e-mails in three, belong to none."""
    quarter = (frame["logged"].dt.year * 4 + frame["logged"].dt.quarter).to_numpy() % (len(CAMPAIGNS) - 1)
    mailed = (frame["channel"] == "email").to_numpy() & (rng.random(len(frame)) < 0.35)
    codes = np.where(mailed, quarter, -1).astype(np.int64)
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(CAMPAIGNS["code"]))
