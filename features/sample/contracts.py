"""The subscriptions and the changeable attributes of the sample CRM's customers, with every version the CRM ever held."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.sample.calendar import YEAR, Calendar, choose
from features.sample.customers import SEGMENTS, TIERS, Spells
from features.sample.leads import DEALERS, Leads
from features.sample.moments import strike
from features.sample.risk import Floats, Integers

PRICES = np.array([9.9, 19.9, 34.9])
ADDON = len(PRICES)  # the charging plan, beside the tiers
ADDON_PRICE = 7.9
END_REASONS = {"cancelled": 0.6, "too_expensive": 0.2, "vehicle_sold": 0.12, "moved_away": 0.08}
HALF_AN_HOUR = 0.5 / (7 * 24)


def subscriptions(rng: np.random.Generator, calendar: Calendar, spells: tuple[Spells, ...]) -> pd.DataFrame:
    """One row per version of a contract: when it began, at every renewal, at every price rise, when it ended."""
    contracts = pd.concat([_contracts(spell) for spell in spells], ignore_index=True)
    contracts = contracts[contracts["begin"] < calendar.end].reset_index(drop=True)
    contracts["end_reason"] = np.where(contracts["migrated"], "migrated", choose(rng, END_REASONS, len(contracts)))
    row, known = _versions(calendar, contracts)
    version = contracts.iloc[row].reset_index(drop=True)
    ended = version["end"].to_numpy() <= known
    return pd.DataFrame(
        {
            "contract": row,
            "row": version["who"],
            "product": np.where(version["tier"] == ADDON, "charging", "connected"),
            "tier": np.array([*TIERS, ""])[version["tier"]],
            "monthly_price": _price(calendar, version["tier"].to_numpy(), known),
            "start": calendar.instants(version["begin"].to_numpy()),
            "start_reason": version["reason"],
            "next_renewal": calendar.instants(_next_renewal(version["signed"].to_numpy(), known)),
            "end": calendar.instants(np.where(ended, version["end"], np.inf)),
            "end_reason": np.where(ended, version["end_reason"], ""),
            "changed": calendar.instants(known),
        }
    )


def _contracts(spells: Spells) -> pd.DataFrame:
    """A contract per tier that a spell went through, and one for the add-on, which was signed half an hour earlier."""
    limits = np.column_stack([spells.begin, spells.moved, spells.end])
    frames = []
    for number in range(3):
        rows = np.flatnonzero(np.isfinite(limits[:, number]))
        moves = np.isfinite(spells.moved[rows, number]) if number < 2 else np.zeros(len(rows), dtype=bool)
        end = np.where(moves, limits[rows, min(number + 1, 2)], spells.end[rows])
        first = np.where(spells.returning[rows], "return", "new")
        frames.append(
            _frame(spells, rows, limits[rows, number], end, spells.tier[rows] + number, "upgrade" if number else first, moves)
        )
    rows = np.flatnonzero(spells.addon)
    frames.append(
        _frame(spells, rows, spells.begin[rows] - HALF_AN_HOUR, spells.end[rows], np.full(len(rows), ADDON), "new", False)
    )
    return pd.concat(frames, ignore_index=True)


def _frame(
    spells: Spells, rows: Integers, begin: Floats, end: Floats, tier: Integers, reason: object, migrated: object
) -> pd.DataFrame:
    who, signed = spells.who[rows], np.minimum(spells.begin[rows], begin)
    return pd.DataFrame(
        {"who": who, "signed": signed, "begin": begin, "end": end, "tier": tier, "reason": reason, "migrated": migrated}
    )


def _versions(calendar: Calendar, contracts: pd.DataFrame) -> tuple[Integers, Floats]:
    """The contract and the instant of every version; a contract that is older than the CRM was first entered with it."""
    begin, end, signed = (contracts[name].to_numpy(dtype=float) for name in ("begin", "end", "signed"))
    before = signed + np.floor(np.maximum(-signed, 0) / YEAR) * YEAR
    years = int(calendar.weeks / YEAR) + 1
    instants = [np.maximum(begin, 0.0), end, *(before + YEAR * year for year in range(1, years + 1))]
    instants += [np.full(len(contracts), float(rise)) for rise in calendar.price_rises()]
    known = np.column_stack(instants)
    keep = (known >= known[:, :1]) & (known <= end[:, None]) & (known < calendar.end)
    keep[:, 2:] &= (known[:, 2:] > known[:, :1]) & (known[:, 2:] < end[:, None])
    keep[:, 1] &= (end > known[:, 0]) & np.isfinite(end)
    row, column = np.nonzero(keep)
    order = np.lexsort((known[row, column], row))
    return row[order], known[row, column][order]


def _price(calendar: Calendar, tier: Integers, known: Floats) -> Floats:
    rises = np.searchsorted(calendar.price_rises(), known, side="right")
    return np.round(np.append(PRICES, ADDON_PRICE)[tier] * 1.05**rises, 2)


def _next_renewal(signed: Floats, known: Floats) -> Floats:
    """The first anniversary after an instant; the tiny shift keeps a renewal from being its own next one."""
    return signed + (np.floor((known - signed) / YEAR + 1e-6) + 1) * YEAR


def customer_history(
    rng: np.random.Generator, calendar: Calendar, traits: pd.DataFrame, spells: tuple[Spells, ...]
) -> pd.DataFrame:
    """One row per value of a customer's segment, dealer, consent and automatic renewal: columns row, field, value, at."""
    size = len(traits)
    created = np.maximum(traits["created"].to_numpy(), -4.0)
    initial = {
        "segment": traits["segment"].to_numpy(),
        "dealer": traits["dealer"].to_numpy(),
        "newsletter_consent": np.where(traits["consents"], "yes", "no"),
        "auto_renew": np.full(size, "yes"),
    }
    frames = [_history(np.arange(size), field, value, created) for field, value in initial.items()]
    withdrawn = traits["withdraws"].to_numpy()
    moves = {
        "segment": choose(rng, SEGMENTS, size),
        "dealer": choose(rng, DEALERS, size),
        "newsletter_consent": np.full(size, "no"),
    }
    for field, value in moves.items():
        usual = calendar.end * rng.random(size) / 0.12  # about one in eight changes it in the time of the history
        at = withdrawn if field == "newsletter_consent" else usual
        rows = np.flatnonzero((at > created + 1) & (value != initial[field]))
        frames.append(_history(rows, field, value[rows], at[rows]))
    for spell in spells:
        off = strike(rng, spell.shocks["auto_renew_off"], spell.begin, spell.end)
        frames.append(_history(spell.who[off.rows], "auto_renew", np.full(len(off.rows), "no"), off.known))
        back = spell.who[spell.returning]
        frames.append(_history(back, "auto_renew", np.full(len(back), "yes"), spell.begin[spell.returning]))
    history = pd.concat(frames, ignore_index=True)
    return history.assign(at=calendar.instants(history["at"].to_numpy()))


def lead_history(leads: Leads, activities: pd.DataFrame) -> pd.DataFrame:
    """One row per status of a lead: new, contacted (first call to it), qualified (first test drive or quote)."""
    created = leads.instants(leads.created)
    frames = [pd.DataFrame({"row": np.arange(len(created)), "field": "status", "value": "new", "at": created})]
    called = (activities["kind"] == "call") & (activities["direction"] == "outbound")
    for status, chosen in (("contacted", called), ("qualified", activities["kind"].isin(["test_drive", "quote"]))):
        first = activities[chosen].groupby("row", as_index=False)["logged"].min()
        frames.append(pd.DataFrame({"row": first["row"], "field": "status", "value": status, "at": first["logged"]}))
    return pd.concat(frames, ignore_index=True)


def _history(rows: Integers, field: str, value: np.ndarray, at: Floats) -> pd.DataFrame:
    return pd.DataFrame({"row": rows, "field": field, "value": value, "at": at})
