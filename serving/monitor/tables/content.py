"""What is wrong with what rows hold: values that are missing, the same in every row, of another size, or never seen before."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from features.database import identifier
from serving.monitor.tables.incident import Incident, named
from serving.monitor.tables.profile import Profile
from serving.monitor.tables.sheet import Sheet
from serving.monitor.tables.shift import Floats, Shift, shift

ROWS = "count(*)"
LEAST_MISSING, MUCH_MISSING = 0.02, 0.1  # by which the share of missing values rises
FACTOR = math.log(1.6)  # less than kilometres for miles
LEAST_NUMBERS = 30
LEAST_SAME = 50
CHANCE = 1e-9
NEW_FOR = 28  # days after which a value is no longer new
LEAST_NEW, SHARE_NEW, MUCH_NEW = 10, 0.01, 0.02
UNSEEN = 14.0  # e to the power of minus this: how likely so common a value was never there by chance
HABIT = 2  # values a year that were new before: then a new one is nothing new
FEW_TIMES = 4.0  # standard errors
_NORMAL_P90 = 1.2816
_NORMAL_DENSITY = {0.5: 0.3989, 0.9: 0.1755}  # of the standard normal distribution at these quantiles


def contents(profile: Profile) -> Iterator[Incident]:
    """Whatever is wrong with the columns of a sheet; one incident a column, the one that explains the others."""
    if not profile.has_history:
        return
    yield from newcomers(profile)
    if profile.length is None:
        return
    profile.prepare(_figures(profile.sheet))
    for column, sort in profile.sheet.columns.items():
        found = empty(profile, column)
        if found is None and sort != "other":
            found = constant(profile, column)
        if found is None and sort == "number":
            found = scale(profile, column)
        if found is not None:
            yield found


def _figures(sheet: Sheet) -> Iterator[str]:
    """Every figure that is asked of every period."""
    yield ROWS
    for column, sort in sheet.columns.items():
        name = identifier(column)
        yield _missing(name)
        if sort != "other":
            yield _kinds(name)
        if sort == "number":
            yield from (_numbers(name), _size(name, 0.5), _size(name, 0.9))


def _missing(name: str) -> str:
    return f"avg(({name} is null)::int)"


def _kinds(name: str) -> str:
    """0 where there is no value, 1 where there is one, 2 where there are more."""
    return f"(min({name}) is not null)::int + coalesce(min({name}) <> max({name}), false)::int"


def _numbers(name: str) -> str:
    return f"count(*) filter (where {name} <> 0)"


def _size(name: str, quantile: float) -> str:
    return f"ln(quantile_cont(abs({name}), {quantile}) filter (where {name} <> 0))"


def empty(profile: Profile, column: str) -> Incident | None:
    """A value is missing far more often than it was."""
    name = identifier(column)
    rates, rows = profile.periods(_missing(name)), profile.periods(ROWS)
    before = rates[1:][np.isfinite(rates[1:])]
    if not len(before) or not np.isfinite(rows[0]):
        return None
    usual = max(float(np.median(before)), 1 / rows[0])
    found = shift(rates, least=LEAST_MISSING, noise=math.sqrt(usual * max(0.0, 1 - usual) / rows[0]))
    if found is None or found.move < 0:
        return None
    return Incident(
        kind="empty",
        where=profile.sheet.place(column),
        table=profile.sheet.table,
        column=column,
        severity="alarm" if found.move >= MUCH_MISSING else "warning",
        sentence=f"{profile.sheet.place(column)} is missing in {_percent(found.newest)} of the rows of {_period(profile)}, "
        f"where {_percent(found.usual)} are usual.",
        repair=f"Ask whoever delivers {profile.sheet.table} why the column comes without values.",
        since=profile.since(f"{name} is null", rates, found.run),
        figures={"missing": found.newest, "usual": found.usual, "rows": rows[0], "sigmas": found.sigmas},
    )


def constant(profile: Profile, column: str) -> Incident | None:
    """A column that varied in every period has one value in all rows of the newest."""
    name = identifier(column)
    kinds = profile.periods(_kinds(name))
    run = int(np.argmax(kinds == 2)) if (kinds == 2).any() else len(kinds)
    before, held = kinds[run:][kinds[run:] > 0], int(profile.newest(f"count({name})"))
    if kinds[0] != 1 or held < LEAST_SAME or len(before) < 6 or (before < 2).any():
        return None
    most = float(np.nanmax(profile.modal(column)[run:]))
    if most >= 1 or held * math.log(most) > math.log(CHANCE):
        return None
    return Incident(
        kind="constant",
        where=profile.sheet.place(column),
        table=profile.sheet.table,
        column=column,
        sentence=f"{profile.sheet.place(column)} has the same value in all {held:,} rows of {_period(profile)}; "
        f"before, the commonest had {_percent(most)} at most.",
        repair=f"Ask whoever delivers {profile.sheet.table} whether the column is filled with a default.",
        since=profile.last_other(column),
        figures={"rows": held, "commonest_before": most},
    )


def scale(profile: Profile, column: str) -> Incident | None:
    """The numbers of a column are of another size: their median, or the size that a tenth exceeds, has moved by a factor."""
    name = identifier(column)
    rows = profile.periods(_numbers(name))
    if not rows[0] >= LEAST_NUMBERS:
        return None
    sizes = {quantile: _quantiles(profile, name, rows, quantile) for quantile in (0.5, 0.9)}
    spread = np.nanmedian(sizes[0.9] - sizes[0.5]) / _NORMAL_P90
    for quantile, figures in sizes.items():
        error = math.sqrt(quantile * (1 - quantile) / rows[0])
        found = shift(figures, least=FACTOR, noise=max(0.01, error * spread / _NORMAL_DENSITY[quantile]))
        if found is not None and _is_surely(profile, name, quantile, FEW_TIMES * error, found):
            return _scale(profile, column, figures, found)
    return None


def _is_surely(profile: Profile, name: str, quantile: float, error: float, found: Shift) -> bool:
    """Whether even the end nearest to the usual of the quantile's interval, from order statistics, is of another size.

    Of numbers that are one of two prices, as likely as not, the median is now the one and now the other.
    """
    nearest = min(max(quantile - math.copysign(error, found.move), 0.0), 1.0)
    edge = profile.newest(_size(name, nearest)) - found.usual
    return edge * math.copysign(1, found.move) >= FACTOR


def _quantiles(profile: Profile, name: str, rows: Floats, quantile: float) -> Floats:
    return np.where(rows >= LEAST_NUMBERS / 2, profile.periods(_size(name, quantile)), np.nan)


def _scale(profile: Profile, column: str, figures: Floats, found: Shift) -> Incident:
    factor, name = math.exp(found.move), identifier(column)
    middle = math.exp(found.usual + found.move / 2)
    times = f"{factor:,.3g} times" if factor >= 1 else f"1/{1 / factor:,.3g} of"
    return Incident(
        kind="scale",
        where=profile.sheet.place(column),
        table=profile.sheet.table,
        column=column,
        sentence=f"{profile.sheet.place(column)} is of another size: {math.exp(found.newest):,.4g} in {_period(profile)}, "
        f"{times} the usual {math.exp(found.usual):,.4g}.",
        repair=f"Ask whoever delivers {profile.sheet.table} whether the unit was changed: days to hours, euros to cents.",
        since=profile.since(f"case when {name} <> 0 then abs({name}) > {middle!r} end", figures, found.run),
        figures={"factor": factor, "newest": math.exp(found.newest), "usual": math.exp(found.usual), "sigmas": found.sigmas},
    )


def newcomers(profile: Profile) -> Iterator[Incident]:
    """Values of category columns that were never there until four weeks ago, with a share that matters."""
    for new in profile.newcomers(NEW_FOR, LEAST_NEW):
        column, share = new.column, new.rows / new.since
        if share < SHARE_NEW or share * new.before < UNSEEN:
            continue
        habit = profile.arrivals(column, NEW_FOR, LEAST_NEW)
        yield Incident(
            kind="category",
            where=named(profile.sheet.place(column), new.value),
            table=profile.sheet.table,
            column=column,
            severity="note" if habit >= HABIT else "alarm" if share >= MUCH_NEW else "warning",
            sentence=f"{named(profile.sheet.place(column), new.value)} was never there before {new.first:%Y-%m-%d}; "
            f"since then it is in {_percent(share)} of the rows.",
            repair="The models count it as other values until they are trained again; if it is another spelling, "
            "map it in the adapter.",
            since=new.first,
            figures={"rows": new.rows, "share": share, "rows_before": new.before, "new_values_of_the_year_before": habit},
        )


def _period(profile: Profile) -> str:
    return "the last day" if profile.length == 1 else f"the last {profile.length} days"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"
