"""The report of a version: one machine-readable document and one HTML page, made once and stored with the version."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from features.page import render
from training import audit, audit_plots, backtest_plots, plots
from training.audit import Audit
from training.children import children
from training.dataset import Dataset
from training.evaluation import Curves, Evaluation, Ranking, curves
from training.fitting import Fitted
from training.limits import limits
from training.provenance import provenance
from training.registry import REPORT_CARD, REPORT_FOLDER, REPORT_HTML, VERSION_MARK, Record
from training.result import Result
from training.selection import Selection
from training.split import sample

SHOWN_FEATURES = 15
LOGGED_ROWS = 50_000
FIGURE_WORDS = {
    "auc": ("ROC AUC", "how often a positive is ranked above a negative; 0.5 is chance"),
    "pr_auc": ("PR AUC", "precision averaged over recall; the base rate is chance"),
    "log_loss": ("log loss", "cost of wrong probabilities; lower is better"),
    "brier": ("Brier score", "squared error of the probabilities; lower is better"),
    "calibration_error": ("calibration error", "mean gap between predicted and observed in ten equal bins"),
    "lift_at_1pct": ("lift, best 1 %", "positives among the best 1 % against a random 1 %"),
    "lift_at_5pct": ("lift, best 5 %", "the same for 5 %"),
    "lift_at_10pct": ("lift, best 10 %", "the same for 10 %"),
    "lift_at_20pct": ("lift, best 20 %", "the same for 20 %"),
}


def record(result: Result, at: datetime) -> Record:
    """Everything the registry keeps of a training.

    Args:
        result: of the training.
        at: when the model was trained.
    """
    data, fitted, test, verdict = result.data, result.fitted, result.test, result.verdict
    made = document(result, at)
    drawn = {**_plots(data, fitted, test, result.audit), **_audit_plots(result.audit), **_backtest_plots(result.selection)}
    contract = fitted.model.contract
    metrics = {f"test_{name}": figure.value for name, figure in test.figures.items()}
    metrics |= {f"test_{name}_{side}": getattr(test[name], side) for name in test.figures for side in ("low", "high")}
    metrics |= _other_splits(data, fitted)
    tags = {
        "propensity": contract.propensity["name"],
        "candidate": contract.candidate,
        "verdict": verdict.word,
        "split": fitted.split.by,
        "calibration": f"{contract.calibration.method}, {fitted.split.calibrated}",
        "data_fingerprint": contract.fingerprint,
    }

    pages = {
        f"{REPORT_FOLDER}/{REPORT_HTML}": page(made, drawn),
        f"{REPORT_FOLDER}/{REPORT_CARD}": card(made),
        **{f"plots/{name}.svg": svg for name, svg in drawn.items()},
    }
    parameters = {**contract.parameters, "features": len(contract.features), "data_fingerprint": contract.fingerprint}
    return Record(parameters, metrics, tags, made, pages, children(result.selection, at))


def document(result: Result, at: datetime) -> dict[str, Any]:
    """The machine-readable report; the registry adds propensity, version and champion when it is read."""
    data, fitted, test, verdict = result.data, result.fitted, result.test, result.verdict
    trials = len(result.selection.tuned.attempts) if result.selection.tuned else 0
    contract = fitted.model.contract
    window = contract.windows["test"]
    figures = {name: figure.value for name, figure in test.figures.items()}
    bounds = {f"{name}_{side}": getattr(figure, side) for name, figure in test.figures.items() for side in ("low", "high")}
    return {
        "name": contract.propensity["name"],
        "entity": contract.propensity["entity"],
        "question": contract.propensity["question"],
        "verdict": verdict.word,
        "gates": [asdict(gate) for gate in verdict.gates],
        "test": {
            **figures,
            **bounds,
            "chance_calibration_error": test.chance_calibration_error,
            "chance_calibration_sd": test.chance_calibration_sd,
            "rows": test.rows,
            "positives": test.positives,
            "entities": test.entities,
            "from": window.first[:10],
            "to": window.last[:10],
        },
        "split": {"by": fitted.split.by, "calibrated": fitted.split.calibrated, "sentences": list(contract.split)},
        "windows": {name: window.model_dump() for name, window in contract.windows.items()},
        "backtest": _backtest(result.selection),
        "drift": _drift(result.selection),
        "calibration": contract.calibration.method,
        "base_rate": result.selection.shift.sentence if result.selection.shift else "",
        "features": len(contract.features),
        "importance": dict(list(result.audit.importance.items())[:SHOWN_FEATURES]),
        "audit": audit.document(result.audit, fitted.model.propensity),
        "limits": list(limits(result)),
        "leakage": [asdict(finding) for finding in result.leaks],
        "dropped": list(data.dropped),
        "eligible": list(contract.propensity["eligible"]),
        "horizon": contract.propensity["horizon"],
        "parameters": contract.parameters,
        "versions": contract.versions,
        "data_fingerprint": contract.fingerprint,
        "provenance": provenance(data, trials).model_dump(mode="json"),
        "trained_at": at.isoformat(timespec="seconds"),
    }


def _backtest(selection: Selection) -> dict[str, Any]:
    """Every candidate, by the earlier periods and on the newest, and which was taken."""
    return {
        "kind": selection.backtest.kind,
        "chosen": selection.choice.name,
        "best": selection.choice.best,
        "sentences": list(selection.choice.sentences),
        "periods": [forecast.period for forecast in selection.backtest.earlier],
        "newest_period": selection.backtest.newest.period,
        "candidates": [{**asdict(one), "separable": one.separable} for one in selection.choice.standings],
        "newest": [{**asdict(one), "separable": one.separable} for one in selection.newest],
    }


def _drift(selection: Selection) -> dict[str, Any]:
    """What moved between the fitted rows and the newest, what the newest would be without it, and without each view."""
    moved = selection.drift
    return {
        "auc": moved.auc if moved else None,
        "features": dict(moved.features) if moved else {},
        "sentences": list(selection.drift_sentences),
        "views": {name: asdict(figure) for name, figure in moved.views.items()} if moved else {},
    }


def card(made: Mapping[str, Any]) -> str:
    """The model card in Markdown: the report without its plots, for a repository, a wiki or the MLflow UI."""
    return _render("card.md", made)


def _backtest_plots(selection: Selection) -> dict[str, str]:
    return {"candidates": backtest_plots.candidates(selection.choice.standings, selection.newest, selection.choice.name)}


def page(made: Mapping[str, Any], drawn: Mapping[str, str]) -> str:
    """The HTML page, complete in itself: no script, no font, no image from elsewhere; a mark stands for its version."""
    return _render("report.html", made, plots=drawn)


def _render(template: str, made: Mapping[str, Any], **more: Any) -> str:
    return render("training", template, **made, **more, version=VERSION_MARK, words=FIGURE_WORDS)


def _audit_plots(found: Audit) -> dict[str, str]:
    profit = {} if found.decision is None else {"profit": audit_plots.profit(found.decision)}
    return {**profit, **{f"insight_{number}": audit_plots.insight(one) for number, one in enumerate(found.insights, start=1)}}


def _plots(data: Dataset, fitted: Fitted, test: Evaluation, found: Audit) -> dict[str, str]:
    labels = data.labels[fitted.split.test]
    drawn: Curves = curves(fitted.probability, labels)
    figures = {f"{share} %": test[f"lift_at_{share}pct"] for share in (1, 5, 10, 20)}
    made = {
        "reliability": plots.reliability(drawn),
        "gains": plots.gains(drawn, float(labels.mean())),
        "lift": plots.lift({name: (figure.value, figure.low, figure.high) for name, figure in figures.items()}),
        "distribution": plots.distribution(drawn),
        "importance": plots.importance(dict(list(found.importance.items())[:SHOWN_FEATURES])),
    }
    return {"timeline": plots.timeline(_dates(data, fitted)), **made} if fitted.split.by == "time" else made


def _dates(data: Dataset, fitted: Fitted) -> list[plots.Date]:
    """Each as_of with the role of its rows; what was cross-fitted was both fitted and calibrated on, and counts as fitted."""
    split = fitted.split
    rows = data.frame[["as_of", "label"]].assign(role="unused", predicted=np.nan)
    for role, mask in (("calibration", split.calibration), ("train", split.fit), ("test", split.test)):
        rows.loc[mask, "role"] = role
    rows.loc[split.test, "predicted"] = fitted.probability
    return [
        plots.Date(
            as_of=pd.Timestamp(str(as_of)).to_pydatetime(),
            role=str(group["role"].iloc[0]),
            rows=len(group),
            rate=float(group["label"].mean()),
            predicted=None if group["predicted"].isna().any() else float(group["predicted"].mean()),
        )
        for as_of, group in rows.groupby("as_of", sort=True)
    ]


def _other_splits(data: Dataset, fitted: Fitted) -> dict[str, float]:
    """The figures on the rows that were fitted and calibrated on, of very many a sample: flattering, logged to see how much."""
    made: dict[str, float] = {}
    for name, mask in (("train", fitted.split.fit), ("calibration", fitted.split.calibration)):
        rows = data.frame[sample(data.frame["entity_id"], mask, LOGGED_ROWS)]
        ranking = Ranking(fitted.model.probability(fitted.model.matrix(rows)), rows["label"].to_numpy(np.int8))
        made |= {f"{name}_{figure}": value for figure, value in ranking.figures(np.ones(len(rows))).items()}
    return made
