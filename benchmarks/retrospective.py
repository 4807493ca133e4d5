"""What monitoring would have said, and when, of two real data sets that were not made for it.

    .venv/bin/python -m benchmarks.retrospective --data ../shared/data
    .venv/bin/python -m benchmarks.retrospective --data ../shared/data --only bank --json FILE

Olist goes month by month through a workspace: the export as it was, a real night, `foresell monitor`. A model is trained once,
as soon as there is enough to learn from, and never again. Bank Marketing has no times but the order of its rows and their months,
so no workspace can exist: its months are judged as tables, the outcomes of one being known before the next.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from benchmarks.questions import Question, bank_by_months
from benchmarks.year_life import command, crown, quiet
from features.export import stem
from features.finding import Finding, read_health
from features.monitoring import MonitorSettings
from features.propensity import load_all
from features.settings import SETTINGS_FILE, Workspace
from serving.monitor import estimate, matured, performance
from serving.monitor.drift import drift, reference
from serving.monitor.drift.judgement import Judge
from serving.monitor.drift.look import Look, look
from serving.monitor.promise import Promise
from serving.nightly import job
from serving.partition import PART, folder
from training import evaluation, registry
from training.boosting import SEED
from training.registry import Registered
from training.selection import select

BANK_FROM = datetime(2009, 5, 1, tzinfo=UTC)  # the first month at which a model passes an AUC of 0.6: before it ranks by chance
OLIST = [datetime(2017, 11, 1, tzinfo=UTC), datetime(2017, 12, 1, tzinfo=UTC)]
OLIST += [*(datetime(2018, month, 1, tzinfo=UTC) for month in range(1, 6)), datetime(2018, 5, 15, tzinfo=UTC)]
DATED = {  # by file: when a row was known; the others tell nothing that changes
    "olist_marketing_qualified_leads_dataset": "first_contact_date",
    "olist_closed_deals_dataset": "won_date",
    "olist_order_items_dataset": "shipping_limit_date",
}


@dataclass(frozen=True)
class Month:
    """What was to be said on one day of one question.

    Attributes:
        question, as_of: which question, on which day.
        rows: that were scored.
        promised: the AUC of the version's own report; None where it is not known.
        expected: the AUC that was to be expected then; None where it was not estimated.
        auc, base_rate: as they came, which was known later; None where it is not known yet.
        findings: kind, place, severity and sentence of each that is no note.
    """

    question: str
    as_of: str
    rows: int
    promised: float | None
    expected: float | None
    auc: float | None
    base_rate: float | None
    findings: tuple[tuple[str, str, str, str], ...]


def bank(data: Path) -> list[Month]:
    """Bank Marketing, trained once on the months whose outcomes were known at `BANK_FROM`."""
    asked = bank_by_months(data, Path())
    at, horizon = asked.data.frame["as_of"], asked.propensity.horizon
    learned = asked.data.only((at + horizon <= BANK_FROM).to_numpy())
    watched = Watched.of(asked, learned)
    return [watched.month(as_of.to_pydatetime()) for as_of in sorted(at[at >= BANK_FROM].unique())]


@dataclass
class Watched:
    """One model over a table: what it was trained on, what it promised, and what was said of it so far."""

    asked: Question
    registered: Registered
    known: reference.Reference
    promise: Promise
    judge: Judge
    looks: list[Look]
    estimates: list[estimate.Estimate]

    @classmethod
    def of(cls, asked: Question, learned: Any) -> Watched:
        with tempfile.TemporaryDirectory() as name:
            fitted = select(learned, asked.propensity, Path(name), quiet).fitted
        registered = Registered("1", fitted.model)
        rows = learned.frame[fitted.split.test]
        test = evaluation.evaluate(fitted.probability, learned.labels[fitted.split.test], rows["entity_id"], SEED)
        matrices = {date.to_pydatetime(): fitted.model.matrix(one) for date, one in learned.frame.groupby("as_of")}
        counts = [(len(one), int(one["label"].sum())) for _, one in learned.frame.groupby("as_of")]
        known = reference.of(registered, matrices, {}, counts)
        judge = Judge(known, MonitorSettings(), len(rows))
        return cls(asked, registered, known, _promise(test), judge, [], [])

    def month(self, as_of: datetime) -> Month:
        """What is said at the beginning of a month, of those who are called in it."""
        frame = self.asked.data.frame
        rows = frame[frame["as_of"] == as_of]
        today, probability = look(self.registered.model, self.known, as_of, rows)
        moved = drift.judged(self.registered, self.known, rows, today, probability, self.judge, lambda: self.looks)
        told = self.matured_by(as_of)
        made = estimate.estimate(probability, as_of, estimate.check(self.estimates, told, "1"))
        findings = [*moved.findings, *self._performance(told, as_of), *self._estimated(made)]
        self.looks.append(today)
        self.estimates += [made] if made else []
        label = rows["label"].to_numpy()
        came = estimate.realised(probability, label) if 0 < label.sum() < len(label) else None
        expected = made["auc"].value if made else None
        return _month(self.asked.name, as_of, len(rows), self.promise.auc, expected, came, findings)

    def matured_by(self, as_of: datetime) -> pd.DataFrame:
        """What was scored since the training and is known by now, as matured outcomes are kept."""
        frame = self.asked.data.frame
        since, until = self.known.dates[-1], as_of - self.asked.propensity.horizon
        rows = frame[(frame["as_of"] > since) & (frame["as_of"] <= until) & (frame["as_of"] >= BANK_FROM)]
        probability = self.registered.model.probability(self.registered.model.matrix(rows)) if len(rows) else np.empty(0)
        return rows[["entity_id", "label"]].assign(
            scored_at=rows["as_of"], road="batch", model_version="1", probability=probability, score=0
        )

    def _performance(self, told: pd.DataFrame, as_of: datetime) -> Sequence[Finding]:
        mondays = told["scored_at"].map(lambda at: (at - pd.Timedelta(days=at.weekday())).to_pydatetime())
        coverage = [
            matured.Coverage(
                monday=monday, given=len(rows), matured=len(rows), waiting=0, unlabelled=0, next_at=None, settled=True,
                question="", made_from="",
            )
            for monday, rows in told.groupby(mondays)
        ]  # fmt: skip
        horizon = self.asked.propensity.horizon
        return performance.performance(self.asked.name, "1", self.promise, told, coverage, horizon, as_of).findings

    def _estimated(self, made: estimate.Estimate | None) -> list[Finding]:
        if made is None or made.rows < MonitorSettings().least_rows:
            return []
        promised = evaluation.Figure(self.promise.auc, self.promise.auc_low, self.promise.auc_high)
        found = estimate.finding(made, self.asked.name, "1", promised, self.known.ordinary_aucs)
        return [found] if found else []


def _promise(test: evaluation.Evaluation) -> Promise:
    """What a report says of these figures."""
    bounds = {f"{name}_{end}": getattr(figure, end) for name, figure in test.figures.items() for end in ("low", "high")}
    values = {name: figure.value for name, figure in test.figures.items()}
    rows = {"rows": test.rows, "positives": test.positives, "entities": test.rows}
    made = Promise.of({"test": {**values, **bounds, **rows}})
    if made is None:
        raise RuntimeError("the test has no figures")
    return made


def olist(data: Path, root: Path) -> list[Month]:
    """Olist, month by month through a workspace."""
    said: list[Month] = []
    for at in OLIST:
        workspace = as_known(data / "olist", root, at)
        command("ingest", workspace)
        command("check", workspace)
        for asked in load_all(workspace):
            if registry.champion_version(workspace, asked.name) is None:
                crown(workspace, asked.name, at, "the retrospective")
        names = [asked.name for asked in load_all(workspace) if registry.champion_version(workspace, asked.name)]
        if names:
            job.run(workspace, at, at, quiet, lambda ended: None)
            command("monitor", workspace, "--as-of", at.isoformat(), "--json")
        said += [_of_health(workspace, name, at) for name in names]
    return [_with_outcome(workspace, one) for one in said]


def as_known(source: Path, root: Path, at: datetime) -> Workspace:
    """The workspace with the export as it was at an instant."""
    export = root / "export"
    export.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
        if known := DATED.get(stem(path)):
            frame = frame[pd.to_datetime(frame[known]) < pd.Timestamp(at).tz_localize(None)]
        frame.to_parquet(export / f"{stem(path)}.parquet", index=False)
    (root / SETTINGS_FILE).write_text(f'adapter = "olist"\nsource = "export"\nnow = "{at.isoformat()}"\n', encoding="utf-8")
    return Workspace.open(root)


def _of_health(workspace: Workspace, name: str, at: datetime) -> Month:
    health, version = read_health(workspace, name), registry.champion_version(workspace, name) or ""
    promise = Promise.of(registry.report(workspace, name, version)[0])
    promised = promise.auc if promise else None
    made = next((one for one in estimate.kept(workspace, name, version) if one.as_of == at), None)
    found = health.findings if health else ()
    scored = pq.read_table(folder(workspace, name, at) / PART, columns=["probability"], partitioning=None)["probability"]
    rows = len(scored) - scored.null_count
    return _month(f"olist-{name}", at, rows, promised, made["auc"].value if made else None, None, found)


def _with_outcome(workspace: Workspace, month: Month) -> Month:
    """The same, with what came of it as far as it is known in the end."""
    rows = matured.read(workspace, month.question.removeprefix("olist-"))
    mine = rows[(rows["scored_at"] == pd.Timestamp(month.as_of)) & (rows["road"] == "batch")]
    if not 0 < mine["label"].sum() < len(mine):
        return month
    came = estimate.realised(mine["probability"].to_numpy(float), mine["label"].to_numpy())
    return Month(**{**asdict(month), "auc": came["auc"], "base_rate": came["base_rate"], "findings": month.findings})


def _month(
    question: str, as_of: datetime, rows: int, promised: float | None, expected: float | None,
    came: Mapping[str, float] | None, findings: Sequence[Finding],
) -> Month:  # fmt: skip
    told = tuple((one.kind, one.where, one.severity, one.sentence) for one in findings if one.severity != "note")
    auc, rate = (came["auc"], came["base_rate"]) if came else (None, None)
    return Month(question, as_of.isoformat(), rows, promised, expected, auc, rate, told)


def table(months: Sequence[Month]) -> str:
    """As Markdown: a row a month, then the sentence of each finding when it was first said."""
    lines = [
        "| question | day | rows | AUC promised | expected | came | base rate | alarms | warnings |",
        "| --- |" + " --- |" * 8,
    ]
    first: dict[tuple[str, str, str], str] = {}
    for month in months:
        count = {level: [one for one in month.findings if one[2] == level] for level in ("alarm", "warning")}
        alarms, warnings = (", ".join(f"{kind} {where}" for kind, where, *_ in count[level]) for level in count)
        figures = " | ".join(
            "" if one is None else f"{one:.3f}" for one in (month.promised, month.expected, month.auc, month.base_rate)
        )
        lines.append(f"| {month.question} | {month.as_of[:10]} | {month.rows:,} | {figures} | {alarms} | {warnings} |")
        for kind, where, severity, sentence in month.findings:
            first.setdefault((month.question, kind, where), f"- {month.as_of[:10]} {month.question}, {severity}: {sentence}")
    return "\n".join([*lines, "", *first.values()])


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrospective", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the folder of real data sets")
    parser.add_argument("--only", choices=("bank", "olist"))
    parser.add_argument("--json", type=Path, help="also write the months to a file")
    asked = parser.parse_args()
    months = bank(asked.data) if asked.only != "olist" else []
    if asked.only != "bank":
        with tempfile.TemporaryDirectory() as name:
            months += olist(asked.data.resolve(), Path(name))
    print(table(months))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(month) for month in months], indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
