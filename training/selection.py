"""The selection: from a dataset to the chosen candidate and its model, by the backtest alone.

Nothing here touches a workspace's tables or its registry, so that a rebuild goes the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from features.console import Watch
from features.propensity import Propensity
from training import backtest
from training.backtest import Backtest
from training.boosting import SEED
from training.candidates import CANDIDATES, Candidate, with_tuned
from training.choice import Choice, Standing, choose, standings
from training.dataset import Dataset
from training.drift import Drift, ablation, drift
from training.evaluation import Figure
from training.fitting import Fitted, fit
from training.prior import Decision, Origin, decide, estimate
from training.split import Split, origins, sample, split
from training.tune import Tuned, tune


@dataclass(frozen=True)
class Selection:
    """What was tried, and what was taken.

    Attributes:
        split: which rows served what.
        tuned: the trials of a search; None without one.
        backtest: every candidate at every origin.
        choice: which candidate was taken, and why.
        newest: every candidate on the newest test rows, which had no say in the choice.
        drift: which features moved, and what it matters; None where there is a single date.
        views: by view, the AUC on the newest period without it less that with it.
        shift: whether the base rate is corrected for, and why; None where there is a single date.
        fitted: the model, and what it said about the test rows.
    """

    split: Split
    tuned: Tuned | None
    backtest: Backtest
    choice: Choice
    newest: tuple[Standing, ...]
    drift: Drift | None
    views: Mapping[str, Figure]
    shift: Decision | None
    fitted: Fitted


def select(data: Dataset, propensity: Propensity, folder: Path, watch: Watch) -> Selection:
    """Split, tune if asked, backtest, choose and fit.

    Args:
        data: the dataset.
        propensity: the question; its `[choice]` and `[tuning]` decide.
        folder: where studies of the tuning are kept.
        watch: opens a progress bar for a step of so many units.

    Raises:
        DataFloorError: too little matured data; says what is missing.
    """
    newest = split(data.frame, data.labels, propensity.horizon)
    earlier = origins(data.frame, data.labels, propensity.horizon)
    tuned = _tune(data, propensity, earlier[0] if earlier else newest, folder, watch)
    candidates: tuple[Candidate, ...] = with_tuned(tuned.parameters) if tuned else CANDIDATES
    with watch(f"{propensity.name}: backtest", backtest.size(newest, earlier, candidates)) as tick:
        tested = backtest.run(data, newest, earlier, candidates, tick)
    choice = choose(tested, propensity.choice.not_separable, SEED)
    on_newest = standings(tested, [tested.newest], SEED)
    with watch(f"{propensity.name}: drift", backtest.size(newest, earlier, candidates[:1]) + 1) as tick:
        moved = drift(data, newest, earlier, tested, choice.name, SEED, tick)
        views = ablation(data, newest, tested, choice.name, SEED) if newest.by == "time" else {}
        tick(1)
    if moved is not None and moved.without and moved.pays and propensity.choice.drifting == "backtest":
        data, tested = data.without(moved.features), moved.without
    shift, rates = _shift(tested, choice.name)
    with watch(f"{propensity.name}: learning", 1) as tick:
        fitted = fit(data, propensity, newest, tested, choice.name, rates)
        tick(1)
    return Selection(newest, tuned, tested, choice, on_newest, moved, views, shift, fitted)


def _shift(tested: Backtest, name: str) -> tuple[Decision | None, tuple[float, float] | None]:
    """Whether the base rate has moved since the calibration, by the unlabelled newest rows, and whether to correct for it."""
    if tested.kind == "entities":
        return None, None
    rate = tested.newest.rate
    seen = estimate(tested.newest.probability[name], rate)
    origins = [Origin(one.probability[name], one.labels, one.rate) for one in tested.earlier if tested.kind == "origins"]
    decision = decide(origins, seen, rate)
    return decision, (rate, seen.rate) if decision.applied else None


def _tune(data: Dataset, propensity: Propensity, origin: Split, folder: Path, watch: Watch) -> Tuned | None:
    """On what the first origin is fitted on, so that no test period has been seen."""
    if not propensity.tuning.wanted:
        return None
    rows = sample(data.frame["entity_id"], origin.fit, backtest.FIT_ROWS)
    with watch(f"{propensity.name}: tuning", propensity.tuning.trials or 1) as tick:
        return tune(folder, propensity.name, data.examples(rows), propensity.tuning, tick)
