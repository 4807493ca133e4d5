"""Which rows a model is fitted on, calibrated on and tested on.

In time: the newest as_ofs are the test, and the label of everything fitted or calibrated has matured before the first of them
(`as_of + horizon <= first test as_of`, a gap of one horizon). Data of a single date have no time to split by: their entities are
put into folds by a digest of their id, and every row is tested by a model that never saw its entity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.errors import DataFloorError

Mask = NDArray[np.bool_]
FOLDS = 5
TEST_SHARE = 0.2  # of the as_ofs
FLOOR_ROWS, FLOOR_POSITIVES = 100, 20  # to learn anything from; positives and negatives alike
COMFORTABLE = 50  # positives and negatives that a longer test must leave to learn from
FLOOR_ENTITIES = 10  # of either outcome: rows of fewer entities say nothing about others
FLOOR_TEST_POSITIVES = 10
BACKTEST_POSITIVES = 25  # of either class in the test of an earlier origin
ORIGINS = 3  # earlier ones, at most
ENOUGH_TEST_POSITIVES = 200  # the test period grows until it holds so many, while it may
HELD_OUT_FROM = 200_000  # matured rows; with fewer, the newest are worth more to fit on than cross-fitting costs
HELD_OUT_POSITIVES = 1_000  # of either class make a calibration slice of its own ...
HELD_OUT_LEAVES = 0.7  # ... if this share of the rows is left to fit on


@dataclass(frozen=True)
class Split:
    """Row masks over a dataset.

    Attributes:
        by: `time`, or `entity` where there is only one date.
        fit: rows the model is fitted on.
        calibration: rows the calibration is fitted on; inside `fit` when cross-fitted.
        test: rows the figures are about; by entity, every row.
        calibrated: `held out`: on scores of the model itself; `cross-fitted`: on scores of models that did not see the entity.
        sentences: what was done, for the report.
        horizon: the propensity's, by which calibration rows count less with age.
    """

    by: Literal["time", "entity"]
    fit: Mask
    calibration: Mask
    test: Mask
    calibrated: Literal["held out", "cross-fitted"]
    sentences: tuple[str, ...]
    horizon: timedelta


def split(rows: pd.DataFrame, labels: NDArray[np.int8], horizon: timedelta) -> Split:
    """Split a dataset by time, or by entity where it has a single as_of.

    Args:
        rows: `entity_id` and `as_of`, one per label.
        labels: 0 or 1.
        horizon: the propensity's; the gap.

    Raises:
        DataFloorError: too few rows, positives, negatives or as_ofs; says what is missing.
    """
    as_ofs = sorted(rows["as_of"].unique())
    if len(as_ofs) == 1:
        return _by_entity(rows, labels, horizon)
    test_as_ofs = _test_as_ofs(rows, labels, as_ofs, horizon)
    test = rows["as_of"].isin(test_as_ofs).to_numpy()
    matured = (rows["as_of"] + horizon <= test_as_ofs[0]).to_numpy()
    _require(labels, matured, FLOOR_ROWS, FLOOR_POSITIVES, "to learn from")
    _require_entities(rows, labels, matured)
    _require(labels, test, 2 * FLOOR_TEST_POSITIVES, FLOOR_TEST_POSITIVES, "to test on")
    sentences: tuple[str, ...] = (
        f"Split in time: tested on the newest {len(test_as_ofs)} of {len(as_ofs)} dates, from {_day(test_as_ofs[0])} to "
        f"{_day(test_as_ofs[-1])}; the labels of everything fitted or calibrated had matured by {_day(test_as_ofs[0])}, "
        f"a gap of {horizon.days} days.",
    )
    return _with_calibration(rows, labels, horizon, matured, test, sentences)


def origins(rows: pd.DataFrame, labels: NDArray[np.int8], horizon: timedelta, most: int = ORIGINS) -> list[Split]:
    """The earlier splits of a rolling-origin backtest, oldest first.

    Their test periods lie side by side before the test of `split`, are as many as_ofs long (longer while they hold too few
    positives), and their labels had matured when that test begins: what is chosen by them is chosen without a look at it. Each
    origin fits and calibrates on what had matured before its own test period.

    Args:
        rows, labels, horizon: as for `split`.
        most: origins, at most.

    Returns:
        An empty list where the history is too short, or where there is a single as_of.
    """
    newest = split(rows, labels, horizon)
    if newest.by == "entity":
        return []
    test = sorted(rows.loc[newest.test, "as_of"].unique())
    before = [as_of for as_of in sorted(rows["as_of"].unique()) if as_of + horizon <= test[0]]
    found: list[Split] = []
    while len(found) < most and (block := _block(rows, labels, before, len(test))):
        if not _learnable(rows, labels, block[0], horizon):
            break
        found.insert(0, _origin(rows, labels, horizon, block))
        before = before[: -len(block)]
    return found


def _block(rows: pd.DataFrame, labels: NDArray[np.int8], as_ofs: Sequence[pd.Timestamp], size: int) -> list[pd.Timestamp]:
    """The newest as_ofs, so many or as many more as a test needs; none where all together are too few."""
    for count in range(size, len(as_ofs) + 1):
        block = list(as_ofs[-count:])
        if _rarer(labels[rows["as_of"].isin(block).to_numpy()]) >= BACKTEST_POSITIVES:
            return block
    return []


def _origin(rows: pd.DataFrame, labels: NDArray[np.int8], horizon: timedelta, block: Sequence[pd.Timestamp]) -> Split:
    test = rows["as_of"].isin(block).to_numpy()
    matured = (rows["as_of"] + horizon <= block[0]).to_numpy()
    return _with_calibration(rows, labels, horizon, matured, test, (f"Tested from {_day(block[0])} to {_day(block[-1])}.",))


def folds(entities: pd.Series, count: int = FOLDS, salt: str = "") -> NDArray[np.int64]:
    """The fold of each row, 0 to `count` - 1, by a digest of its entity alone: stable, and all rows of one entity together.

    Another salt gives other folds.
    """
    codes, names = pd.factorize(entities)
    of_entity = np.array([_digest(f"{name}{salt}") % count for name in names])
    return of_entity[codes].astype(np.int64)


def sample(entities: pd.Series, among: Mask, rows: int) -> Mask:
    """Those of some rows whose entity falls into a share that has about so many of them; all of them where they are fewer."""
    if among.sum() <= rows:
        return among
    return among & (folds(entities, 10_000, "sample") < 10_000 * rows / among.sum())


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _by_entity(rows: pd.DataFrame, labels: NDArray[np.int8], horizon: timedelta) -> Split:
    every = np.ones(len(rows), dtype=bool)
    _require(labels, every, FLOOR_ROWS, FLOOR_POSITIVES, "to learn from")
    _require_entities(rows, labels, every)
    day = _day(rows["as_of"].iloc[0])
    sentences = (
        f"The data know a single date, {day}: nothing here says how the model keeps over time.",
        f"Split by entity into {FOLDS} folds: each row is judged by a model fitted and calibrated on the other folds alone. "
        "The registered model is the same recipe fitted on all rows.",
    )
    return Split("entity", every, every, every, "cross-fitted", sentences, horizon)


def _test_as_ofs(
    rows: pd.DataFrame, labels: NDArray[np.int8], as_ofs: Sequence[pd.Timestamp], horizon: timedelta
) -> list[pd.Timestamp]:
    """The newest fifth, and more while its rarer class is thin and enough is left to learn from."""
    count = max(1, round(len(as_ofs) * TEST_SHARE))
    while count > 1 and not _learnable(rows, labels, as_ofs[-count], horizon):
        count -= 1
    if not _learnable(rows, labels, as_ofs[-count], horizon, FLOOR_POSITIVES):
        _refuse_short_history(rows, labels, as_ofs, horizon)
    while _rarer(labels[(rows["as_of"] >= as_ofs[-count]).to_numpy()]) < ENOUGH_TEST_POSITIVES:
        if count + 1 >= len(as_ofs) // 2 or not _learnable(rows, labels, as_ofs[-count - 1], horizon):
            break
        count += 1
    return list(as_ofs[-count:])


def _learnable(
    rows: pd.DataFrame, labels: NDArray[np.int8], first_test: pd.Timestamp, horizon: timedelta, of_each: int = COMFORTABLE
) -> bool:
    matured = labels[(rows["as_of"] + horizon <= first_test).to_numpy()]
    return len(matured) >= FLOOR_ROWS and _rarer(matured) >= of_each


def _refuse_short_history(
    rows: pd.DataFrame, labels: NDArray[np.int8], as_ofs: Sequence[pd.Timestamp], horizon: timedelta
) -> None:
    matured = (rows["as_of"] + horizon <= as_ofs[-1]).to_numpy()
    if not matured.any():
        raise DataFloorError(
            "history",
            expected=f"two dates at least {horizon.days} days apart whose outcomes are known: one to learn from, one to test on",
            received=f"dates from {_day(as_ofs[0])} to {_day(as_ofs[-1])}",
            repair="deliver a longer history, or ask about a shorter horizon",
        )
    _require(labels, matured, FLOOR_ROWS, FLOOR_POSITIVES, "to learn from")


def _with_calibration(
    rows: pd.DataFrame, labels: NDArray[np.int8], horizon: timedelta, matured: Mask, test: Mask, sentences: tuple[str, ...]
) -> Split:
    """A slice of its own where data are plenty, else the fitted rows by cross-fitting.

    What is held out is what is newest, and under drift worth most to the fit: it is done only where cross-fitting costs too much.
    """
    held_out = _newest(rows, labels, matured, HELD_OUT_POSITIVES)
    first = rows.loc[held_out, "as_of"].min()
    earlier = (rows["as_of"] + horizon <= first).to_numpy() & matured
    plenty = matured.sum() >= HELD_OUT_FROM and _rarer(labels[held_out]) >= HELD_OUT_POSITIVES
    if plenty and earlier.sum() >= HELD_OUT_LEAVES * matured.sum():
        told = f"Calibrated on a slice of its own, from {_day(first)} on; the labels fitted on had matured by then."
        return Split("time", earlier, held_out, test, "held out", (*sentences, told), horizon)
    told = (
        "Calibrated on the fitted rows, counting the less the older they are, by scores of models that had not seen the entity."
    )
    return Split("time", matured, matured, test, "cross-fitted", (*sentences, told), horizon)


def _newest(rows: pd.DataFrame, labels: NDArray[np.int8], among: Mask, rarer: int) -> Mask:
    """The newest as_ofs among some rows that together hold so many of the rarer class, or all of them."""
    for as_of in sorted(rows.loc[among, "as_of"].unique(), reverse=True):
        chosen = among & (rows["as_of"] >= as_of).to_numpy()
        if _rarer(labels[chosen]) >= rarer:
            return chosen
    return among


def _rarer(labels: NDArray[np.int8]) -> int:
    positives = int(labels.sum())
    return min(positives, len(labels) - positives)


def _require(labels: NDArray[np.int8], mask: Mask, rows: int, of_each: int, purpose: str) -> None:
    chosen = labels[mask]
    positives = int(chosen.sum())
    if len(chosen) < rows or _rarer(chosen) < of_each:
        raise DataFloorError(
            f"rows {purpose}",
            expected=f"at least {rows} rows with {of_each} positives and {of_each} negatives {purpose}",
            received=f"{len(chosen)} rows with {positives} positives and {len(chosen) - positives} negatives",
            repair="deliver a longer history or more entities, widen `eligible`, or ask about a longer horizon",
        )


def _require_entities(rows: pd.DataFrame, labels: NDArray[np.int8], mask: Mask) -> None:
    entities = rows["entity_id"].to_numpy()[mask]
    with_it, without = (len(set(entities[labels[mask] == value])) for value in (1, 0))
    if min(with_it, without) < FLOOR_ENTITIES:
        raise DataFloorError(
            "entities to learn from",
            expected=f"at least {FLOOR_ENTITIES} entities with the outcome and {FLOOR_ENTITIES} without",
            received=f"{with_it} with it and {without} without",
            repair="deliver more entities, widen `eligible`, or ask about a longer horizon",
        )


def _day(instant: pd.Timestamp) -> str:
    return f"{pd.Timestamp(instant):%Y-%m-%d}"
