"""How good the scores were that were served, now that it is known: by version, road and week, with intervals, beside the promise.

Weeks are judged whole: the newest ones whose every score is mature. What cannot be told yet is said, with when it will be.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features.finding import Finding
from serving.ledger.given import FIRST_MONDAY
from serving.ledger.table import MICROSECOND, instant, microseconds
from serving.monitor.figures import Figures, Floats, figures
from serving.monitor.matured import Coverage
from serving.monitor.promise import WINDOWS, Promise, Window, judge
from serving.monitor.served import WEEK
from training.slices import LEAST_OF_EACH

SHOWN_WEEKS = 53
MOST_ROWS = 200_000  # that figures are computed on; of more, a sample of entities


@dataclass(frozen=True)
class Weekly:
    """The figures of one version in one week, which begins on its Monday, UTC."""

    monday: datetime
    version: str
    figures: Figures


@dataclass(frozen=True)
class Performance:
    """What matured outcomes say.

    Attributes:
        version: the version that serves, which is judged.
        promise: what its report said on its test rows; None where it has none.
        whole: of every version and road together; None where nothing is mature.
        versions, roads: the same apart.
        weeks: of each week and version, oldest first.
        window: of the newest weeks of the version that serves, as many as are judged at most; None where no week is whole.
        coverage: how far each week is known, oldest first.
        matured_until: the outcomes of scores given before this instant are known; None where none is.
        findings: what differs from the promise, or what cannot be told yet.
    """

    version: str
    promise: Promise | None
    whole: Figures | None
    versions: Mapping[str, Figures]
    roads: Mapping[str, Figures]
    weeks: tuple[Weekly, ...]
    window: Window | None
    coverage: tuple[Coverage, ...]
    matured_until: datetime | None
    findings: tuple[Finding, ...]


def performance(
    propensity: str,
    version: str,
    promise: Promise | None,
    rows: pd.DataFrame,
    coverage: Sequence[Coverage],
    horizon: timedelta,
    observed_until: datetime,
    earned: pd.Series | None = None,
) -> Performance:
    """Judge what was served.

    Args:
        propensity, version: whose scores, and the version that serves.
        promise: of that version.
        rows: matured rows as `matured.read` gives them, of the newest `SHOWN_WEEKS` weeks or fewer.
        coverage: of every week, oldest first.
        horizon: of the propensity.
        observed_until: outcomes have been recorded up to this instant.
        earned: what contacting a row brought, by the index of `rows`, of those for which that is known.
    """
    table = _Table(rows, earned)
    windows = _windows(table, version, coverage, observed_until)
    widest = windows[-1] if windows else None
    return Performance(
        version=version,
        promise=promise,
        whole=table.figures(np.ones(len(rows), dtype=bool)) if len(rows) else None,
        versions=table.by(rows["model_version"]),
        roads=table.by(rows["road"]),
        weeks=table.weekly(),
        window=widest,
        coverage=tuple(coverage),
        matured_until=observed_until - horizon if any(week.matured for week in coverage) else None,
        findings=_findings(propensity, version, promise, windows, coverage, horizon),
    )


class _Table:
    """Matured rows as arrays."""

    def __init__(self, rows: pd.DataFrame, earned: pd.Series | None) -> None:
        self._probability, self._labels = rows["probability"].to_numpy(float), rows["label"].to_numpy(np.int8)
        self._entities, names = pd.factorize(rows["entity_id"])
        hashed = pd.util.hash_array(np.asarray(names, dtype=object))
        self._draw = (hashed / 2.0**64)[self._entities]  # from 0 to 1, of an entity always the same
        self._earned: Floats | None = None if earned is None else earned.reindex(rows.index).to_numpy(float)
        self._version, self._versions = pd.factorize(rows["model_version"])
        at = rows["scored_at"].dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)
        self.mondays = at - (at - microseconds(FIRST_MONDAY)) % (WEEK // MICROSECOND)

    def figures(self, mask: np.ndarray) -> Figures:
        """Of some rows; the profit only where it is known what each of them earned."""
        whole = int(mask.sum())
        lists = len(np.unique(self.mondays[mask]))
        if whole > MOST_ROWS:
            mask = mask & (self._draw < MOST_ROWS / whole)
        earned = None if self._earned is None else self._earned[mask]
        if earned is not None and np.isnan(earned).any():
            earned = None
        sampled = lists * mask.sum() / whole
        return figures(self._probability[mask], self._labels[mask], self._entities[mask], earned, sampled)

    def by(self, column: pd.Series) -> dict[str, Figures]:
        codes, names = pd.factorize(column)
        found = {str(name): self.figures(codes == code) for code, name in enumerate(names)}
        return {name: found[name] for name in sorted(found, key=lambda name: (len(name), name))}

    def weekly(self) -> tuple[Weekly, ...]:
        pairs = pd.DataFrame({"monday": self.mondays, "version": self._version}).groupby(["monday", "version"]).indices.items()
        found = [(instant(int(key[0])), str(self._versions[int(key[1])]), np.asarray(rows)) for key, rows in pairs]  # type: ignore[index]
        made = [Weekly(monday, version, self.figures(self._mask(rows))) for monday, version, rows in found]
        return tuple(sorted(made, key=lambda one: (one.monday, one.version)))

    def of(self, version: str) -> np.ndarray:
        mine: np.ndarray = np.isin(self._version, [code for code, name in enumerate(self._versions) if str(name) == version])
        return mine

    def _mask(self, rows: np.ndarray) -> np.ndarray:
        mask = np.zeros(len(self.mondays), dtype=bool)
        mask[rows] = True
        return mask


def _windows(
    table: _Table, version: str, coverage: Sequence[Coverage], observed_until: datetime
) -> list[Window]:  # fmt: skip
    """The newest weeks of a version that are over and whole, one, four and thirteen of them, as far as there are so many."""
    mine = table.of(version)
    have = {instant(at) for at in np.unique(table.mondays[mine]).tolist()}
    whole = [
        week.monday for week in coverage if week.monday in have and not week.waiting and week.monday + WEEK <= observed_until
    ]
    made = []
    for size in sorted({min(size, len(whole)) for size in WINDOWS} - {0}):
        since, until = whole[-size], whole[-1]
        inside = (table.mondays >= microseconds(since)) & (table.mondays <= microseconds(until))
        made.append(Window(since, size, table.figures(mine & inside), until + WEEK))
    return made


def _findings(
    propensity: str,
    version: str,
    promise: Promise | None,
    windows: Sequence[Window],
    coverage: Sequence[Coverage],
    horizon: timedelta,
) -> tuple[Finding, ...]:
    """What differs from the promise, or why that cannot be told."""
    if promise is None:
        lacking = "its report has no test, or it was trained for another horizon than the propensity file says"
        return (_note(propensity, version, f"Version {version} promises nothing to hold outcomes against: {lacking}."),)
    if windows and windows[-1].is_enough:
        return judge(propensity, version, promise, windows)
    found = windows[-1].figures if windows else None
    when = _told_at(promise, found, coverage, horizon)
    if not coverage:
        sentence = f"How good version {version} is cannot be told yet: no score has been given."
        return (_note(propensity, version, sentence),)
    known = f"{found.positives:,} of {found.rows:,} known outcomes happened" if found else "no outcome is known yet"
    least = f"{LEAST_OF_EACH} with and {LEAST_OF_EACH} without the outcome are needed"
    until = f"about {when:%Y-%m-%d}" if when else "not before more scores are given"
    sentence = f"How good version {version} is cannot be told yet: {known}, {least}; it will be: {until}."
    return (_note(propensity, version, sentence),)


def _told_at(
    promise: Promise, found: Figures | None, coverage: Sequence[Coverage], horizon: timedelta
) -> datetime | None:  # fmt: skip
    """When the scores that wait will have brought enough outcomes, if as many happen as in the test; None if they do not."""
    rate = min(promise.base_rate, 1 - promise.base_rate)
    rarer = min(found.positives, found.rows - found.positives) if found else 0
    for week in coverage:
        rarer += round(week.waiting * rate)
        if week.waiting and rarer >= LEAST_OF_EACH:
            return week.monday + WEEK + horizon
    return None


def _note(propensity: str, version: str, sentence: str) -> Finding:
    return Finding(
        kind="performance", subject="model", severity="note", where=f"version {version}", propensities=(propensity,),
        sentence=sentence,
    )  # fmt: skip
