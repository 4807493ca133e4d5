"""The pages of monitoring: one screen about every propensity, and a page about each, with a document for pagers."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from features.catalog import sweep, write_atomically
from features.finding import Finding
from features.page import render
from features.settings import Workspace
from serving.monitor import plots
from serving.monitor.document import document, status, untold
from serving.monitor.figures import Figures
from serving.monitor.monitor import Monitored, Watched
from serving.monitor.performance import Performance
from serving.monitor.worth.plots import differences

WORDS = {"ok": "Well", "warning": "Watch", "alarm": "Act", "unknown": "Cannot be told yet"}
FIGURES = (
    ("auc", "AUC", "{:.3f}"), ("lift_at_10pct", "lift, best 10 %", "{:.2f}"), ("log_loss", "log loss", "{:.3f}"),
    ("brier", "Brier score", "{:.4f}"), ("calibration_error", "calibration error", "{:.2%}"),
    ("predicted", "predicted", "{:.1%}"), ("happened", "happened", "{:.1%}"), ("profit", "profit of a week's list", "{:,.0f}"),
)  # fmt: skip


def write(workspace: Workspace, found: Monitored) -> Path:
    """Write `monitor/index.html`, and `monitor/NAME.html` and `NAME.json` of each that was looked at; where the first lies."""
    workspace.monitor.mkdir(parents=True, exist_ok=True)
    sweep(workspace.monitor, "*.html", "*.json")
    for name in sorted({*found.watched, *found.failures} & set(found.health)):
        made = json.dumps(document(workspace, found, name), indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        write_atomically(workspace.monitor / f"{name}.html", _page(found, name).encode())
        write_atomically(workspace.monitor / f"{name}.json", made.encode())
    index = workspace.monitor / "index.html"
    write_atomically(index, _index(workspace, found).encode())
    return index


def _index(workspace: Workspace, found: Monitored) -> str:
    rows = [_row(workspace, found, name) for name in sorted(found.health)]
    return render("serving", "monitor.html", found=found, rows=rows, words=WORDS, day=_day, ended=found.alarms.ended)


def _row(workspace: Workspace, found: Monitored, name: str) -> dict[str, Any]:
    """A propensity in a few sentences: what is well, what is not and since when, what to do, what cannot be told."""
    watched, health, settings = found.watched.get(name), found.health[name], workspace.settings.monitor
    return {
        "name": name, "status": status(found, name), "version": health.version,
        "question": watched.propensity.question if watched else "",
        "owner": settings.owners.get(name, settings.owner), "has_page": (workspace.monitor / f"{name}.html").is_file(),
        "failure": found.failures.get(name), "well": well(watched) if watched else (),
        "found": _opened(found, name), "untold": untold(health), "next": waiting(watched.performance) if watched else "",
    }  # fmt: skip


def _opened(found: Monitored, name: str) -> list[tuple[Finding, datetime | None]]:
    """Alarms and warnings with since when they are known, gravest first; an alarm stands until it has ended."""
    since = {alarm.key: alarm.opened_at for alarm in found.open(name)}
    grave = {one.key: one for one in found.health[name].findings if one.severity != "note"}
    going_on = {alarm.key: alarm.finding for alarm in found.open(name)}
    return [(one, one.since or since.get(one.key)) for one in (going_on | grave).values()]


def _page(found: Monitored, name: str) -> str:
    watched, health = found.watched.get(name), found.health[name]
    shown = watched.performance if watched else None
    return render(
        "serving", "monitor_one.html", name=name, found=found, health=health, watched=watched, status=status(found, name),
        words=WORDS, day=_day, failure=found.failures.get(name), opened=_opened(found, name), untold=untold(health),
        notes=[one for one in health.findings if one.severity == "note" and one not in untold(health)],
        well=well(watched) if watched else (), next=waiting(shown) if shown else "", tiles=_tiles(shown) if shown else [],
        worth=differences(watched.worth) if watched else "",
        plots=_plots(shown) if shown else {}, tables=_tables(shown) if shown else [], figures=FIGURES, told=_told,
    )  # fmt: skip


def well(watched: Watched) -> tuple[str, ...]:
    """What is as it was promised, in sentences."""
    found, kinds = watched.performance, {one.kind for one in watched.findings}
    window, promise = found.window, found.promise
    if window is None or promise is None or not window.is_enough:
        return ()
    auc, said, came = (window.figures[name].value for name in ("auc", "predicted", "happened"))
    told = {
        "performance": f"It ranks as promised: AUC {auc:.3f} in {window.told}; the report said {promise.auc:.3f}.",
        "calibration": f"Its probabilities hold: {100 * said:.1f} % predicted, {100 * came:.1f} % happened.",
    }
    return tuple(sentence for kind, sentence in told.items() if kind not in kinds)


def waiting(found: Performance) -> str:
    """How many outcomes are known, how many wait, and when the next are known."""
    if not found.coverage:
        return "No score has been given yet."
    known, wait, lost = (sum(getattr(week, name) for week in found.coverage) for name in ("matured", "waiting", "unlabelled"))
    parts = [f"Outcomes of {known:,} scores are known", f"{wait:,} wait"]
    parts += [f"{lost:,} cannot be told, for no snapshot is there"] if lost else []
    coming = min((week.next_at for week in found.coverage if week.next_at), default=None)
    return f"{', '.join(parts)}{f'; the next are known on {coming:%Y-%m-%d}' if coming else ''}."


def _tiles(found: Performance) -> list[dict[str, str]]:
    window = found.window
    if window is None:
        return []
    told = [("auc", "{:.3f}"), ("lift_at_10pct", "{:.2f}"), ("happened", "{:.1%}"), ("predicted", "{:.1%}")]
    names = {"auc": "AUC", "lift_at_10pct": "lift, best 10 %", "happened": "happened", "predicted": "predicted"}
    promised = found.promise.figures if found.promise else {}
    made = []
    for name, form in told:
        figure = window.figures.figures.get(name)
        note = f"promised {form.format(promised[name])}" if name in promised else f"of {window.figures.rows:,} scores"
        made.append({"name": names[name], "value": form.format(figure.value) if figure else "-", "note": note})
    return [{key: value.replace("%", " %") if key != "name" else value for key, value in tile.items()} for tile in made]


def _plots(found: Performance) -> dict[str, str]:
    made = {"Known and waiting": plots.coverage(found.coverage)} if found.coverage else {}
    if found.weeks:
        shown = {"How well it ranks": plots.ranking(found), "Predicted and happened": plots.calibration(found)}
        return {**shown, **made}
    return made


def _tables(found: Performance) -> list[tuple[str, dict[str, Figures]]]:
    versions = {f"version {name}": one for name, one in found.versions.items()}
    newest = {found.window.told: found.window.figures} if found.window else {}
    every = {"all": found.whole} if found.whole else {}
    return [("By version", {**newest, **versions, **every}), ("By road", dict(found.roads))] if found.weeks else []


def _told(figures: Figures, name: str, form: str) -> str:
    """A figure with its interval."""
    figure = figures.figures.get(name)
    if figure is None:
        return "-"
    value, low, high = (form.format(number).replace("%", " %") for number in (figure.value, figure.low, figure.high))
    return f"{value} ({low} to {high})"


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d}" if at else ""
