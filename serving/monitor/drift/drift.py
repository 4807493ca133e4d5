"""Drift: which features and scores of a version are distributed otherwise than what it was trained on, and since when.

A feature that moved is an alarm where it carries a notable share of the model, else a warning; many small ones together are an
alarm, and so are scores that moved. A feature whose window was still filling when the model was trained is a warning at most. The
base rate is not looked at here: only matured outcomes tell it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from features import snapshot
from features.console import Watch
from features.finding import Finding, Kind, Severity
from features.settings import Workspace
from serving.monitor.drift import look as looks
from serving.monitor.drift.judgement import Judge, Moved, Share
from serving.monitor.drift.look import Look, look
from serving.monitor.drift.reference import Reference, eligible, reference
from serving.monitor.tables.incident import shown
from training.contract import Floats
from training.registry import Registered

NOTABLE = 0.05  # of the model: a feature that carries so much and moved is an alarm
MANY = 0.2  # of the model: features that carry less each and so much together are one alarm
SHOWN = 3  # categories that the model does not know, or features, named in a sentence


@dataclass(frozen=True)
class Drift:
    """What a day looks like to a version.

    Attributes:
        propensity, version, as_of: whose, and which day.
        rows: the eligible entities; of none nothing is said.
        is_enough: whether they are as many as drift can be told from.
        moved: every feature, those that drifted first, then by importance and distance.
        scores: the probabilities; None of no rows.
        findings: what is to be said, gravest first.
        probability: of each row, for an estimate of performance; not part of the document.
    """

    propensity: str
    version: str
    as_of: datetime
    rows: int
    is_enough: bool
    moved: tuple[Moved, ...]
    scores: Moved | None
    findings: tuple[Finding, ...]
    probability: Floats = field(repr=False, compare=False)

    @property
    def sentence(self) -> str:
        """All of it in one sentence."""
        if not self.rows:
            return "Nobody is eligible, so nothing can have drifted."
        if not self.is_enough:
            return f"{self.rows:,} rows are too few to tell drift from chance."
        found = [one.name for one in self.moved if one.is_found]
        if not found:
            told = "No feature is distributed otherwise than its reference, its season and its trend let expect"
        else:
            share = sum(one.importance for one in self.moved if one.is_found)
            told = f"{len(found)} of {len(self.moved)} features moved, which carry {share:.0%} of the model".replace("%", " %")
        is_moved = self.scores is not None and self.scores.has_drifted
        return f"{told}; the scores {'moved' if is_moved else 'did not'}."

    def document(self) -> dict[str, Any]:
        """For a machine."""
        return {
            "propensity": self.propensity,
            "version": self.version,
            "as_of": self.as_of.isoformat(),
            "rows": self.rows,
            "is_enough": self.is_enough,
            "sentence": self.sentence,
            "scores": None if self.scores is None else asdict(self.scores),
            "features": [asdict(one) for one in self.moved],
            "findings": [one.model_dump(mode="json") for one in self.findings],
        }


def drift(workspace: Workspace, registered: Registered, as_of: datetime, watch: Watch) -> Drift:
    """Hold a day against what a version was trained on.

    The snapshot of the day is built if it is not there; the reference is made if this is the first look at the version.

    Args:
        workspace: with ingested tables.
        registered: the version.
        as_of: the day.
        watch: opens a progress bar.

    Raises:
        RegistryError, SnapshotError, FeatureError: as `reference`.
        ContractError: the snapshot is not what the model was trained on.
    """
    known, model = reference(workspace, registered, watch), registered.model
    entity = [model.propensity.entity]
    with watch(f"{known.propensity}: drift", snapshot.to_build(workspace, [as_of], entity) + 1) as tick:
        snapshot.build(workspace, [as_of], tick, entity, beyond=True)
        frame = eligible(workspace, model, as_of)
        today, probability = look(model, known, as_of, frame)
        looks.keep(workspace, known, [today] if today.rows else [])
        found = _judged(workspace, registered, known, frame, today, probability)
        tick(1)
    return found


def judged(
    registered: Registered,
    known: Reference,
    frame: pd.DataFrame,
    today: Look,
    probability: Floats,
    judge: Judge,
    before: Callable[[], Sequence[Look]],
) -> Drift:
    """The judgement of a look; `before` brings the looks of the days before, and is called where something moved."""
    if not today.rows:
        return Drift(known.propensity, known.version, today.as_of, 0, False, (), None, (), probability)
    moved = [judge.feature(name, today) for name in known.features]
    scores = judge.scores(today)
    found = [one for one in (*moved, scores) if one.is_found]
    since = _since(found, judge, today, before() if found else ())
    unknown = {one.name: _unknown(registered, frame, one.name) for one in moved if one.unseen and one.unseen.has_grown}
    made = [finding for one in moved for finding in _findings(known, one, since, unknown)]
    findings = [*_of_scores(known, scores, today, since), *_many(known, made), *made]
    order = {"alarm": 0, "warning": 1, "note": 2}
    return Drift(
        propensity=known.propensity,
        version=known.version,
        as_of=today.as_of,
        rows=today.rows,
        is_enough=judge.is_enough(today),
        moved=tuple(sorted(moved, key=lambda one: (not one.is_found, -one.importance * max(one.excess, 0), one.name))),
        scores=scores,
        findings=tuple(sorted(findings, key=lambda one: (order[one.severity], -one.figures.get("importance", 1)))),
        probability=probability,
    )


def _judged(
    workspace: Workspace, registered: Registered, known: Reference, frame: pd.DataFrame, today: Look, probability: Floats
) -> Drift:
    tested = registered.model.contract.windows["test"].rows
    judge = Judge(known, workspace.settings.monitor, tested)

    def before() -> Sequence[Look]:
        return looks.make_up(workspace, registered, known, today.as_of)

    return judged(registered, known, frame, today, probability, judge, before)


def _since(found: Sequence[Moved], judge: Judge, today: Look, before: Sequence[Look]) -> dict[str, datetime]:
    """The first day of those that lead without a gap to today on which each was found, too."""
    return {one.name: _first(one.name, judge, today, before) for one in found}


def _first(name: str, judge: Judge, today: Look, before: Sequence[Look]) -> datetime:
    first = today.as_of
    for one in reversed([one for one in before if one.as_of < today.as_of]):
        moved = judge.scores(one) if name == "score" else judge.feature(name, one)
        if not moved.is_found:
            break
        first = one.as_of
    return first


def _findings(known: Reference, one: Moved, since: Mapping[str, datetime], unknown: Mapping[str, Sequence[str]]) -> list[Finding]:
    """What is to be said of a feature: that it is missing more often, has unknown categories, is distributed otherwise."""
    told: list[tuple[Kind, str, dict[str, float]]] = []
    if one.missing and one.missing.has_grown:
        told.append(("missing", f"it is missing in {_shares_told(one.missing, '')}", _figures(one.missing)))
    if one.unseen and one.unseen.has_grown:
        names = ", ".join(repr(shown(name)) for name in unknown[one.name][:SHOWN])
        what = f" have a value the model does not know, above all {names}"
        told.append(("unseen", _shares_told(one.unseen, what), _figures(one.unseen)))
    if one.has_drifted:
        told.append(("drift", what_moved(one), {}))
    first = since.get(one.name)
    is_young = one.name in known.young
    severity: Severity = "alarm" if one.importance >= NOTABLE and not is_young else "warning"
    though = ", whose history was shorter than it looks back when the model was trained" if is_young else ""
    return [
        Finding(
            kind=kind,
            subject="feature",
            severity=severity,
            where=one.name,
            propensities=(known.propensity,),
            sentence=f"{one.name}{_since_told(first)}{though}: {what}; it carries {_percent(one.importance)} of the model.",
            repair=f"see whether the source still means the same by it; if it does, `foresell retrain {known.propensity}`",
            since=first,
            figures={
                "importance": one.importance,
                "psi": one.psi,
                "jensen_shannon": one.jensen_shannon,
                "rows": one.rows,
                **more,
            },
        )
        for kind, what, more in told
    ]


def _of_scores(known: Reference, scores: Moved, today: Look, since: Mapping[str, datetime]) -> list[Finding]:
    if not scores.has_drifted:
        return []
    first = since.get("score")
    now, then = _most(scores)
    told = f"{now} of them are {scores.labels[_most_moved(scores)]}, where {then} were to be expected"
    return [
        Finding(
            kind="score",
            subject="score",
            severity="alarm",
            where="score",
            propensities=(known.propensity,),
            sentence=f"The scores are distributed otherwise{_since_told(first)}: {told}; PSI {scores.psi:.2f}.",
            repair=f"see which features moved; if nothing is wrong with them, `foresell retrain {known.propensity}`",
            since=first,
            figures={
                "psi": scores.psi,
                "jensen_shannon": scores.jensen_shannon,
                "mean": today.probability or 0.0,
                "rows": scores.rows,
            },
        )
    ]


def _many(known: Reference, made: Sequence[Finding]) -> list[Finding]:
    """One alarm for small features that moved together, if together they carry enough."""
    light = [one for one in made if one.severity == "warning" and one.where not in known.young]
    small = {one.where: one.figures["importance"] for one in light}
    share = sum(small.values())
    if share < MANY:
        return []
    names = sorted(small, key=lambda name: -small[name])
    told = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    return [
        Finding(
            kind="drift",
            subject="model",
            severity="alarm",
            where=f"version {known.version}",
            propensities=(known.propensity,),
            sentence=f"{len(small)} features that carry little each and {_percent(share)} of the model together moved: {told}.",
            repair=f"see whether a source changed; if none did, `foresell retrain {known.propensity}`",
            since=min((one.since for one in light if one.since), default=None),
            figures={"importance": share, "features": float(len(small))},
        )
    ]


def what_moved(one: Moved) -> str:
    """The median of a number, if it moved; else the bin whose share changed most."""
    if one.median is not None and one.expected_median is not None and _is_other(one.median, one.expected_median):
        verb = "rose" if one.median > one.expected_median else "fell"
        return f"the median {verb} from {_number(one.expected_median)} to {_number(one.median)}"
    at = _most_moved(one)
    now, then = _most(one)
    return f"{now} of the rows are {one.labels[at]!r}, where {then} were to be expected"


def _is_other(now: float, then: float) -> bool:
    return _number(now) != _number(then)


def _most_moved(one: Moved) -> int:
    """The bin whose share changed most."""
    return int(np.argmax(np.abs(np.array(one.shares) - np.array(one.expected))))


def _most(one: Moved) -> tuple[str, str]:
    at = _most_moved(one)
    return _percent(one.shares[at]), _percent(one.expected[at])


def _shares_told(share: Share, what: str) -> str:
    return f"{_percent(share.now)} of the rows{what}, where {_percent(share.expected)} were to be expected"


def _figures(share: Share) -> dict[str, float]:
    return {"share": share.now, "expected_share": share.expected, "effect": share.effect}


def _unknown(registered: Registered, frame: pd.DataFrame, name: str) -> list[str]:
    """The values of a category that a model does not know, the most frequent first."""
    column = next(one for one in registered.model.contract.features if one.name == name)
    values = frame[name].dropna().astype(str)
    counts = values[~values.isin(column.categories)].value_counts()
    return sorted(counts.index.tolist(), key=lambda value: (-int(counts[value]), value))


def _since_told(first: datetime | None) -> str:
    return f" since {first:%Y-%m-%d}" if first else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share == 0 or share >= 0.0095 else f"{100 * share:.1f} %"


def _number(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"
