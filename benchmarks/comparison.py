"""One question, answered by every contender on the same rows."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.contenders import Peers, Said, Task, foresell, plain_lightgbm, plain_logistic, run, tasks
from benchmarks.questions import Question
from features.console import Watch
from training.boosting import SEED
from training.calibration import FLOOR
from training.contract import Floats
from training.evaluation import Figure, Labels, Ranking, bootstrap, interval
from training.split import Mask

REPLICATES = 500
DRIFT = 1.2  # from this ratio of the rates tested and fitted on, or its inverse, the base rate has moved
COMPARED = ("auc", "log_loss", "calibration_error")
CHOICE, LIGHTGBM, LOGISTIC = "Foresell's choice", "plain LightGBM", "plain logistic regression"
PLAIN: dict[str, Callable[[Task], Floats]] = {LIGHTGBM: plain_lightgbm, LOGISTIC: plain_logistic}


@dataclass(frozen=True)
class Row:
    """One contender.

    Attributes:
        contender: its name.
        rival: not one of Foresell's.
        auc, log_loss, calibration_error: on the test rows.
        predicted: the mean probability.
        seconds: until it could say so; None where that was not measured alone.
        differences: `auc`, `log_loss` and `calibration_error` of Foresell's choice less those of this one, with 95 % intervals.
    """

    contender: str
    rival: bool
    auc: float
    log_loss: float
    calibration_error: float
    predicted: float
    seconds: float | None
    differences: dict[str, Figure]


@dataclass(frozen=True)
class Part:
    """Rows that served one purpose, and the share of positives among them."""

    rows: int
    rate: float


@dataclass(frozen=True)
class Comparison:
    """All contenders on one question.

    Attributes:
        question: its name.
        sentences: what is asked, and how the rows were divided.
        quotable: False where the figures mean nothing.
        calibrated: `held out` or `cross-fitted`, as of Foresell's split.
        fitted, calibration, tested: the rows.
        choice: the candidate Foresell took.
        reasons: why, in sentences.
        table: Foresell's choice first.
        failures: contenders that could not be run, with the error.
    """

    question: str
    sentences: tuple[str, ...]
    quotable: bool
    calibrated: str
    fitted: Part
    calibration: Part
    tested: Part
    choice: str
    reasons: tuple[str, ...]
    table: tuple[Row, ...]
    failures: dict[str, str]

    @property
    def drifts(self) -> bool:
        """Whether the base rate of the test is another than that of the rows fitted on."""
        moved = self.tested.rate / self.fitted.rate
        return max(moved, 1 / moved) >= DRIFT

    @property
    def ours(self) -> Row:
        return self.table[0]

    @property
    def rivals(self) -> list[Row]:
        return [row for row in self.table if row.rival]


def compare(question: Question, folder: Path, peers: Peers | None, with_calibration: bool, watch: Watch) -> Comparison:
    """Every contender on one question.

    Args:
        question: with its dataset.
        folder: for what Foresell's selection keeps.
        peers: FLAML and AutoGluon; None leaves them out.
        with_calibration: give the rivals the rows that Foresell calibrated on, too.
        watch: opens a progress bar.
    """
    data = question.data
    ours, divided = foresell(question, folder, watch)
    given = tasks(question, divided, with_calibration)
    said = {CHOICE: ours.chosen, **{f"· {name}": one for name, one in ours.candidates.items()}}
    failures: dict[str, str] = {}
    rivals = dict(_rivals(question.name, given, peers, failures, watch))
    labels, entities = data.labels[divided.test], data.frame.loc[divided.test, "entity_id"]
    return Comparison(
        question=question.name,
        sentences=(question.protocol, *divided.sentences),
        quotable=question.quotable,
        calibrated=divided.calibrated,
        fitted=_part(data.labels, divided.fit),
        calibration=_part(data.labels, divided.calibration),
        tested=_part(data.labels, divided.test),
        choice=ours.name,
        reasons=ours.sentences,
        table=tuple(_row(name, one, ours.chosen, labels, entities, name in rivals) for name, one in {**said, **rivals}.items()),
        failures=failures,
    )


def _rivals(
    question: str, given: list[Task], peers: Peers | None, failures: dict[str, str], watch: Watch
) -> Iterator[tuple[str, Said]]:
    """Name and answer of each rival; one that fails goes into the failures instead."""
    with watch(f"{question}: rivals", len(PLAIN) + (len(peers.asked) if peers else 0)) as tick:
        for name, predict in PLAIN.items():
            yield name, run(given, predict)
            tick(1)
        if peers is None:
            return
        for peer, name in peers.asked.items():
            try:
                yield name, peers.run(peer, given)
            except subprocess.CalledProcessError as problem:
                failures[name] = problem.stderr.strip().splitlines()[-1]
            tick(1)


def _part(labels: Labels, rows: Mask) -> Part:
    return Part(int(rows.sum()), float(labels[rows].mean()))


def _row(name: str, said: Said, ours: Said, labels: Labels, entities: pd.Series, rival: bool) -> Row:
    one, mine = _ranking(said, labels), _ranking(ours, labels)
    figures = one.figures(np.ones(len(labels)))
    return Row(
        contender=name,
        rival=rival,
        auc=figures["auc"],
        log_loss=figures["log_loss"],
        calibration_error=figures["calibration_error"],
        predicted=float(said.probability.mean()),
        seconds=said.seconds,
        differences=_differences(mine, one, entities),
    )


def _ranking(said: Said, labels: Labels) -> Ranking:
    """The rows in their order; nobody is punished without bound for a probability of 0 or 1."""
    return Ranking(np.clip(said.probability, FLOOR, 1 - FLOOR), labels)


def _differences(mine: Ranking, other: Ranking, entities: pd.Series) -> dict[str, Figure]:
    """Figures of the first less those of the second, with paired intervals."""

    def statistic(weights: Floats) -> dict[str, float]:
        first, second = mine.figures(weights), other.figures(weights)
        return {name: first[name] - second[name] for name in COMPARED}

    codes, names = pd.factorize(entities)
    point = statistic(np.ones(len(codes)))
    drawn = bootstrap(codes, len(names), statistic, SEED, REPLICATES)
    return {name: Figure(point[name], *interval(point[name], drawn[name])) for name in COMPARED}
