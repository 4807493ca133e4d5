"""The selection: from a dataset to the chosen candidate and its model, by the backtest alone.

Nothing here touches a workspace's tables or its registry, so that a rebuild goes the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from features.console import Watch
from features.propensity import Propensity
from training import backtest
from training.backtest import Backtest
from training.boosting import SEED
from training.candidates import CANDIDATES, Candidate, needed, with_tuned
from training.choice import Choice, Standing, choose, pooled_difference, standings
from training.dataset import Dataset
from training.drift import Drift, drift
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
        newest: every candidate on the newest test rows, which had no say in the choice; by entity, on the rows of
            the choice.
        drift: which features moved, and what it matters; None where there is a single date.
        without_drifting: AUC in the earlier periods without the features that moved, less that with them; None where that was not
            asked. Above 0 beyond the noise, they are left out.
        shift: whether the base rate is corrected for, and why; None where there is a single date.
        fitted: the model, and what it said about the test rows.
    """

    split: Split
    tuned: Tuned | None
    backtest: Backtest
    choice: Choice
    newest: tuple[Standing, ...]
    drift: Drift | None
    without_drifting: Figure | None
    shift: Decision | None
    fitted: Fitted

    @property
    def drift_sentences(self) -> tuple[str, ...]:
        """What has moved, what it matters, and what was done about it."""
        if self.drift is None:
            return ("There is a single date: nothing can have moved.",)
        gain = self.without_drifting
        if gain is None:
            return (self.drift.sentence,)
        done = "left out" if gain.low > 0 else "kept"
        interval = f"{gain.low:+.3f} to {gain.high:+.3f}"
        return (self.drift.sentence, f"In the earlier periods {gain.value:+.3f} without ({interval}): they are {done}.")


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
    newest = _plainly_tested(data, split(data.frame, data.labels, propensity.horizon))
    earlier = [_plainly_tested(data, one) for one in origins(data.frame, data.labels, propensity.horizon)]
    tuned = _tune(data, propensity, earlier[0] if earlier else newest, folder, watch)
    candidates: tuple[Candidate, ...] = with_tuned(tuned.parameters) if tuned else CANDIDATES
    with watch(f"{propensity.name}: backtest", backtest.size(newest, earlier, candidates)) as tick:
        tested = backtest.run(data, newest, earlier, candidates, tick)
    choice = choose(tested, propensity.choice.not_separable, SEED)
    on_newest = standings(tested, [tested.newest], SEED)
    with watch(f"{propensity.name}: drift", 1) as tick:
        moved = drift(data, replace(newest, fit=newest.fit & data.plain), tested, choice.name, SEED)
        tick(1)
    without_drifting = None
    if moved and moved.newest and propensity.choice.drifting == "backtest":
        kept = data.without(moved.features)
        again = _again(kept, propensity, newest, tested.origins, needed(candidates, choice.name), watch)
        without_drifting = pooled_difference(again.earlier, tested.earlier, choice.name, SEED)
        data, tested = (kept, tested.taking(again, choice.name)) if without_drifting.low > 0 else (data, tested)
    shift, rates = _shift(tested, choice.name)
    with watch(f"{propensity.name}: learning", 1) as tick:
        fitted = fit(data, propensity, newest, tested, choice.name, rates)
        tick(1)
    return Selection(newest, tuned, tested, choice, on_newest, moved, without_drifting, shift, fitted)


def _plainly_tested(data: Dataset, divided: Split) -> Split:
    """The same split, tested on rows that are a plain sample of everybody; by entity they all are."""
    if data.sampling is None:
        return divided
    test = divided.test & data.plain
    return replace(divided, test=test, sentences=(data.sampling.sentence, *divided.sentences))


def _again(
    kept: Dataset, propensity: Propensity, newest: Split, earlier: Sequence[Split], chosen: tuple[Candidate, ...], watch: Watch
) -> Backtest:
    """The chosen candidate in the same backtest, without the features that moved."""
    with watch(f"{propensity.name}: without what moved", backtest.size(newest, earlier, chosen)) as tick:
        return backtest.run(kept, newest, earlier, chosen, tick)


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
    """On what the first origin is fitted on, so that no test period has been seen; without one, on what the choice is made by."""
    if not propensity.tuning.wanted:
        return None
    rows = sample(data.frame["entity_id"], origin.fit, backtest.MOST_FIT_ROWS)
    with watch(f"{propensity.name}: tuning", propensity.tuning.trials or 1) as tick:
        return tune(folder, propensity.name, data.examples(rows), propensity.tuning, tick)
