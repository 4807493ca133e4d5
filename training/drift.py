"""Drift of features: which of them tell new rows from old ones, and what the newest period would be without them.

Adversarial validation: trees learn to tell the rows of the test period from those that were fitted on, by features alone. What
they tell them by has moved. Whether that matters is another question, so the chosen candidate is also fitted without the features
that moved most, and without each view in turn, and judged on the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.console import Tick
from training import backtest, boosting
from training.backtest import Backtest
from training.calibration import FLOOR, sigmoid
from training.candidates import learn, needed
from training.choice import pooled_difference
from training.contract import Floats
from training.dataset import Dataset
from training.evaluation import Figure, Ranking, auc_difference
from training.examples import Examples
from training.split import Split, sample

ROWS = 20_000  # of either kind, for telling them apart
MOST_FEATURES = 3
LEAST_SHARE = 0.1  # of the gain by which new rows are told from old ones
ROUNDS = 60
TREES = {"num_leaves": 7, "learning_rate": 0.1, "rounds": ROUNDS}
SETTLED = ("rounds", "C")  # what a fit searches


@dataclass(frozen=True)
class Drift:
    """What moved, and what it matters.

    Attributes:
        auc: how well features tell new rows from old ones of other entities; 0.5 is not at all.
        features: those that tell them best, at most three, with their share of the gain.
        earlier, newest: AUC of the chosen candidate without these features less AUC with them, in the earlier periods pooled
            and in the newest; None where no feature stands out.
        without: every forecast of the chosen candidate without these features; None where no feature stands out.
    """

    auc: float
    features: Mapping[str, float]
    earlier: Figure | None
    newest: Figure | None
    without: Backtest | None

    @property
    def sentence(self) -> str:
        """What moved and what it matters, for the report."""
        told = f"New rows are told from old ones with AUC {self.auc:.2f}"
        if self.newest is None or self.earlier is None:
            return f"{told}{', by ' + ', '.join(self.features) if self.features else ', by no feature in particular'}."
        names = " and ".join(", ".join(self.features).rsplit(", ", 1))
        change = "better" if self.newest.value > 0 else "worse"
        return (
            f"{told}, best by {names}. Without {'it' if len(self.features) == 1 else 'them'} the newest period is "
            f"{abs(self.newest.value):.3f} {change} in AUC ({self.newest.low:+.3f} to {self.newest.high:+.3f}), the earlier ones "
            f"{self.earlier.value:+.3f} ({self.earlier.low:+.3f} to {self.earlier.high:+.3f})."
        )

    @property
    def pays(self) -> bool:
        """Whether leaving them out was better in the earlier periods, beyond the noise."""
        return self.earlier is not None and self.earlier.low > 0


def drift(
    data: Dataset, newest: Split, origins: Sequence[Split], tested: Backtest, name: str, seed: int, tick: Tick = lambda _: None
) -> Drift | None:
    """Tell new rows from old ones, and backtest the chosen candidate without what tells them best.

    Args:
        data, newest, origins, tested: what was backtested, and the backtest.
        name: of the chosen candidate.
        seed: of the intervals.
        tick: called with 1 for every candidate that is fitted.

    Returns:
        None where there is a single date, which cannot drift. Nothing is left out where nothing would be left.
    """
    if newest.by == "entity":
        return None
    auc, shares = adversarial(data, newest)
    if not 0 < len(shares) < len(data.dtypes):
        return Drift(auc, shares, None, None, None)
    kept = data.without(list(shares))
    without = backtest.run(kept, newest, origins, needed(tested.candidates, name), tick)
    earlier = pooled_difference(without.earlier, tested.earlier, name, seed)
    return Drift(auc, shares, earlier, pooled_difference([without.newest], [tested.newest], name, seed), without)


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
    ranking = Ranking(squashed(learned.predictor.raw(examples.matrix[held_out])), is_new[held_out])
    auc, _ = ranking.auc_and_loss(np.ones(int(held_out.sum())))
    shares = sorted(
        zip(learned.predictor.columns, learned.predictor.importance().tolist(), strict=True), key=lambda pair: -pair[1]
    )
    return auc, {name: share for name, share in shares[:MOST_FEATURES] if share >= LEAST_SHARE and auc > 0.5}


def ablation(data: Dataset, split: Split, tested: Backtest, name: str, seed: int) -> dict[str, Figure]:
    """By view, the AUC of the chosen candidate on the newest period without the view less that with all of them.

    What the fit with all views settled, such as the number of rounds, is not searched again; a view of no feature is left out.
    """
    entities = data.frame["entity_id"]
    fitted, test = sample(entities, split.fit, backtest.FIT_ROWS), sample(entities, split.test, backtest.TEST_ROWS)
    settled = {
        one: {key: value for key, value in fit.learned.parameters.items() if key in SETTLED} for one, fit in tested.fits.items()
    }
    chosen = needed(tested.candidates, name)

    def scores(kept: Dataset) -> Floats:
        learned = learn(chosen, kept.examples(fitted), False, settled=settled)[name]
        return squashed(learned.raw(kept.frame[test]))

    whole = scores(data)
    views = {view: names for view, names in data.views.items() if names and len(names) < len(data.dtypes)}
    return {
        view: auc_difference(scores(data.without(names)), whole, data.labels[test], entities[test], seed)
        for view, names in views.items()
    }


def squashed(raw: Floats) -> Floats:
    """Log-odds as probabilities that are never 0 or 1."""
    return np.clip(sigmoid(raw), FLOOR, 1 - FLOOR)
