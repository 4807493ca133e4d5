"""The recipe: from a workspace's tables to a registered version with its report and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from features import quality
from features.console import Watch
from features.engine import Name
from features.propensity import Propensity
from features.settings import Workspace
from training import audit, dataset, evaluation, registry, report
from training.boosting import SEED
from training.choice import against_rule
from training.evaluation import Evaluation
from training.gates import Verdict, judge
from training.leakage.guard import guard, require_clean
from training.result import Result
from training.rival import rival
from training.selection import select


@dataclass(frozen=True)
class Trained:
    """A registered version.

    Attributes:
        propensity, version, candidate: what was trained, and which candidate was taken.
        by: whether the test rows are later rows or other entities.
        test: the figures on them.
        verdict: the gates.
        warnings: how often the leakage guard warned.
    """

    propensity: str
    version: str
    candidate: str
    by: Literal["time", "entity"]
    test: Evaluation
    verdict: Verdict
    warnings: int


def train(
    workspace: Workspace, propensity: Propensity, at: datetime, watch: Watch, engine: Name = "duckdb"
) -> Trained:  # fmt: skip
    """Check, build, learn, judge and register one propensity.

    Args:
        workspace: with ingested tables; missing snapshots are built.
        propensity: the question.
        at: when this is done; it goes into the report.
        watch: opens a progress bar for a step of so many units.
        engine: where snapshots are built and rows are joined; learning is done here.

    Raises:
        QualityError: the tables hold errors.
        PropensityError: the tables lack what the propensity asks about.
        DataFloorError: too little matured data; says what is missing.
        LeakageError: something knows the outcome, and no waiver lets it pass.
    """
    quality.require(workspace)
    data = dataset.prepare(workspace, propensity, watch, engine=engine)
    leaks = guard(workspace, propensity, data.only(data.plain) if data.sampling else data)
    require_clean(leaks, propensity)
    selection = select(data, propensity, workspace.tuning, watch)
    with watch(f"{propensity.name}: judging", 4) as tick:
        fitted = selection.fitted
        rows, labels = data.frame[fitted.split.test], data.labels[fitted.split.test]
        test = evaluation.evaluate(fitted.probability, labels, rows["entity_id"], SEED)
        tick(1)
        audited = audit.audit(data, propensity, workspace.settings.protected, fitted, SEED)
        tick(1)
        over_rule = against_rule(selection.backtest.newest, selection.choice.name, SEED)
        verdict = judge(
            propensity.gates, test, rival(workspace, propensity, fitted, rows, labels, engine), over_rule, audited.slices
        )
        tick(1)
        version = registry.register(
            workspace, fitted.model, report.record(Result(data, selection, test, verdict, leaks, audited), at)
        )
        tick(1)
    warnings = sum(leak.severity == "warning" for leak in leaks)
    return Trained(propensity.name, version, selection.choice.name, selection.split.by, test, verdict, warnings)
