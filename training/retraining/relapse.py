"""The relapse: a new champion whose first matured week is significantly worse than what the version before would have said.

What the champion said is read back as it was served; what the version before would have said is computed from the same
snapshots, which by the law of parity is what it would have served. Only scores of batches are compared: a snapshot is of exactly
their as_of. Days that were scored afterwards, from whose outcomes one of the two has learned, do not count.

Where acting on scores changes the outcome, it changes it most for those whom the champion, not the other, put first; that counts
against the champion, and a holdout (`policy: holdout`) is what would tell how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from features import matured_file, snapshot, store
from features.console import Watch
from features.engine import Name
from features.errors import ContractError, FeatureError, RegistryError
from features.finding import read_health
from features.propensity import Propensity
from features.settings import Workspace
from training import registry
from training.boosting import SEED
from training.compatibility import contract_check
from training.contract import Floats
from training.evaluation import differences
from training.registry import Entry, History, Signature
from training.retraining.attempts import Judged, Judgement
from training.retraining.standing import BY, short
from training.rival import learned_until, said

ROAD = "batch"
WEEK = timedelta(days=7)
LEAST = 50  # positives, and negatives: with fewer a bootstrap interval is too narrow
LEVEL, REPLICATES = 0.975, 1_000  # two figures are looked at, so that both together err in one of forty weeks at most


@dataclass(frozen=True)
class Trial:
    """A promotion that is to be judged.

    Attributes:
        entry: of the history.
        version, against: the champion, and the version that a rollback brings back.
        since: scores of an earlier time as champion lie before this instant; None where there was none.
    """

    entry: Entry
    version: str
    against: str
    since: datetime | None


@dataclass(frozen=True)
class Relapse:
    """What became of a trial.

    Attributes:
        trial: which.
        judgement: what is done about it; None as long as too little is known.
        sentence: why, with the figures.
    """

    trial: Trial
    judgement: Judgement | None
    sentence: str

    def line(self, at: datetime) -> Judged | None:
        """As the log keeps it."""
        if self.judgement is None:
            return None
        entry, against = self.trial.entry, self.trial.against
        return Judged(
            at=at,
            event=entry.number,
            version=self.trial.version,
            against=against,
            judgement=self.judgement,
            sentence=self.sentence,
        )


def on_trial(history: History, judged: Sequence[Judged]) -> Trial | None:
    """The promotion of the champion, where it has not been judged and there is a version to go back to.

    A version that a relapse has thrown out and that somebody promoted again stands: people know what they do.
    """
    last, against = history.last, history.previous
    if last is None or last.event.kind != "promotion" or history.unfinished or history.moved or against is None:
        return None
    version = str(last.event.version)
    thrown_out = any(
        entry.event.kind == "rollback" and entry.event.by == BY and entry.event.before == version for entry in history.entries
    )
    if thrown_out or any(line.event == last.number for line in judged):
        return None
    earlier = [entry.since for entry in history.entries if entry.event.before == version and entry.since]
    return Trial(last, version, against, earlier[-1] if earlier else None)


def judge(workspace: Workspace, propensity: Propensity, trial: Trial, watch: Watch, engine: Name = "duckdb") -> Relapse:
    """Hold what the champion said against what the version before would have said; nothing is moved.

    Args:
        workspace: with ingested tables; missing snapshots of the weeks are built.
        propensity: the question.
        trial: as `on_trial`.
        watch: opens a progress bar for a step of so many units.
        engine: what builds and joins.

    Raises:
        StoreError: the matured outcomes cannot be read.
    """
    try:
        return _held_up(workspace, propensity, trial, watch, engine)
    except (ContractError, FeatureError, RegistryError) as lost:
        versions = f"Version {trial.version} cannot be compared with version {trial.against} now"
        return Relapse(trial, None, f"{versions}: {lost.where}, {lost.received}.")


def _held_up(workspace: Workspace, propensity: Propensity, trial: Trial, watch: Watch, engine: Name) -> Relapse:
    rows = matured_file.of_version(workspace, propensity.name, trial.version, trial.since)
    rows, health = rows[rows["road"] == ROAD], read_health(workspace, propensity.name)
    if rows.empty or health is None or health.matured_until is None:
        return Relapse(trial, None, _unseen(trial, propensity))
    champion, other = (registry.load(workspace, propensity.name, version).model for version in (trial.version, trial.against))
    fresh = rows[rows["scored_at"] >= max(learned_until(champion), learned_until(other))]
    enough = _first_weeks(propensity, trial, fresh, health.matured_until)
    if isinstance(enough, str):
        return Relapse(trial, None, enough)
    there = _there(workspace, propensity, enough, watch, engine)
    if _rarer(there) < LEAST:
        return Relapse(trial, None, _too_few(trial, there))
    spine = there[["entity_id", "scored_at"]].rename(columns={"scored_at": "as_of"})
    return _judged(trial, there, said(workspace, propensity.entity, other, spine, engine), workspace.settings.retrain.rollback)


def roll_back(workspace: Workspace, propensity: str, relapse: Relapse, signature: Signature) -> Entry:
    """Bring the version before back; a move that somebody made since the judgement stands.

    Raises:
        RegistryError: somebody moved the champion since.
        GateError: the workspace no longer gives the features of the version before.
    """
    check = contract_check(workspace, propensity, forced=False)
    return registry.rollback(workspace, propensity, signature, short(relapse.sentence), check, over=relapse.trial.version)


def _first_weeks(propensity: Propensity, trial: Trial, rows: pd.DataFrame, known_until: datetime) -> pd.DataFrame | str:
    """The first week, or as many of the first weeks as it takes to have `LEAST` of both outcomes; else why there are none."""
    if rows.empty:
        return _unseen(trial, propensity)
    first = rows["scored_at"].min().to_pydatetime()
    weeks = (known_until - first) // WEEK
    if weeks < 1:
        known = first + WEEK + propensity.horizon
        return f"The first week of version {trial.version} is known from {known:%Y-%m-%d} on."
    growing = (rows[rows["scored_at"] < first + number * WEEK] for number in range(1, weeks + 1))
    enough = next((chosen for chosen in growing if _rarer(chosen) >= LEAST), None)
    return _too_few(trial, rows[rows["scored_at"] < first + weeks * WEEK]) if enough is None else enough


def _rarer(rows: pd.DataFrame) -> int:
    """How many rows have the rarer outcome."""
    return int(np.bincount(rows["label"].to_numpy(np.int64), minlength=2).min())


def _there(workspace: Workspace, propensity: Propensity, rows: pd.DataFrame, watch: Watch, engine: Name) -> pd.DataFrame:
    """The rows of those who are still in the snapshots, which are built where they are missing; who was forgotten is not."""
    entity, days = propensity.entity, [day.to_pydatetime() for day in sorted(rows["scored_at"].unique())]
    with watch(f"{propensity.name}: first week, snapshots", snapshot.to_build(workspace, days, [entity])) as tick:
        snapshot.build(workspace, days, tick, [entity], engine=engine)
    store.apply(workspace)
    parts = [rows[(rows["scored_at"] == day) & rows["entity_id"].isin(store.population(workspace, day)[entity])] for day in days]
    return pd.concat(parts, ignore_index=True)


def _judged(trial: Trial, rows: pd.DataFrame, other: Floats, may: bool) -> Relapse:
    """Worse where one of the two figures is worse beyond chance, and neither is better beyond chance.

    Args:
        trial: which.
        rows: what the champion said, and what happened.
        other: what the version before says of them.
        may: whether a rollback is allowed.
    """
    labels, probability = rows["label"].to_numpy(np.int8), rows["probability"].to_numpy(np.float64)
    found = differences(probability, other, labels, rows["entity_id"], SEED, REPLICATES, LEVEL)
    auc, loss = found["auc"], found["log_loss"]
    worse, better = auc.high < 0 or loss.low > 0, auc.low > 0 or loss.high < 0
    words = "worse in one, better in the other" if worse and better else f"{'' if worse else 'not '}significantly worse"
    first, last = rows["scored_at"].min(), rows["scored_at"].max()
    sentence = (
        f"First matured scores of version {trial.version} ({first:%Y-%m-%d} to {last:%Y-%m-%d}, {len(rows):,} scores, "
        f"{int(rows['label'].sum()):,} positives) against what version {trial.against} would have given: {words}, "
        f"AUC {auc.value:+.3f} ({auc.low:+.3f} to {auc.high:+.3f}), "
        f"log loss {loss.value:+.4f} ({loss.low:+.4f} to {loss.high:+.4f})."
    )
    forced = f' It was let in past failed gates: "{trial.entry.event.reason}".' if trial.entry.event.forced else ""
    if not worse:
        return Relapse(trial, "kept", sentence)
    return Relapse(trial, "rolled back" if may and not better else "warned", sentence + forced)


def _unseen(trial: Trial, propensity: Propensity) -> str:
    return (
        f"No outcome of a batch of version {trial.version} is known yet that neither version has learned from; the first is "
        f"{propensity.horizon.days} days after its batch, once `foresell monitor` has run."
    )


def _too_few(trial: Trial, rows: pd.DataFrame) -> str:
    positives = int(rows["label"].sum())
    negatives = len(rows) - positives
    lacking = [
        f"{LEAST - count:,} more {name}" for name, count in (("positives", positives), ("negatives", negatives)) if count < LEAST
    ]
    return (
        f"The first matured weeks of version {trial.version} hold {len(rows):,} scores with {positives:,} positives; "
        f"it is judged with {' and '.join(lacking)}."
    )
