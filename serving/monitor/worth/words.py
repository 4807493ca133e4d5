"""What acting on scores was worth, in sentences that a manager understands."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from training.evaluation import Figure

if TYPE_CHECKING:
    from serving.monitor.worth.worth import Comparison, Worth

ONE_LOOK = (
    "Each interval is that of one look at one group: where acting does nothing, one look in twenty finds something all the same."
)
WHERE = {"all": "overall", "A": "among the best, grade A"}


def sentences(worth: Worth) -> tuple[str, ...]:
    """The verdict first, then what it rests on, then what is missing."""
    return (*_verdict(worth), *_explored(worth), *_done(worth), *worth.notes)


def _verdict(worth: Worth) -> list[str]:
    if worth.status in ("told", "open"):
        told = [one for segment in ("all", "A") if (one := worth.of(segment)) is not None]
        found = [sentence for one in told for sentence in _compared(worth, one)]
        return found + (_missing(worth) if worth.status == "open" else [ONE_LOOK])
    why = {
        "no holdout": "nobody is held out; `[policy] holdout = 0.05` keeps a stable twentieth apart, against which it shows",
        "not scored": "no night has been scored under the holdout of now",
        "immature": f"of {worth.waiting:,} {worth.entity}s who take part, no outcome is mature",
        "too few": "too few of those who take part have a mature outcome",
    }[worth.status]
    return [f"What acting on {worth.propensity} was worth cannot be told yet: {why}.", *_missing(worth)]


def _compared(worth: Worth, one: Comparison) -> list[str]:
    where, treated, control = WHERE[one.segment], one.treated, one.control
    base = (
        f"{where}, of {treated.entities:,} {worth.entity}s with a score {percent(treated.rate.value)} had the outcome, of "
        f"{control.entities:,} held out {percent(control.rate.value)}: a difference of {points(one.rate)}"
    )
    first = f"{base[:1].upper()}{base[1:]}. {_judged(worth, one)}."
    return [first, *_per_contact(one), *_money(worth, one)]


def _judged(worth: Worth, one: Comparison) -> str:
    if not one.is_told:
        return "Chance alone may make that, so nothing is claimed"
    is_good = (one.rate.value > 0) == worth.is_wanted
    verb = "won" if worth.is_wanted else "prevented"
    bounds = sorted(abs(bound) * one.treated.entities for bound in (one.rate.low, one.rate.high))
    number = f"{abs(one.rate.value) * one.treated.entities:,.0f} outcomes (between {bounds[0]:,.0f} and {bounds[1]:,.0f})"
    return f"Acting on scores {verb} about {number}" if is_good else f"Acting on scores did harm, by about {number}"


def _per_contact(one: Comparison) -> list[str]:
    if one.acted is None:
        return []
    return [f"On those who were acted on because of their score, acting changed the outcome by {points(one.acted)}."]


def _money(worth: Worth, one: Comparison) -> list[str]:
    if one.gain is None:
        return []
    gain, certain = one.gain, one.gain.low > 0 or one.gain.high < 0
    end = "" if certain else ", which chance alone may make"
    return [f"That is worth {gain.value:,.2f} a {worth.entity} (between {gain.low:,.2f} and {gain.high:,.2f}){end}."]


def _missing(worth: Worth) -> list[str]:
    found = []
    if worth.visible is not None:
        found.append(f"Those who count would show a difference of {100 * worth.visible:.1f} points four times out of five.")
    if worth.needed is not None and worth.difference is not None:
        found.append(
            f"A difference of {worth.difference * 100:.1f} points, a fifth of the rate without acting, shows four times out of "
            f"five with {worth.needed:,} {worth.entity}s{_held(worth)}."
        )
        if worth.enough_at is not None:
            found.append(f"By those who take part today there are so many on {day(worth.enough_at)}.")
    if worth.next_matures is not None:
        found.append(f"{worth.waiting:,} more take part; the next outcomes are mature on {day(worth.next_matures)}.")
    return found


def _held(worth: Worth) -> str:
    return f", {worth.holdout * worth.needed:,.0f} of them held out" if worth.needed and worth.holdout else ""


def _explored(worth: Worth) -> list[str]:
    one = next((one for one in worth.exploration if one.segment == "below A"), None)
    if one is None:
        return []
    base = (
        f"Below grade A, of {one.treated.entities:,} who were explored {percent(one.treated.rate.value)} had the outcome, of "
        f"{one.control.entities:,} who were not {percent(one.control.rate.value)}: a difference of {points(one.rate)}"
    )
    if not one.is_told:
        return [f"{base}. It cannot be told yet whether these segments are worth acting on.", *_per_contact(one)]
    is_good = (one.rate.value > 0) == worth.is_wanted
    proved = "have proved themselves: acting on them was worth it" if is_good else "did not: acting on them did harm"
    return [f"{base}. The segments that scores disfavour {proved}.", *_per_contact(one)]


def _done(worth: Worth) -> list[str]:
    found = []
    if worth.compliance:
        shares = ", ".join(f"{grade} {percent(share)}" for grade, share in sorted(worth.compliance.items()))
        found.append(f"Something was done, by what the CRM told, about this share of each grade: {shares}.")
    if worth.breaches:
        found.append(f"Told of {worth.entity}s who are held out, which hides a part of the worth: {worth.breaches:,} actions.")
    return found


def points(figure: Figure) -> str:
    """A difference of rates in points, with its interval."""
    return f"{100 * figure.value:+.1f} points ({100 * figure.low:+.1f} to {100 * figure.high:+.1f})"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"
