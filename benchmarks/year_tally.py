"""What a year comes to: how good each strategy's scores were week by week, when each fault was seen, how often nothing was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from benchmarks.year_faults import Fault
from benchmarks.year_life import QUESTIONS, Week
from benchmarks.year_world import END, World, settings
from features import ingest, propensity, snapshot
from features.finding import Finding
from features.propensity import Propensity
from features.settings import Workspace
from serving.partition import PART, folder
from training.label import labels

MONTH = 365.25 / 12 / 7  # weeks
FORGOTTEN = 4  # weeks after which a finding that was there before is a new one
LINGERS = 8  # weeks after it was mended in which a fault is still in windows of features, and in outcomes that mature
TENTH = 0.1


@dataclass(frozen=True)
class Figures:
    """How good the scores of one week were, by what happened in the 28 days after it.

    Attributes:
        week, propensity: which.
        rows, positives: who was scored, and of whom the outcome happened.
        auc: of their probabilities; None without both outcomes.
        lift: of the highest tenth.
        profit: of contacting everybody whose contact is expected to pay.
        best: the AUC of the true probabilities, where they are known for this horizon; None elsewhere.
    """

    week: int
    propensity: str
    rows: int
    positives: int
    auc: float | None
    lift: float | None
    profit: float
    best: float | None = None


@dataclass(frozen=True)
class Seen:
    """When a fault was seen: the first alarm, and the first finding that is no note; days since it began, and what said it."""

    fault: str
    week: int
    alarm: int | None
    alarm_by: str
    finding: int | None
    finding_by: str


class Truth:
    """What really happened, in a workspace of its own that holds the whole export, without what was wrong in it."""

    def __init__(self, root: Path, world: World) -> None:
        root.mkdir(parents=True, exist_ok=True)
        settings(root, END)
        path = root / "export"
        if not path.exists():
            path.symlink_to(world.folder / "export")
        self.world, self.workspace = world, Workspace.open(root)
        ingest.run(self.workspace, END)
        self.instants = [world.as_of(week) for week in range(world.weeks + 1)]
        snapshot.build(self.workspace, self.instants, entities=["customer"])
        self._leads = pd.read_parquet(world.folder / "truth" / "lead-conversion.parquet")

    def figures(self, life: Workspace, name: str) -> list[Figures]:
        """The figures of every week whose outcomes are known."""
        asked = propensity.load(life, name)
        weeks = [week for week, at in enumerate(self.instants) if at + asked.horizon <= END]
        return [self._of(life, asked, week) for week in weeks if (folder(life, name, self.instants[week]) / PART).is_file()]

    def _of(self, life: Workspace, asked: Propensity, week: int) -> Figures:
        at = self.instants[week]
        path = folder(life, asked.name, at) / PART
        rows = pq.read_table(path, columns=["entity_id", "probability"], partitioning=None).to_pandas().dropna()
        rows = rows.reset_index(drop=True).assign(as_of=pd.Timestamp(at).as_unit("us"))
        label = labels(self.workspace, asked, rows).to_numpy()
        best = self._best(rows, label) if asked.name == "lead-conversion" else None
        return figures(week, asked, rows["probability"].to_numpy(), label, self._worth(asked, rows, at), best)

    def _worth(self, asked: Propensity, rows: pd.DataFrame, at: datetime) -> np.ndarray:
        value = asked.value
        if value is None or value.column is None:
            return np.full(len(rows), 0.0 if value is None else value.amount)
        known = snapshot.read(self.workspace, asked.entity, [at], [value.column])
        return rows.merge(known, on="entity_id", how="left")[value.column].fillna(0).to_numpy(float) * value.times

    def _best(self, rows: pd.DataFrame, label: np.ndarray) -> float | None:
        found = rows[["entity_id", "as_of"]].merge(self._leads, on=["entity_id", "as_of"], how="left")["probability"]
        known = found.notna().to_numpy()
        return _auc(found[known].to_numpy(), label[known])


def figures(
    week: int, asked: Propensity, probability: np.ndarray, label: np.ndarray, worth: np.ndarray, best: float | None = None
) -> Figures:
    """The figures of one week's list."""
    value = asked.value
    success, cost = (value.success, value.cost) if value else (1.0, 0.0)
    called = probability * worth * success > cost
    profit = float((label * worth * success - cost)[called].sum())
    top = np.argsort(-probability, kind="stable")[: max(1, int(len(label) * TENTH))]
    lift = float(label[top].mean() / label.mean()) if label.any() else None
    return Figures(week, asked.name, len(label), int(label.sum()), _auc(probability, label), lift, profit, best)


def _auc(probability: np.ndarray, label: np.ndarray) -> float | None:
    return float(roc_auc_score(label, probability)) if 0 < label.sum() < len(label) else None


def findings(week: Week) -> list[Finding]:
    """What was found in a week, each thing once."""
    return list({found.key: found for one in week.findings if (found := Finding.model_validate(one))}.values())


def seen(fault: Fault, weeks: Sequence[Week]) -> Seen:
    """When a fault was seen; what was there when it began, or in the weeks before, is about something else."""
    since = [week for week in weeks if fault.week - FORGOTTEN <= week.week <= fault.week]
    before = {found.key for week in since for found in findings(week)}
    told: dict[str, tuple[int, str]] = {}
    for week in weeks:
        for found in findings(week) if week.week > fault.week else []:
            if fault.is_seen_in(found) and found.key not in before and found.severity != "note":
                by = 7 * (week.week - fault.week), f"{found.kind}, {found.where}"
                told.setdefault("finding", by)
                if found.severity == "alarm":
                    told.setdefault("alarm", by)
    alarm, finding = told.get("alarm", (None, "")), told.get("finding", (None, ""))
    return Seen(fault.name, fault.week, alarm[0], alarm[1], finding[0], finding[1])


def false_alarms(faults: Sequence[Fault], weeks: Sequence[Week]) -> list[tuple[int, str]]:
    """Each alarm that began in a week and that no fault of these is behind: the week, and what it said."""
    told, last = [], dict[str, int]()
    for week in weeks:
        for found in (one for one in findings(week) if one.severity == "alarm"):
            is_new = week.week - last.get(found.key, -FORGOTTEN - 1) > FORGOTTEN
            last[found.key] = week.week
            if is_new and not any(_explains(fault, week.week, found) for fault in faults):
                told.append((week.week, f"{found.kind}, {found.where}: {found.sentence}"))
    return told


def _explains(fault: Fault, week: int, found: Finding) -> bool:
    over = fault.mended is not None and week > fault.mended + LINGERS
    return fault.week < week and not over and fault.is_seen_in(found)


def per_month(alarms: Sequence[object], weeks: int) -> float:
    """How many in a month."""
    return len(alarms) / weeks * MONTH


def totals(of: Mapping[str, Sequence[Figures]]) -> dict[str, dict[str, dict[str, float]]]:
    """By strategy and propensity: mean AUC, mean lift, and the profit of all weeks."""
    return {
        strategy: {name: _total([one for one in all_of if one.propensity == name]) for name in QUESTIONS}
        for strategy, all_of in of.items()
    }


def _total(rows: Sequence[Figures]) -> dict[str, float]:
    aucs, lifts = [one.auc for one in rows if one.auc is not None], [one.lift for one in rows if one.lift is not None]
    mean = {"auc": float(np.mean(aucs)) if aucs else float("nan"), "lift": float(np.mean(lifts)) if lifts else float("nan")}
    return {**mean, "profit": sum(one.profit for one in rows), "weeks": len(rows)}
