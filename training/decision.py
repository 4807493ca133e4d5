"""What acting on the list is worth: expected profit by how far down one goes, and where to stop.

A contacted row costs `cost`; if the outcome would happen, the contact wins or saves its worth with the probability `success`. A
list holds everyone eligible at one date, and each policy puts every list into an order of its own. All figures are profits of one
list of mean length, on rows that the model did not learn from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.propensity import Value
from training.evaluation import Figure, bootstrap, interval

Floats = NDArray[np.float64]
STEPS = 100  # a profit curve has so many points after 0
REPLICATES = 200
MODEL, NEWEST, RANDOM = "this model", "newest first", "at random"


@dataclass(frozen=True)
class Listed:
    """Rows that were on a list.

    Attributes:
        probability: calibrated.
        labels: 0 or 1: what happened without anybody acting on the score.
        worth: of one positive outcome; NaN where it is unknown, which counts as 0 in every profit.
        entities: the unit that the bootstrap draws.
        as_of: whose list a row was on.
        length: mean rows of a list; more than there are here where these are a sample.
        age: how long each entity has been known, in any unit; None where nothing tells.
    """

    probability: Floats
    labels: NDArray[np.int8]
    worth: Floats
    entities: pd.Series
    as_of: pd.Series
    length: float
    age: Floats | None = None


@dataclass(frozen=True)
class Decision:
    """Where to stop, and what the list is worth until there.

    Attributes:
        list_length: mean rows of a list.
        mean_worth: of the outcomes that happened, as far as it is known; None where it is of none.
        without_worth: the share of rows of unknown worth.
        pays: the share of a list of which the model expects more than the contact costs.
        capacity: the share of a list that can be contacted before the next; None where no capacity is stated.
        share: the share to contact: the smaller of both.
        limit: what sets it.
        curves: by policy, profit of a list at 0 %, 1 %, ... 100 % contacted, with its interval.
        profit: by policy, at `share`.
        over: by policy but the model's, how much more the model's list brings at `share`, paired.
    """

    list_length: float
    mean_worth: float | None
    without_worth: float
    pays: float
    capacity: float | None
    share: float
    limit: Literal["profit", "capacity"]
    curves: Mapping[str, tuple[Figure, ...]] = field(repr=False)
    profit: Mapping[str, Figure]
    over: Mapping[str, Figure]


def decide(listed: Listed, value: Value, days: float, seed: int) -> Decision:
    """The profit of the model's list and of simpler ones, and how far down to go.

    Where to stop is told by the model's own expectation and the capacity, not by the outcomes the profit is then counted on.

    Args:
        listed: rows that nothing was fitted or calibrated on.
        value: cost, success and capacity.
        days: from one list to the next, in which `capacity_per_day` contacts can be made a day.
        seed: of the bootstrap, which draws entities.
    """
    worth = np.nan_to_num(listed.worth)
    expected = listed.probability * worth * value.success - value.cost
    earned = listed.labels * worth * value.success - value.cost
    capacity = None if value.capacity_per_day is None else min(1.0, value.capacity_per_day * days / listed.length)
    pays = float((expected > 0).mean())
    share = pays if capacity is None else min(pays, capacity)
    curves = _curves(_orders(listed, expected), earned * listed.length, listed, seed)
    at = {name: _at(points, share) for name, points in curves.items()}
    return Decision(
        list_length=listed.length,
        mean_worth=_mean_worth(listed),
        without_worth=float(np.isnan(listed.worth).mean()),
        pays=pays,
        capacity=capacity,
        share=share,
        limit="profit" if capacity is None or pays <= capacity else "capacity",
        curves={name: tuple(_figure(points[:, step]) for step in range(STEPS + 1)) for name, points in curves.items()},
        profit={name: _figure(points) for name, points in at.items()},
        over={name: _figure(at[MODEL] - points) for name, points in at.items() if name != MODEL},
    )


def sentences(made: Decision, value: Value, days: float) -> tuple[str, ...]:
    """What was decided and what it brings, in words."""
    worth = "of unknown worth" if made.mean_worth is None else f"worth {made.mean_worth:,.0f} on average"
    unknown = f", unknown of {_percent(made.without_worth)} of the rows, which count as 0" if made.without_worth else ""
    effect = f"wins or saves {_percent(value.success)} of the outcomes it meets, {worth}{unknown}"
    assumed = f"A contact costs {value.cost:,.4g} and {effect}."
    profit = made.profit[MODEL]
    gains = " and ".join(f"{_told(gain)} more than {name}" for name, gain in made.over.items())
    compared = gains if 0 < made.share < 1 else "the order of the list makes no difference"
    brought = f"On the test rows that brings {_told(profit)} a list of {made.list_length:,.0f}: {compared}."
    return assumed, _until(made, value, days), brought


def _until(made: Decision, value: Value, days: float) -> str:
    pays = "every contact pays" if made.pays == 1 else f"contacts pay for the best {_percent(made.pays)}"
    if not made.pays:
        return "No contact pays: none is expected to bring what it costs."
    if made.limit == "profit":
        return f"Contact the best {_percent(made.share)} of a list: by the model's own probabilities {pays}."
    reach = f"{value.capacity_per_day:,.4g} contacts a day reach in the {days:.0f} days until the next list"
    return f"Contact the best {_percent(made.share)} of a list, as many as {reach}; by the model's own probabilities {pays}."


def _mean_worth(listed: Listed) -> float | None:
    known = listed.worth[(listed.labels == 1) & ~np.isnan(listed.worth)]
    return float(known.mean()) if len(known) else None


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _told(figure: Figure) -> str:
    return f"{figure.value:,.0f} ({figure.low:,.0f} to {figure.high:,.0f})"


def _orders(listed: Listed, expected: Floats) -> dict[str, Floats]:
    """The key by which each policy sorts a list, smallest first."""
    newest = {} if listed.age is None else {NEWEST: listed.age}
    return {MODEL: -expected, **newest}


def _curves(orders: Mapping[str, Floats], earned: Floats, listed: Listed, seed: int) -> dict[str, Floats]:
    """Profit of a list at each step by policy: first the estimate, then a row for each draw of entities.

    Rows that a policy cannot tell apart are contacted in no order: each of their steps gets the same share of what they bring.
    """
    steps = {name: _step(key, listed.as_of) for name, key in orders.items()}
    ties = {name: _ties(key, listed.as_of) for name, key in orders.items()}
    codes, names = pd.factorize(listed.entities)

    def profits(weights: Floats) -> dict[str, Floats]:
        mean = weights * earned / weights.sum()
        shared = {name: (np.bincount(tie, mean) / np.bincount(tie))[tie] for name, tie in ties.items()}
        ranked: dict[str, Floats] = {name: np.cumsum(np.bincount(steps[name], shared[name], STEPS + 1)) for name in steps}
        return {**ranked, RANDOM: float(mean.sum()) * np.linspace(0, 1, STEPS + 1)}

    point = profits(np.ones(len(earned)))
    drawn = bootstrap(codes, len(names), profits, seed, REPLICATES)
    return {name: np.vstack([point[name], drawn[name]]) for name in point}


def _step(key: Floats, as_of: pd.Series) -> NDArray[np.int64]:
    """The first step, 1 to STEPS, at which a row is contacted, when each date's list is sorted by the key; no key is last."""
    ranked = pd.Series(key).groupby(as_of.to_numpy()).rank(method="first", na_option="bottom", pct=True).to_numpy()
    return np.ceil(np.round(ranked * STEPS, 9)).astype(np.int64)


def _ties(key: Floats, as_of: pd.Series) -> NDArray[np.int64]:
    """The number of the rows that stand at the same place of the same list."""
    places = pd.DataFrame({"as_of": as_of.to_numpy(), "key": key})
    return np.asarray(places.groupby(["as_of", "key"], dropna=False).ngroup(), dtype=np.int64)


def _at(points: Floats, share: float) -> Floats:
    """Each curve at a share that may lie between two steps."""
    below = min(int(share * STEPS), STEPS - 1)
    result: Floats = points[:, below] + (share * STEPS - below) * (points[:, below + 1] - points[:, below])
    return result


def _figure(points: Floats) -> Figure:
    """The estimate, which comes first, with the interval of the draws after it."""
    value = float(points[0])
    return Figure(value, *interval(value, points[1:]))
