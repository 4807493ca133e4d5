"""When rows became known: tables without a `known_at` of their own, and tables whose `known_at` is when they were loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pandas as pd

from features.catalog import Catalog
from features.database import connect, quote
from features.settings import Workspace
from features.tables import TABLES
from training.leakage.finding import Finding, Severity
from training.leakage.origin import known_at_line

ALL_AT_ONCE = 0.99  # of the rows became known within one load ...
LOAD = timedelta(hours=12)  # ... which may stamp row by row, and is over before the next day's ...
LONG = timedelta(days=90)  # ... though they happened over a longer time than this


@dataclass(frozen=True)
class Arrival:
    """How the rows of a table became known.

    Attributes:
        table: its name.
        rows: how many versions of rows it has.
        defaulted: how many of them became known the very instant they happened.
        loading, loaded: the first and the last instant of the load, no longer than LOAD, by which most became known; None for an
            empty table.
        at_once: how many became known from the one to the other.
        first, last: the earliest and the latest time at which something happened.
    """

    table: str
    rows: int
    defaulted: int
    loading: datetime | None
    loaded: datetime | None
    at_once: int
    first: datetime | None
    last: datetime | None


def arrival_findings(
    workspace: Workspace, tables: Iterable[str], promised: Iterable[str], as_ofs: Sequence[datetime]
) -> list[Finding]:
    """What the times of knowledge of some tables show.

    Args:
        workspace: with ingested tables.
        tables: those that features are computed from.
        promised: those among them whose attributes are declared fixed from `known_at` on.
        as_ofs: the instants of the dataset.
    """
    catalog = Catalog.load(workspace)
    measured = [_measured(workspace, catalog, name) for name in tables if catalog.has(name)]
    judged = [(one, judge(one, one.table in set(promised), as_ofs)) for one in measured]
    return [_placed(workspace, one, told) for one, told in judged if told is not None]


def judge(arrival: Arrival, promised: bool, as_ofs: Sequence[datetime]) -> tuple[Severity, str] | None:
    """Severity and sentence; None where rows became known at times of their own.

    Without a `known_at` an event counts as known the instant it happened, which is often true: a note. Where attributes are
    promised to be fixed from then on, it is a warning, and so is a load time that lies after some as_of.
    """
    if arrival.loading is None or arrival.loaded is None or arrival.first is None or arrival.last is None:
        return None
    time, place = TABLES[arrival.table].time, f"{arrival.table}.known_at"
    if arrival.at_once >= ALL_AT_ONCE * arrival.rows and arrival.last - arrival.first > LONG:
        blind = sum(as_of <= arrival.loaded for as_of in as_ofs)
        until = "" if arrival.loading == arrival.loaded else f" to {arrival.loaded:%Y-%m-%d %H:%M}"
        told = (
            f"{place} is {arrival.loading:%Y-%m-%d %H:%M}{until} for {arrival.at_once:,} of {arrival.rows:,} rows, "
            f"whose `{time}` spans {arrival.first:%Y-%m-%d} to {arrival.last:%Y-%m-%d}: it tells when they "
            f"were loaded, and nothing of them is seen up to then, which concerns {blind} of {len(as_ofs)} dates"
        )
        return ("note" if as_ofs and not blind else "warning"), told
    if arrival.defaulted < arrival.rows:
        return None
    told = f"{place} is `{time}` in all {arrival.rows:,} rows: each counts as known the instant it happened"
    return ("warning", f"{told}, and so do the attributes that are declared fixed") if promised else ("note", told)


def _measured(workspace: Workspace, catalog: Catalog, table: str) -> Arrival:
    time, path = TABLES[table].time, quote(str(catalog.path(workspace, table)))
    counts = f'count(*), count(*) filter (known_at = "{time}"), min("{time}"), max("{time}")'
    load = f"interval {LOAD.seconds} seconds"
    with connect(workspace) as connection:
        rows, defaulted, first, last = connection.execute(f"select {counts} from '{path}'").fetchone() or (0, 0, None, None)
        most = connection.execute(  # most rows are in one load only if the middle one is: nothing farther from it is looked at
            f"""select min(known_at) over load, known_at, sum(count(*)) over load
            from '{path}', (select quantile_disc(known_at, 0.5) as middle from '{path}')
            where known_at between middle - {load} and middle + {load} group by known_at
            window load as (order by known_at range between {load} preceding and current row)
            order by 3 desc, 2 limit 1"""
        ).fetchone()
    loading, loaded, at_once = most or (None, None, 0)
    return Arrival(table, rows, defaulted, _utc(loading), _utc(loaded), int(at_once), _utc(first), _utc(last))


def _utc(naive: datetime | None) -> datetime | None:
    return None if naive is None else pd.Timestamp(naive, tz="UTC").to_pydatetime()


def _placed(workspace: Workspace, arrival: Arrival, told: tuple[Severity, str]) -> Finding:
    severity, sentence = told
    line, time = known_at_line(workspace, arrival.table), TABLES[arrival.table].time
    otherwise = (
        f"where that is always its `{time}`, leave it as it is"
        if arrival.defaulted == arrival.rows
        else f"where the CRM does not tell, leave `known_at` out, and `{time}` stands for it"
    )
    repair = f"{line}: select as `known_at` when the CRM had the row; {otherwise}"
    return Finding("known_at", severity, f"{arrival.table}.known_at", sentence, repair)
