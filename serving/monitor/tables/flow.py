"""What is wrong with how rows come in: fewer or more than ever, none any more, or none that is new enough."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from serving.monitor.tables.incident import Incident, counted, named
from serving.monitor.tables.profile import BUSY, Profile, Silence
from serving.monitor.tables.shift import Floats, Shift, began, shift

HALF = math.log(2)
FLOOD = math.log(5)
WEEKS_BEFORE = 8
LEAST_SILENCE = 24.0  # hours
FORGOTTEN = 91 * 24.0  # hours after which a value that stopped is no news
UNLIKELY = 14.0  # e to the power of minus this: about one in a million
LONGER, FAR_LONGER = 1.5, 3.0  # times the second longest gap
LEAST_GAPS = 20
STABLE_WEEKS = 23  # of 26


def stopped(profile: Profile) -> Iterator[Incident]:
    """The sheet brings nothing for longer than is plausible by its own gaps."""
    silence = profile.silence
    if silence is not None and profile.has_history and _has_stopped(silence):
        yield _stopped(profile, silence, profile.sheet.name, profile.sheet.clock)


def stopped_values(profile: Profile, column: str) -> Iterator[Incident]:
    """A value of a category column that came in every week brings nothing for longer than is plausible by its own gaps."""
    for value, silence in sorted(profile.silences(column).items()):
        is_stable = silence.weeks >= STABLE_WEEKS and silence.gap < FORGOTTEN
        if profile.has_history and is_stable and _has_stopped(silence):
            yield _stopped(profile, silence, named(profile.sheet.place(column), value), "")


def _has_stopped(silence: Silence) -> bool:
    """It is silent for a day at least, and for far longer than ever, or for longer than ever and than a Poisson process would be.

    Of a Poisson process a gap is longer than t with probability exp(-rate t). The rate is of hours that brought something, so
    that rows that come in bursts count once.
    """
    return _is_long(silence, LONGER, UNLIKELY) or _is_long(silence, FAR_LONGER, UNLIKELY / 4)


def _is_long(silence: Silence, times: float, unlikely: float) -> bool:
    """Whether it is so many times as long as ever, and as unlikely as e to the power of minus so much."""
    is_judged = silence.gap >= LEAST_SILENCE and silence.gaps >= LEAST_GAPS
    return is_judged and silence.gap > times * silence.longest and silence.per_hour * silence.gap > unlikely


def _stopped(profile: Profile, silence: Silence, where: str, column: str) -> Incident:
    return Incident(
        kind="stopped",
        where=where,
        table=profile.sheet.table,
        column=column,
        sentence=f"{where} brings nothing since {silence.newest:%Y-%m-%d %H:%M} UTC, {_long(silence.gap)}; "
        f"it was hardly ever silent for longer than {_long(silence.longest)}.",
        repair=f"Ask whoever delivers {profile.sheet.table} whether the source or its export failed; "
        "scores go on with what was known before.",
        since=silence.newest,
        figures={"hours": silence.gap, "longest_hours": silence.longest, "gaps": silence.gaps},
    )


def volume(profile: Profile) -> Iterator[Incident]:
    """Far fewer or far more rows than the weeks before had it, of days against the same weekday, else of weeks."""
    if profile.has_history and (found := _by_day(profile) or _by_week(profile)):
        yield found


def _by_day(profile: Profile) -> Incident | None:
    """Two days in a row, each far from what the same weekday brought in the weeks before."""
    if profile.length != 1:
        return None
    counts = profile.counts[:224]
    usual = _medians(counts, 7)
    ratios = _ratios(counts, usual)
    found = shift(ratios, least=HALF, noise=1 / math.sqrt(max(1.0, usual[0])))
    if found is None or found.run < 2 or abs(ratios[1]) < HALF:
        return None
    return _volume(profile, found, 1, counts[0], usual[0], profile.instant(found.run))


def _by_week(profile: Profile) -> Incident | None:
    full = min(len(profile.counts) // 7, 34)
    weeks = profile.counts[: full * 7].reshape(full, 7).sum(axis=1)
    usual = _medians(weeks, 1)
    if not len(usual) or usual[0] < BUSY[7]:
        return None
    found = shift(_ratios(weeks, usual), least=HALF, noise=1 / math.sqrt(usual[0]))
    if found is None:
        return None
    daily = profile.counts[: (found.run + 1) * 7]
    middle = usual[0] / 7 * math.exp(found.move / 2)
    days = began(np.sign(found.move) * (daily - middle))
    return _volume(profile, found, 7, weeks[0], usual[0], profile.instant(days))


def _medians(counts: Floats, step: int) -> Floats:
    """For each count, the median of those of the eight weeks before, `step` apart; for those that have as many before them."""
    whole = max(0, len(counts) - WEEKS_BEFORE * step)
    return np.array([np.median(counts[i + step : i + step * (WEEKS_BEFORE + 1) : step]) for i in range(whole)])


def _ratios(counts: Floats, usual: Floats) -> Floats:
    return np.asarray(np.log((counts[: len(usual)] + 0.5) / (usual + 0.5)))


def _volume(profile: Profile, found: Shift, days: int, count: float, usual: float, since: datetime) -> Incident:
    period = "the last day" if days == 1 else f"the last {days} days"
    is_flood = found.move > 0
    return Incident(
        kind="volume",
        where=profile.sheet.name,
        table=profile.sheet.table,
        severity="alarm" if not is_flood or found.move >= FLOOD else "warning",
        sentence=f"{profile.sheet.name}: {counted(count)} in {period}, where {usual:,.0f} are usual.",
        repair="Look whether rows were delivered twice, or something real brings more."
        if is_flood
        else f"Ask whoever delivers {profile.sheet.table} whether a part of the source is missing.",
        since=since,
        figures={"rows": count, "usual": usual, "days": days, "sigmas": found.sigmas},
    )


def late(profile: Profile, allowed: timedelta | None, as_of: datetime) -> Iterator[Incident]:
    """The newest row is older than `[nightly] late_after` allows, or than any was before."""
    silence = profile.silence
    if silence is None:
        return
    is_forbidden = allowed is not None and as_of - silence.newest > allowed
    is_longest = profile.has_history and _is_long(silence, LONGER, UNLIKELY / 2)
    if is_forbidden or is_longest:
        bound = _long((allowed or timedelta()) / timedelta(hours=1)) if is_forbidden else _long(silence.longest)
        yield Incident(
            kind="late",
            where=profile.sheet.name,
            table=profile.sheet.table,
            severity="alarm" if is_forbidden else "warning",
            sentence=f"{profile.sheet.name}: the newest row came in {silence.newest:%Y-%m-%d %H:%M} UTC, "
            f"{_long((as_of - silence.newest) / timedelta(hours=1))} before {as_of:%Y-%m-%d}, where "
            + (f"`late_after` allows {bound}." if is_forbidden else f"{bound} was hardly ever exceeded."),
            repair=f"Ask whoever delivers {profile.sheet.table} when the next rows come.",
            since=silence.newest,
            figures={"hours": (as_of - silence.newest) / timedelta(hours=1), "longest_hours": silence.longest},
        )


def _long(hours: float) -> str:
    return f"{hours:.0f} hours" if hours < 72 else f"{hours / 24:.0f} days"
