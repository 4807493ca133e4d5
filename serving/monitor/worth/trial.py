"""The trial: who was given a score and who was held out, by chance alone, and what happened to them.

Nights' partitions tell both: whoever is eligible has a row, with a score or with the policy `holdout`. What is compared is what
the policy meant to be done, not what was done (intention to treat), so that whom the CRM could not reach counts, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalog import Catalog
from features.database import connect, identifier, quote
from features.errors import ForesellError
from features.operation import PolicySettings
from features.propensity import Propensity
from features.settings import Workspace
from features.snapshot import select_sql
from features.stream import among
from features.views import feature_map, views
from serving.columns import ColumnScorer
from serving.ledger import Ledger
from serving.partition import RECEIPT, partitions, parts
from serving.policy import Policy
from serving.scorer import Scorer
from training import registry
from training.label import labels

MICROSECOND = timedelta(microseconds=1)
WEEK = timedelta(days=7)
ROWS_LOOKED_AT = 2_000  # of a partition, to see which holdout was in force
COLUMNS = ("entity_id", "as_of", "policy", "probability", "grade", "model_version", "explore")


@dataclass(frozen=True)
class Trial:
    """Everybody who takes part.

    Attributes:
        firsts: each entity once, at the first as_of that counts: `entity_id`, `as_of`, `held` (whether held out), `grade` (of the
            held out as their score would have been; None where it cannot be made any more), `model_version`, `explore`; of those
            whose outcome is mature `label` and `acted`, and `worth` where the propensity has a value.
        drawn: the same of those who have a score, once in each stretch of a horizon, because who is explored is drawn anew every
            week: those who were drawn at the as_of, and those whom no week of the horizon draws. Who is drawn only later is
            neither, and so is every night under another exploration.
        waiting: of the others, when the outcome of each is mature, ascending.
        foreseen: the mean probability of those who have a score, mature or not; None where nobody has one.
        other_holdout: how many partitions were made under another holdout and do not count.
        other_exploration: how many of the others explored, but otherwise than the policy does now.
        ungraded: of how many as_ofs no grade of the held out can be made any more.
    """

    firsts: pd.DataFrame
    drawn: pd.DataFrame
    waiting: pd.Series
    foreseen: float | None
    other_holdout: int
    other_exploration: int
    ungraded: int


def hold(workspace: Workspace, propensity: Propensity, observed_until: datetime, since: datetime | None, ledger: Ledger) -> Trial:
    """Gather the trial of a propensity.

    Args:
        workspace: with partitions, and with the snapshots and versions that they were made from.
        propensity: as its file is now.
        observed_until: outcomes are recorded up to this instant; only what is mature by then has one.
        since: partitions before this instant do not count; None for all there are.
        ledger: knows what was done.

    Raises:
        ForesellError: the outcome's tables are not there, or the ledger does not answer.
    """
    policy = Policy(workspace.settings.policy, propensity.entity)
    whole = _whole(workspace, propensity.name, since)
    mine = [files for files in whole if _is_in_force(files[0], policy)]
    firsts = _rows(workspace, propensity, mine, policy).drop_duplicates("entity_id", ignore_index=True)
    is_mature = firsts["as_of"] + propensity.horizon <= observed_until
    waiting = (firsts.loc[~is_mature, "as_of"] + propensity.horizon).sort_values(ignore_index=True)
    graded, ungraded = _graded(workspace, propensity, firsts[is_mature].reset_index(drop=True))
    exploring = [files for files in mine if policy.explores and _explores_as_now(files[0], propensity.name, policy)]
    drawn = _drawn(_rows(workspace, propensity, exploring, policy), propensity, policy, observed_until)
    known = [_happened(workspace, propensity, ledger, part) for part in (graded, drawn)]
    foreseen = firsts["probability"].mean() if firsts["probability"].notna().any() else None
    others = sum(_explored(files) for files in mine if files not in exploring)
    return Trial(known[0], known[1], waiting, foreseen, len(whole) - len(mine), others, ungraded)


def _whole(workspace: Workspace, name: str, since: datetime | None) -> list[list[Path]]:
    """The files of each whole partition."""
    found = [
        parts(folder)
        for at, folder in partitions(workspace).get(name, [])
        if (folder / RECEIPT).is_file() and (since is None or at >= since)
    ]
    return [files for files in found if files]


def _is_in_force(path: Path, policy: Policy) -> bool:
    """Whether a file parts its entities as the policy does now, by its first rows; an id says nothing of anything else."""
    told = _first_rows(path, ["entity_id", "policy"])
    return all(policy.is_held_out(who) == (found == "holdout") for who, found in told if found != "suppressed")


def _explores_as_now(path: Path, name: str, policy: Policy) -> bool:
    """Whether a file explores as the policy does now, by its first rows: who was scored before anybody was explored, or while
    more or fewer were, was so at another time, and time is not chance.
    """
    if not _tells_explored(path):
        return False
    told = _first_rows(path, ["entity_id", "scored_at", "explore", "score"])
    return all(policy.is_explored(name, who, at) == bool(found) for who, at, found, score in told if score is not None)


def _explored(files: list[Path]) -> bool:
    """Whether anybody in a partition is explored."""
    return any(_tells_explored(path) and pc.any(pq.read_table(path, columns=["explore"])["explore"]).as_py() for path in files)


def _tells_explored(path: Path) -> bool:
    return "explore" in pq.read_schema(path).names  # older releases did not


def _first_rows(path: Path, columns: list[str]) -> list[tuple[Any, ...]]:
    with pq.ParquetFile(path) as file:
        batch = next(file.iter_batches(ROWS_LOOKED_AT, columns=columns), None)
    return [] if batch is None else list(zip(*(batch[name].to_pylist() for name in columns), strict=True))


def _rows(workspace: Workspace, propensity: Propensity, nights: list[list[Path]], policy: Policy) -> pd.DataFrame:
    """Of every entity with a score or held out the first row of each stretch of a horizon, by as_of; and none of whoever is
    elsewhere than the policy puts them now.
    """
    files = [file for night in nights for file in night]
    frame = _read(workspace, propensity, files) if files else pd.DataFrame(columns=list(COLUMNS))
    frame["as_of"] = frame["as_of"].astype("datetime64[us, UTC]")
    frame["explore"] = frame["explore"].astype(bool)
    frame["held"] = (frame.pop("policy") == "holdout").astype(bool)
    meant = {one: policy.is_held_out(one) for one in frame["entity_id"].unique()}
    return frame[frame["held"] == frame["entity_id"].map(meant).astype(bool)].reset_index(drop=True)


def _read(workspace: Workspace, propensity: Propensity, files: list[Path]) -> pd.DataFrame:
    listed = ", ".join(f"'{quote(str(path))}'" for path in files)
    explore = "coalesce(explore, false)" if any(map(_tells_explored, files)) else "false"
    stretch = f"(epoch_us(as_of) - min(epoch_us(as_of)) over (partition by entity_id)) // {propensity.horizon // MICROSECOND}"
    with connect(workspace) as connection:
        return connection.execute(
            "with rows as (select entity_id, scored_at as as_of, policy, probability, grade, model_version, "
            f"{explore} as explore from read_parquet([{listed}], union_by_name = true) "
            "where score is not null or policy = 'holdout'), "
            f"stretched as (select *, {stretch} as stretch from rows) "
            f"select {', '.join(COLUMNS)} from stretched "
            "qualify row_number() over (partition by entity_id, stretch order by as_of) = 1 order by as_of, entity_id"
        ).df()


def _drawn(rows: pd.DataFrame, propensity: Propensity, policy: Policy, observed_until: datetime) -> pd.DataFrame:
    """Mature rows of those who have a score, who were explored at the as_of or are so in no week of the horizon.

    As many weeks are looked at whatever the weekday, and by the draw itself, not by who still had a score then: only chance
    decides who is in which group.
    """
    apart = _apart(rows[~rows["held"]], propensity)
    mature = apart[apart["as_of"] + propensity.horizon <= observed_until]
    weeks = [number * WEEK for number in range(1, -(-propensity.horizon // WEEK) + 1)]
    is_one = [
        explore or not any(policy.is_explored(propensity.name, who, as_of + later) for later in weeks)
        for who, as_of, explore in zip(mature["entity_id"], mature["as_of"], mature["explore"], strict=True)
    ]
    return mature[np.asarray(is_one, dtype=bool)].reset_index(drop=True)


def _apart(rows: pd.DataFrame, propensity: Propensity) -> pd.DataFrame:
    """Rows of each entity whose horizons do not overlap: its first, and those of later stretches that begin no sooner."""
    before = rows.groupby("entity_id")["as_of"].shift()
    return rows[before.isna() | (rows["as_of"] >= before + propensity.horizon)]


def _graded(workspace: Workspace, propensity: Propensity, firsts: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """The grades of the held out, silently, by the version and the snapshot that graded the others.

    Where one of them is gone, everybody of that as_of stays without a grade: the two groups must lack the same.
    """
    grades, ungraded = firsts["grade"].astype(object).copy(), 0
    for key, rows in firsts.groupby(["as_of", "model_version"]):
        as_of, version = cast(tuple[pd.Timestamp, str], key)
        held = rows[rows["held"]]
        try:
            found = _silently(workspace, propensity, as_of.to_pydatetime(), version, held["entity_id"].tolist())
        except ForesellError:
            grades[rows.index], ungraded = None, ungraded + 1
            continue
        grades[held.index] = [found.get(one) for one in held["entity_id"]]
    return firsts.assign(grade=grades), ungraded


def _silently(workspace: Workspace, propensity: Propensity, as_of: datetime, version: str, ids: list[str]) -> dict[str, str]:
    """The grade that each of some entities would have had; nothing is stored, and nobody is told."""
    if not ids:
        return {}
    registered = registry.load(workspace, propensity.name, version)
    declared = feature_map(views(workspace, Catalog.load(workspace)), propensity.entity)
    scorer = Scorer(registered.model, version, declared, Policy(PolicySettings(), propensity.entity))
    known = among(workspace, propensity.entity, as_of, ids, scorer.columns)
    scores = ColumnScorer(scorer, reasons=False).scored(known, as_of).scores
    return dict(zip(scores["entity_id"].to_pylist(), scores["grade"].to_pylist(), strict=True))


def _happened(workspace: Workspace, propensity: Propensity, ledger: Ledger, rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose outcome is mature, with it, and with what was done within the horizon."""
    if rows.empty:
        return rows.assign(label=pd.Series(dtype=np.int8), acted=pd.Series(dtype=bool), worth=pd.Series(dtype=float))
    cohort = rows[["entity_id", "as_of"]]
    found = rows.assign(label=labels(workspace, propensity, cohort), acted=_acted(propensity, ledger, cohort))
    return found.assign(worth=_worth(workspace, propensity, cohort))


