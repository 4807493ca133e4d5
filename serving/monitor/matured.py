"""Matured outcomes: scores as they were served, with what happened since.

`data/monitor/matured/propensity=NAME/week=2018-05-14/part-0.parquet`, a week being named after its Monday. One row is the first
score that an entity was given in a week by a version on a road, once `scored_at + horizon` has passed. Nothing immature is in it.
Beside it `_coverage.json` counts those that wait and those that cannot be labelled.

A week is written anew when its scores, the tables or "now" have changed, until it is settled: `[monitor] settle_days` after the
last horizon of the week has ended. Then it stays as it is, though the scores it was made from be removed for their age.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from features import snapshot
from features.catalog import Catalog, sweep, write_atomically
from features.console import Watch
from features.propensity import Propensity, load
from features.settings import Workspace
from features.strict import Strict
from serving.ledger import Ledger
from serving.monitor import served
from serving.monitor.known import known
from serving.partition import PART, instant
from training.label import labels, require_outcome

SCHEMA = pa.schema(
    [
        ("entity_id", pa.string()),
        ("scored_at", pa.timestamp("us", tz="UTC")),  # of a batch its as_of
        ("road", pa.string()),  # batch, http or hook
        ("model_version", pa.string()),
        ("probability", pa.float64()),
        ("score", pa.int32()),
        ("label", pa.int8()),
    ]
)
COVERAGE = "_coverage.json"
WHO = ["entity_id", "model_version", "road"]  # one row a week
CATEGORIES = ["entity_id", "road", "model_version"]


class Coverage(Strict):
    """How far the outcomes of the scores of one week are known.

    Attributes:
        monday: when the week begins, UTC.
        given: first scores of an entity by a version on a road: `matured`, `waiting` and `unlabelled` together.
        matured: their outcome is known.
        waiting: their horizon has not ended.
        unlabelled: it has, and no snapshot tells what their outcome is to be held against.
        next_at: when the next of those that wait is known; None where none waits.
        settled: late outcomes are looked for no more.
        question, made_from: digests of what the outcome is, and of all that decides the week.
    """

    monday: datetime
    given: int
    matured: int
    waiting: int
    unlabelled: int
    next_at: datetime | None
    settled: bool
    question: str
    made_from: str


@dataclass(frozen=True)
class _Made:
    """What the weeks of a propensity are made from, besides their scores."""

    workspace: Workspace
    propensity: Propensity
    catalog: str
    observed_until: datetime
    ledger: Ledger
    snapshots: tuple[datetime, ...]

    @property
    def question(self) -> str:
        """A digest of what the outcome is: rows of another one are not kept."""
        asked = self.propensity.model_dump_json(include={"entity", "horizon", "lead_time", "outcome"})
        return hashlib.sha256(asked.encode()).hexdigest()[:16]

    def digest(self, monday: datetime, scores: str) -> str:
        """Of all that decides a week; the tables do not before the first of its scores can be mature."""
        last = min(self.observed_until, monday + served.WEEK + self.propensity.horizon)
        snapshots = [at.isoformat() for at in self.snapshots if at < monday + served.WEEK]
        known = [self.catalog, last.isoformat(), *snapshots] if monday + self.propensity.horizon <= last else []
        facts = [scores, self.question, str(self.settled(monday)), *known]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]

    def settled(self, monday: datetime) -> bool:
        late = timedelta(days=self.workspace.settings.monitor.settle_days)
        return monday + served.WEEK + self.propensity.horizon + late <= self.observed_until


def update(workspace: Workspace, propensity: str, observed_until: datetime, watch: Watch) -> tuple[Coverage, ...]:
    """Bring every week up to date, and say how far each is known; killed anywhere and run again it ends the same.

    Args:
        workspace: with ingested tables.
        propensity: whose scores.
        observed_until: outcomes have been recorded up to this instant.
        watch: opens a progress bar.

    Raises:
        PropensityError: its file is wrong, or the tables do not hold what it asks about.
        StoreError: the ledger does not answer.
    """
    catalog, question = Catalog.load(workspace), load(workspace, propensity)
    require_outcome(catalog, question)
    with closing(Ledger.open(workspace, served.PATIENCE_MS)) as ledger:
        made = _Made(workspace, question, catalog.version, observed_until, ledger, _snapshots(workspace, question))
        there = served.weeks(workspace, ledger, propensity)
        mondays = sorted({*there, *_mondays(workspace, propensity)})
        with watch(f"{propensity}: outcomes", len(mondays)) as tick:
            found = []
            for monday in mondays:
                found.append(_update(made, there.get(monday, served.Week(monday, (), ""))))
                tick(1)
            return tuple(found)


def coverage(workspace: Workspace, propensity: str) -> tuple[Coverage, ...]:
    """How far each week is known, as it was found last, oldest first."""
    found = (_coverage(folder(workspace, propensity, monday)) for monday in _mondays(workspace, propensity))
    return tuple(week for week in found if week is not None)


def read(workspace: Workspace, propensity: str, since: datetime | None = None) -> pd.DataFrame:
    """The rows of every week that begins at `since` or later, of all without it: the columns of `SCHEMA`, text as categories."""
    tables = [table for _, table in each(workspace, propensity, since)] or [SCHEMA.empty_table()]
    return pa.concat_tables(tables).to_pandas(categories=CATEGORIES)


def each(workspace: Workspace, propensity: str, since: datetime | None = None) -> Iterator[tuple[datetime, pa.Table]]:
    """The same a week at a time, oldest first: its Monday, and rows of `SCHEMA` sorted by scored_at and entity_id."""
    for monday in _mondays(workspace, propensity):
        if since is None or monday >= since:
            yield monday, _kept(folder(workspace, propensity, monday))


def folder(workspace: Workspace, propensity: str, monday: datetime) -> Path:
    """Where a week lies."""
    return workspace.watch / "matured" / f"propensity={propensity}" / f"week={monday:%Y-%m-%d}"


def _mondays(workspace: Workspace, propensity: str) -> list[datetime]:
    """The weeks that are there, oldest first."""
    paths = (workspace.watch / "matured" / f"propensity={propensity}").glob("week=*")
    return sorted(monday for path in paths if (monday := instant(path.name.partition("=")[2])) is not None)


def _snapshots(workspace: Workspace, propensity: Propensity) -> tuple[datetime, ...]:
    """The as_ofs of the snapshots that an outcome is held against, oldest first; none where it is held against none."""
    column = propensity.outcome.threshold[1] if propensity.outcome.sum else None
    return tuple(snapshot.instants(workspace, propensity.entity)) if column else ()


def _update(made: _Made, week: served.Week) -> Coverage:
    target = folder(made.workspace, made.propensity.name, week.monday)
    before, made_from = _coverage(target), made.digest(week.monday, week.digest)
    same = before if before is not None and before.question == made.question else None
    whole = same is not None and (target / PART).is_file() == bool(same.matured)
    if same is not None and whole and (same.settled or same.made_from == made_from):
        return same
    given = _given(made, week, _kept(target) if same else SCHEMA.empty_table())
    mature = given["scored_at"] + made.propensity.horizon <= pd.Timestamp(made.observed_until)
    rows, waiting = _labelled(made, given[mature]), given.loc[~mature, "scored_at"]
    found = Coverage(
        monday=week.monday, given=len(given), matured=len(rows), waiting=len(waiting),
        unlabelled=len(given) - len(rows) - len(waiting),
        next_at=(waiting.min() + made.propensity.horizon).to_pydatetime() if len(waiting) else None,
        settled=made.settled(week.monday), question=made.question, made_from=made_from,
    )  # fmt: skip
    _write(target, rows, found)
    return found


def _given(made: _Made, week: served.Week, kept: pa.Table) -> pd.DataFrame:
    """The first scores of a week: those that are there, and those of an earlier look whose partition has been removed since.

    `label` is what an earlier look found of the same score.
    """
    now = served.first(made.workspace, made.ledger, made.propensity.name, week).to_pandas().assign(label=np.nan)
    if not kept.num_rows:
        return now
    every = pd.concat([now.assign(old=False), kept.to_pandas().assign(old=True)], ignore_index=True)
    every["label"] = every.groupby([*WHO, "scored_at"], sort=False)["label"].transform("max")
    first = every.sort_values(["scored_at", "old"], kind="stable").drop_duplicates(WHO).drop(columns="old")
    return first.sort_values(["scored_at", *WHO], ignore_index=True)


def _labelled(made: _Made, given: pd.DataFrame) -> pd.DataFrame:
    """The rows whose outcome can be told, now or by an earlier look at a snapshot that has been removed since."""
    cohort = given[["entity_id", "scored_at"]].drop_duplicates().rename(columns={"scored_at": "as_of"})
    cohort["as_of"] = cohort["as_of"].astype("datetime64[us, UTC]")
    cohort, thresholds = _held_against(made, cohort.reset_index(drop=True))
    told = cohort.assign(told=labels(made.workspace, made.propensity, cohort, thresholds).astype(float))
    joined = given.merge(told, left_on=["entity_id", "scored_at"], right_on=["entity_id", "as_of"], how="left")
    joined["label"] = joined["told"].where(joined["told"].notna(), joined["label"])
    return joined.loc[joined["label"].notna(), SCHEMA.names].astype({"label": "int8"})


def _held_against(made: _Made, cohort: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series | None]:
    """The rows that can be labelled and, where a sum is held against a snapshot column, what the sum of each must reach.

    The column is that of the newest snapshot at or before the score; whoever is not in it cannot be labelled.
    """
    outcome = made.propensity.outcome
    times, column = outcome.threshold if outcome.sum else (1.0, None)
    if column is None:
        return cohort, None
    found = known(made.workspace, made.propensity.entity, cohort.rename(columns={"as_of": "scored_at"}), [column])
    return cohort.loc[found.index], times * found[column].astype(float)


def _write(target: Path, rows: pd.DataFrame, found: Coverage) -> None:
    """The rows first, then what is said of them: whoever kills the process in between has the week made anew."""
    target.mkdir(parents=True, exist_ok=True)
    sweep(target, PART, COVERAGE)
    if len(rows):
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pandas(rows, SCHEMA, preserve_index=False), buffer, compression="zstd")
        write_atomically(target / PART, buffer.getvalue())
    else:
        (target / PART).unlink(missing_ok=True)
    write_atomically(target / COVERAGE, (found.model_dump_json(indent=1) + "\n").encode())


def _kept(target: Path) -> pa.Table:
    path = target / PART
    return pq.read_table(path, partitioning=None).cast(SCHEMA) if path.is_file() else SCHEMA.empty_table()


def _coverage(target: Path) -> Coverage | None:
    """What was said of a week; None where nothing was, or by another release."""
    try:
        return Coverage.model_validate_json((target / COVERAGE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
