"""Drift of features: which of them tell new rows from old ones, and what the newest period would be without them.

Adversarial validation: trees learn to tell the rows of the test period from those that were fitted on, by features alone. What
they tell them by has moved. Whether that matters is another question, so the chosen candidate is also fitted without the features
that moved most, and without each view in turn, and judged on the same rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from training import boosting
from training.backtest import Backtest
from training.calibration import FLOOR, sigmoid
from training.candidates import learn, needed
from training.contract import Floats
from training.dataset import Dataset
from training.evaluation import Figure, Ranking, auc_difference
from training.examples import Examples
from training.split import Split, sample

ROWS = 10_000  # of either kind: to be told apart, to be fitted on without a view, to be tested on
REPLICATES = 100
MOST_FEATURES = 3
LEAST_SHARE = 0.1  # of the gain by which new rows are told from old ones
TREES = {"num_leaves": 7, "learning_rate": 0.1, "rounds": 60}
SETTLED = ("rounds", "C")  # what a fit searches, and a fit without some features takes over


@dataclass(frozen=True)
class Drift:
    """What moved, and what it matters.

    Attributes:
        auc: how well features tell new rows from old ones of other entities; 0.5 is not at all.
        features: those that tell them best, at most three, with their share of the gain.
        newest: AUC of the chosen candidate on the newest period without these features less that with them; None where there are
            none, or none other.
        views: the same without each view.
    """

    auc: float
    features: Mapping[str, float]
    newest: Figure | None
    views: Mapping[str, Figure]

    @property
    def sentence(self) -> str:
        """What moved and what it matters, for the report."""
        told = f"New rows are told from old ones with AUC {self.auc:.2f}"
        if not self.features:
            return f"{told}, by no feature in particular."
        told += f", best by {' and '.join(', '.join(self.features).rsplit(', ', 1))}"
        if self.newest is None:
            return f"{told}."
        them = "it" if len(self.features) == 1 else "them"
        change = "better" if self.newest.value > 0 else "worse"
        by = f"{abs(self.newest.value):.3f} {change}" if abs(self.newest.value) >= 0.0005 else "neither better nor worse"
        return f"{told}. Without {them} the newest period is {by} in AUC ({self.newest.low:+.3f} to {self.newest.high:+.3f})."


def drift(data: Dataset, split: Split, tested: Backtest, name: str, seed: int) -> Drift | None:
    """Tell new rows from old ones, and fit the chosen candidate without what tells them best, and without each view.

    Args:
        data, split, tested: what was backtested, its newest split, and the backtest.
        name: of the chosen candidate.
        seed: of the intervals.

    Returns:
        None where there is a single date, which cannot drift.
    """
    if split.by == "entity":
        return None
    auc, shares = adversarial(data, split)
    views = ablation(data, split, tested, name, data.views, seed)
    newest = ablation(data, split, tested, name, {"": tuple(shares)}, seed).get("")
    return Drift(auc, shares, newest, views)


def adversarial(data: Dataset, split: Split) -> tuple[float, dict[str, float]]:
    """How well the test rows are told from the fitted rows, on a fold of entities held out, and by which features.

    No label of either is looked at.
    """
    entities = data.frame["entity_id"]
    old, new = sample(entities, split.fit, ROWS), sample(entities, split.test, ROWS)
    rows = pd.concat([data.frame[old], data.frame[new]])
    is_new = np.r_[np.zeros(int(old.sum())), np.ones(int(new.sum()))].astype(np.int8)
    examples = Examples.of(rows, is_new, dict(data.dtypes))
    held_out = examples.parts[0]
    learned = boosting.learn(examples.only(~held_out), False, TREES)
    ranking = Ranking(_squashed(learned.predictor.raw(examples.matrix[held_out])), is_new[held_out])
    auc, _ = ranking.auc_and_loss(np.ones(int(held_out.sum())))
    shares = sorted(
        zip(learned.predictor.columns, learned.predictor.importance().tolist(), strict=True), key=lambda pair: -pair[1]
    )
    return auc, {name: share for name, share in shares[:MOST_FEATURES] if share >= LEAST_SHARE and auc > 0.5}


def ablation(
    data: Dataset, split: Split, tested: Backtest, name: str, groups: Mapping[str, Collection[str]], seed: int
) -> dict[str, Figure]:
    """The AUC of the chosen candidate on the newest period without each group of features, less that with all of them.

    What the fit with all features settled, such as the number of rounds, is not searched again. A group that is empty, or that is
    every feature, is left out.
    """
    entities = data.frame["entity_id"]
    fitted, test = sample(entities, split.fit, ROWS), sample(entities, split.test, ROWS)
    settled = {
        one: {key: fit.learned.parameters[key] for key in SETTLED if key in fit.learned.parameters}
        for one, fit in tested.fits.items()
    }
    chosen = needed(tested.candidates, name)

    def scores(kept: Dataset) -> Floats:
        return _squashed(learn(chosen, kept.examples(fitted), False, settled=settled)[name].raw(kept.frame[test]))

    asked = {group: names for group, names in groups.items() if 0 < len(names) < len(data.dtypes)}
    whole = scores(data) if asked else np.empty(0)
    return {
        group: auc_difference(scores(data.without(names)), whole, data.labels[test], entities[test], seed, REPLICATES)
        for group, names in asked.items()
    }


def _squashed(raw: Floats) -> Floats:
    """Log-odds as probabilities that are never 0 or 1."""
    return np.clip(sigmoid(raw), FLOOR, 1 - FLOOR)