def _acted(propensity: Propensity, ledger: Ledger, cohort: pd.DataFrame) -> pd.Series:
    """Whether something was done about each within `[as_of, as_of + horizon)`."""
    done = ledger.actions(since=cohort["as_of"].min().to_pydatetime(), propensity=propensity.name)
    if not done:
        return pd.Series(False, index=cohort.index)
    acts = pd.DataFrame({"entity_id": [one.entity_id for one in done], "at": [one.at for one in done]})
    acts["at"] = acts["at"].astype("datetime64[us, UTC]")
    ordered = cohort.reset_index().sort_values("as_of")
    first = pd.merge_asof(
        ordered, acts.sort_values("at"), left_on="as_of", right_on="at", by="entity_id", direction="forward"
    ).set_index("index")["at"]
    return first.reindex(cohort.index) < cohort["as_of"] + propensity.horizon


def _worth(workspace: Workspace, propensity: Propensity, cohort: pd.DataFrame) -> pd.Series:
    """What an outcome of each is worth, as it was known; NaN where it was not, or no value is stated."""
    value = propensity.value
    if value is None or value.column is None:
        return pd.Series(np.nan if value is None else value.amount, index=cohort.index, dtype=float)
    instants = [one.to_pydatetime() for one in sorted(cohort["as_of"].unique())]
    try:
        known = select_sql(workspace, propensity.entity, instants, [value.column])
    except ForesellError:
        return pd.Series(np.nan, index=cohort.index)
    with connect(workspace) as connection:
        connection.register("cohort", cohort.assign(number=np.arange(len(cohort))))
        found = connection.execute(
            f"select cast({identifier(value.column)} as double) as worth from cohort left join ({known}) as known "
            "on cohort.entity_id = known.entity_id and cohort.as_of = known.as_of order by number"
        ).df()
    return pd.Series(found["worth"].to_numpy(float) * value.times, index=cohort.index)
